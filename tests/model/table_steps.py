"""What workers, operators and the clock may do to a table: the vocabulary of `table_machine`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from anamo.aws.operator_writes import Lost
from anamo.aws.table_writes import Holder
from anamo.core.item import SINGLE, Item, nested_item, single_item
from anamo.core.log_entry import LogEntry
from anamo.worker.claim import Claim

Image = Mapping[str, Any]
Entries = Mapping[str, LogEntry]
Operation = tuple[Callable[[], Lost | None], Callable[[], bool], Callable[[], bool]]
"""What sends an operator's change, what the reference makes of it, and whether it is made then."""
Met = Counter[tuple[str, str, bool]]

BEGINNING = 1_800_000_000.0
SCRIPTS: Mapping[str, str | list[str]] = {
    "Single": "seq 1",
    "Pair": ["seq 1", "seq 2"],
    "Triple": ["seq 1", "seq 2", "seq 3"],
}
ITEMS = tuple(
    single_item(name, script) if isinstance(script, str) else nested_item(name, script)
    for name, script in SCRIPTS.items()
)
HOLDERS = (Holder("i-short", lease=10), Holder("i-long", lease=40), Holder("i-other", lease=20))
ENDED = ("done", "failed")

AGAIN = ("retry", "requeue", "requeue by force")
SETTLING = ("renew", "record", "finish", "release", "retry")
EDGES: Mapping[str, set[tuple[str | None, str | None]]] = {
    "look": set(),
    "copy": set(),
    "import": {(None, "todo")},
    "claim": {("todo", "locked")},
    "take over": {("locked", "locked")},
    "renew": {("locked", "locked")},
    "record": {("locked", "locked")},
    "finish": {("locked", "done"), ("locked", "failed")},
    "release": {("locked", "todo")},
    "retry": {("locked", "todo")},
    "requeue": {("failed", "todo"), ("locked", "todo")},
    "requeue all": {("failed", "todo"), ("locked", "todo"), ("done", "todo")},
    "requeue by force": {("locked", "todo")},
    "remove": {(state, None) for state in ("todo", "locked", *ENDED)},
    "remove by force": {("locked", None)},
}
"""What each step may make of an item's state."""


@dataclass(eq=False)
class Held:
    """A claim as its worker knows it.

    until: when the lease ends by the last answer, the past once the worker has given the item up.
    unanswered: the write that had no reply, and whether it was made. It comes before any other but
    renewals, which another thread sends.
    """

    claim: Claim
    holder: Holder
    until: float = -math.inf
    unanswered: tuple[Write, bool] | None = None

    @property
    def key(self) -> int:
        """The itemID."""
        return int(self.claim.item.item_id)

    @property
    def lock(self) -> str:
        """The claim's token."""
        return self.claim.item.lock_id

    def left(self) -> list[str]:
        """Its tasks that have not ended."""
        return [name for name, now in self.claim.progress.statuses.items() if now not in ENDED]


@dataclass(frozen=True)
class Write:
    """A holder's write: what sends it, what the reference makes of it, the state it leads to."""

    name: str
    send: Callable[[], bool]
    refer: Callable[[], bool]
    target: str
    entries: Entries


@dataclass(frozen=True)
class Ask:
    """A request for an item, as `Write`, by whom and under which lockID."""

    name: str
    key: int
    lock: str
    holder: Holder
    send: Callable[[], Item | None]
    refer: Callable[[], bool]


@dataclass
class Late:
    """A write that has yet to arrive.

    arrive, refer: what executes it, and what the reference makes of it. minted: its sender's time.
    by: the claim and its write, if it is one.
    """

    step: Step
    arrive: Callable[[], object]
    refer: Callable[[], bool]
    minted: float
    by: tuple[Held, Write] | None = None


@dataclass(frozen=True)
class Step:
    """What was just done.

    allowed: whether the reference made it; None if it was no write. said, expected: the answer and
    the one it should be. claimed: the item that a worker was given. recorded, vain: what tells the
    outcomes that must be in the table from now on, and those that must not.
    """

    name: str = "look"
    key: int = 0
    lock: str = ""
    allowed: bool | None = None
    said: object = None
    expected: object = None
    claimed: Item | None = None
    recorded: tuple[str, ...] = ()
    vain: tuple[str, ...] = ()


ROLES = st.sampled_from(("holder", "holder", "holder", "loser", "stranger"))
PICKS = st.integers(0, 9)
TASKS = st.sets(st.sampled_from((SINGLE, "Task_0", "Task_1", "Task_2")))
SELDOM = st.sampled_from((False, False, True))
FATES = st.sampled_from(("answered", "answered", "answered", "lost", "delayed"))
"""What becomes of a write: delayed is one that arrives later, after its sender gave it up."""
WAITS = st.sampled_from((0.0, 0.5, 3.0, 11.0, 21.5, 41.5))
WRITES = st.sampled_from((*SETTLING, "record", "abandon"))
MEANT = {
    "requeue": {"failed", "locked"},
    "requeue all": {"failed", "locked", "done"},
    "requeue by force": {"locked"},
    "remove": {"todo", "locked", *ENDED},
    "remove by force": {"locked"},
}
"""What the operator does, and to items of which states."""
DEEDS = st.sampled_from(("requeue", "requeue", *MEANT, "import", "import"))

ASKING: dict[str, st.SearchStrategy[Any]] = {
    "pick": PICKS,
    "holder": st.sampled_from(HOLDERS),
    "fate": FATES,
}
OPERATING: dict[str, st.SearchStrategy[Any]] = {
    "what": DEEDS,
    "pick": PICKS,
    "wait": WAITS,
    "stale": SELDOM,
    "fate": FATES,
}
WRITING: dict[str, st.SearchStrategy[Any]] = {
    "role": ROLES,
    "pick": PICKS,
    "tasks": TASKS,
    "bad": TASKS,
    "fate": FATES,
}
# One rule for all: hypothesis leaves some of several rules out of a history, most of them often
WHAT_HAPPENS = st.one_of(
    *(
        st.tuples(st.just(name), st.fixed_dictionaries(arguments))
        for name, arguments in (
            ("a_worker_claims", {**ASKING, "taken": SELDOM}),
            ("a_worker_takes_over", {**ASKING, "wait": WAITS, "stale": SELDOM}),
            # Twice, since most of what can go wrong is there
            ("a_worker_writes", {**WRITING, "what": WRITES}),
            ("a_worker_writes", {**WRITING, "what": WRITES}),
            ("a_worker_has_had_no_reply", {"gives_up": st.booleans()}),
            ("the_operator_acts", OPERATING),
            ("a_write_arrives_late", {"pick": PICKS}),
        )
    )
)
