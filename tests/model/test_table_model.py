"""Several workers, an operator and a clock act on one table; after every step all promises hold.

Hypothesis draws what happens next. Each step goes through the real table module to DynamoDB Local,
and to `tests.support.reference`, a table in plain Python. The promises are checked on what DynamoDB
returns; then each answer must be the one that the reference gives, and the table must hold exactly
what the reference holds. Replies are lost, and any write may arrive late, past others, and again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, product
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from anamo.aws import table_writes
from anamo.aws.operator_writes import Lost
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core import transitions
from anamo.core.codec import SMALLEST_ID, decode
from anamo.core.errors import Unreachable
from anamo.core.item import SINGLE, Item, State, nested_item, single_item
from anamo.core.log_entry import LogEntry, abandoned_entry
from anamo.core.record import Record
from anamo.operator.nested_choice import requeued_tasks
from anamo.worker.claim import Claim
from anamo.worker.ended_leases import NEVER, PAGE
from tests.support import sabotage
from tests.support.actors import HandDrivenClock, LossyClient
from tests.support.reference import Reference, Result, Results, ended, statuses
from tests.support.table import Table, plain, undecimal, workflow_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

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
        return int(self.claim.item.item_id)

    @property
    def lock(self) -> str:
        return self.claim.item.lock_id

    def left(self) -> list[str]:
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


class TableMachine(RuleBasedStateMachine):
    """One table with up to three items, and all who change it. `met` counts what was tried."""

    def __init__(self, there: Table, met: Met) -> None:
        super().__init__()
        self.there, self.met = there, met
        self.model = Reference(BEGINNING)
        self.client = LossyClient(there.client)
        self.table = WorkflowTable(self.client, there.name, HandDrivenClock(lambda: self.model.now))
        self.numbers = count(1)
        self.claims: list[Held] = []
        self.unanswered: list[Ask] = []
        self.late: list[Late] = []
        self.locked: list[Item] = []
        self.listed: list[Image] = []
        self.raw: dict[int, Any] = {}
        self.places: dict[str, tuple[int, str]] = {}
        self.writers: dict[str, str] = {}
        self.lines: dict[str, int] = {}
        self.step = Step()

    def teardown(self) -> None:
        for item in ITEMS:
            self.there.client.delete_item(
                TableName=self.there.name, Key={"itemID": {"N": str(item.item_id)}}
            )

    @rule(happening=WHAT_HAPPENS)
    def something_happens(self, happening: tuple[str, dict[str, Any]]) -> None:
        name, arguments = happening
        getattr(self, name)(**arguments)

    # Claim and take over

    def a_worker_claims(self, pick: int, holder: Holder, *, taken: bool, fate: str) -> None:
        if not self.model.items:
            return
        free = [key for key, item in self.model.items.items() if item["ItemState"] == "todo"]
        keys = [int(item.item_id) for item in ITEMS] if taken else free or list(self.model.items)
        key, lock = keys[pick % len(keys)], self._mint("claim")
        # The index may be behind, but does not list an item as todo under a claim yet to end
        there = self.model.items.get(key, {"ItemState": "none"})
        last = "earlier" if taken or there["ItemState"] != "todo" else there["lockID"]
        seen = replace(next(item for item in ITEMS if item.item_id == key), lock_id=last)
        send = partial(self.table.claim, seen, lock, holder)
        who = (lock, holder.instance_id, holder.lease)
        refer = partial(self.model.claim, key, last, who)
        self._ask(Ask("claim", key, lock, holder, send, refer), fate)

    def a_worker_takes_over(
        self, pick: int, holder: Holder, wait: float, *, stale: bool, fate: str
    ) -> None:
        self.model.now += wait
        now = [] if stale else self.table.leases(SMALLEST_ID, NEVER, PAGE).items
        self.locked = [*now, *self.locked]
        among = now or self.locked
        if not among:
            return
        seen, lock = among[pick % len(among)], self._mint("claim")
        send = partial(self.table.take_over, seen, lock, holder)
        who = (lock, holder.instance_id, holder.lease)
        refer = partial(self.model.take_over, int(seen.item_id), seen.lock_id, who)
        self._ask(Ask("take over", int(seen.item_id), lock, holder, send, refer), fate)

    def a_worker_has_had_no_reply(self, *, gives_up: bool) -> None:
        """It asks again for the item it may have; or writes no more, and gives the item back."""
        silent = [held for held in self.claims if held.unanswered]
        silent.sort(key=lambda held: not self.model.holds(held.key, held.lock))
        if self.unanswered and not (silent and gives_up):
            self._ask(self.unanswered.pop(0), "answered")
        elif silent:
            silent[0].unanswered = None
            self._settle("giving up", silent[0], self._release(silent[0], {}), "answered")

    def _ask(self, ask: Ask, fate: str) -> None:
        self._decide(fate)
        try:
            item = ask.send()
        except Unreachable:
            self.unanswered.append(ask)
            step = Step(ask.name, ask.key, ask.lock)
            self._did("worker", self._without_reply(fate, step, ask.refer))
            return
        allowed = ask.refer()
        wins = allowed or self.model.holds(ask.key, ask.lock)
        if item:
            held = Held(Claim(item, 0, self.table), ask.holder, item.lease_expires or -math.inf)
            self.claims.append(held)
        step = Step(ask.name, ask.key, ask.lock, allowed, item is not None, wins, item)
        self._did("worker", step)

    # What a holder writes

    def a_worker_writes(
        self, what: str, role: str, pick: int, tasks: Set[str], bad: Set[str], *, fate: str
    ) -> None:
        role, held = self._choose(role, pick, nested=what == "record")
        # Of one that should not write, results of all its tasks
        names = held.left() or ([] if role == "holder" else list(held.claim.progress.statuses))
        some = [name for name in names if name in tasks]
        write: Write | None
        if what == "renew":
            write = self._renewal(held)
        elif what == "record":
            write = self._record(held, self._entries(held, some or names[:1], bad))
        elif what == "finish":
            write = self._finish(held, self._entries(held, names, bad))
        elif what == "abandon":
            entry = replace(abandoned_entry(3), stdout=self._marker(held, 0))
            write = self._finish(held, dict.fromkeys(names[:1], entry))
        elif what == "release":
            entries = self._entries(held, some if held.claim.item.is_nested else [], bad)
            write = self._release(held, entries)
        else:
            write = self._retry(held, self._entries(held, names, {*bad, *names[:1]}))
        if write is not None:
            self._settle(role, held, write, fate)

    def _renewal(self, held: Held) -> Write:
        send = partial(self.table.renew, held.key, held.lock, held.holder)
        refer = partial(self.model.renew, held.key, held.lock, held.holder.lease)
        return Write("renew", send, refer, "locked", {})

    def _record(self, held: Held, entries: Entries) -> Write | None:
        progress = held.claim.with_results(entries)
        send = partial(self.table.record, held.claim.item, entries, progress.ended)
        refer = partial(self.model.record, held.key, held.lock, self._results(entries))
        return Write("record", send, refer, "locked", entries) if entries else None

    def _finish(self, held: Held, entries: Entries) -> Write | None:
        progress = held.claim.with_results(entries)
        state = State.FAILED if progress.failed_tasks else State.DONE
        if not held.claim.item.is_nested and not entries:
            return None
        results = entries if held.claim.item.is_nested else entries[SINGLE]
        counts = progress.ended, len(progress.failed_tasks)
        send = partial(self.table.finish, held.claim.item, state, results, *counts)
        refer = partial(self.model.finish, held.key, held.lock, state.value, self._results(entries))
        return Write("finish", send, refer, state.value, entries)

    def _release(self, held: Held, entries: Entries) -> Write:
        progress = held.claim.with_results(entries)
        send = partial(self.table.release, held.claim.item, entries, progress.ended)
        refer = partial(self.model.release, held.key, held.lock, self._results(entries))
        return Write("release", send, refer, "todo", entries)

    def _retry(self, held: Held, entries: Entries) -> Write | None:
        item, progress = held.claim.item, held.claim.with_results(entries)
        if not progress.failed_tasks:
            return None
        again = progress.failed_tasks if item.is_nested else ()
        results = entries if item.is_nested else entries[SINGLE]
        send = partial(self.table.retry, item, results, progress.done, again)
        refer = partial(self.model.retry, held.key, held.lock, self._results(entries))
        return Write("retry", send, refer, "todo", entries)

    def _settle(self, role: str, held: Held, write: Write, fate: str) -> None:
        made = False
        if held.unanswered and write.name != "renew":
            (write, made), fate = held.unanswered, "answered"
            held.unanswered = None
        if write.target != "locked":
            held.until = -math.inf  # Its tasks have ended, or are stopped
        self._decide(fate)
        step = Step(write.name, held.key, held.lock)
        try:
            said = write.send()
        except Unreachable:
            step = self._without_reply(fate, step, write.refer, (held, write))
            if write.name != "renew":  # The next renewal is another
                held.unanswered = write, bool(step.allowed)
            self._did(role, step)
            return
        allowed = write.refer()
        made = made or allowed
        if not said:
            held.until = -math.inf
        elif write.name == "renew":
            held.until = math.ceil(self.model.now + held.holder.lease)
        if said and made:
            held.claim.note(write.entries)
        # An ended claim that ends once more is told that it has, whatever its results are now
        markers = tuple(entry.stdout for entry in write.entries.values())
        recorded, vain = markers if said and made else (), () if made else markers
        expected = allowed or self._seems_made(held, write)
        step = replace(step, allowed=allowed, said=said, expected=expected)
        self._did(role, replace(step, recorded=recorded, vain=vain))

    def _seems_made(self, held: Held, write: Write) -> bool:
        """Whether the item is as the write would have left it."""
        if write.target == "todo":
            results = self._results(write.entries)
            freed = self.model.stands(held.key, "todo", held.lock)
            return freed and self.model.has(held.key, results)
        return self.model.stands(held.key, write.target, held.lock)

    # The operator and the clock

    @initialize()
    def the_operator_imports_all(self) -> None:
        self._import(ITEMS, again=False)

    def the_operator_acts(
        self, what: str, pick: int, wait: float, *, stale: bool, fate: str
    ) -> None:
        self.model.now += wait
        if not stale or not self.listed:
            self.listed = list(self.raw.values())
        meant = [each for each in self.listed if each["ItemState"]["S"] in MEANT.get(what, ())]
        if not meant:
            self._import(ITEMS[: 1 + pick % 3], again=fate == "lost")
            return
        seen, force = meant[pick % len(meant)], what.endswith("by force")
        key = int(seen["itemID"]["N"])
        for held in self.claims:
            if force and held.key == key:
                held.until = -math.inf  # Force takes an item from a worker that does not know
        send, refer, made = (self._removal if what.startswith("remove") else self._requeueing)(
            seen, force, what == "requeue all"
        )
        self._decide(fate)
        step = Step(what, key)
        try:
            said, allowed = send(), refer()
        except Unreachable:
            allowed = bool(self._without_reply(fate, step, refer).allowed)
            said = send()
            allowed = refer() or allowed
        self._did("operator", replace(step, allowed=allowed, said=said is None, expected=made()))

    def _requeueing(self, seen: Any, force: bool, done_too: bool) -> Operation:
        record, image = Record.from_values(decode(seen)), plain({"M": seen})
        return (
            lambda: self.table.requeue(record, requeued_tasks(record, all_tasks=done_too), force),
            lambda: self.model.requeue(image, done_too=done_too, force=force),
            lambda: self.model.afresh(image, done_too=done_too),
        )

    def _removal(self, seen: Any, force: bool, _done_too: bool) -> Operation:
        record, image = Record.from_values(decode(seen)), plain({"M": seen})
        return (
            lambda: self.table.remove(record, force),
            lambda: self.model.remove(image, force=force),
            lambda: image["itemID"] not in self.model.items,
        )

    # The network

    def _decide(self, fate: str) -> None:
        self.client.losing, self.client.delaying = fate == "lost", fate == "delayed"

    def _without_reply(
        self,
        fate: str,
        step: Step,
        refer: Callable[[], bool],
        by: tuple[Held, Write] | None = None,
    ) -> Step:
        """What a write has done whose sender has no reply: something, or nothing yet."""
        if fate == "lost":
            return replace(step, allowed=refer())
        self.late.append(Late(step, self.client.delayed, refer, self.model.now, by))
        return Step()

    def a_write_arrives_late(self, pick: int) -> None:
        """One that its sender has given up arrives, or a copy of one that has arrived before."""
        if self.late and pick % 2:
            late = self.late.pop(pick % len(self.late))
            late.arrive()
            allowed = self.model.at(late.minted, late.refer)
            if late.by and late.by[0].unanswered and late.by[0].unanswered[0] is late.by[1]:
                late.by[0].unanswered = late.by[1], allowed
            self.client.sent.append(late.arrive)
            self._did("latecomer", replace(late.step, allowed=allowed))
        elif self.client.sent:
            self.client.sent[-1 - pick % len(self.client.sent)]()
            self._did("latecomer", Step("copy", allowed=False))

    def _import(self, items: Sequence[Item], *, again: bool) -> None:
        """Import items, and send it again as the SDK does for want of a reply."""
        token = uuid4().hex
        said = [dict(self.table.insert(items, token)) for _ in range(1 + again)]
        new = {int(item.item_id): (item.task_id, SCRIPTS[item.task_id]) for item in items}
        there = self.model.insert(new, token)
        self._did("operator", Step("import", 0, "", not there, said, [there] * (1 + again)))

    # The promises

    @invariant()
    def the_promises_hold(self) -> None:
        step, self.step = self.step, Step()
        old, self.raw = self.raw, self._contents()
        before, now = readable(old), readable(self.raw)
        self._nobody_shares()
        for key in {*before, *now}:
            if before.get(key) != now.get(key):
                check_change(before.get(key), now.get(key), step, self.model.now)
                self._check_outcomes(key, before.get(key), now.get(key))
        for image in now.values():
            check_image(image, self.lines)
        if step.allowed is False:
            assert self.raw == old, f"{step.name} is not allowed, and yet changed the table"
        assert step.said == step.expected, f"{step.name} has another answer"
        if step.claimed:
            assert step.claimed == Item.from_values(decode(self.raw[step.key])), (
                "another item was claimed"
            )
        there = {entry["stdout"] for image in now.values() for _, entry in log(image)}
        assert there.issuperset(step.recorded), "an outcome was said to be recorded, and is not"
        assert there.isdisjoint(step.vain), "an outcome was said not to be recorded, and is"
        assert now == self.model.items, f"after {step}"

    def _nobody_shares(self) -> None:
        """By what the workers were told, no two of them run an item at the same time."""
        running = Counter(held.key for held in self.claims if held.until >= self.model.now)
        assert all(number == 1 for number in running.values()), "two workers hold one item"

    def _check_outcomes(self, key: int, before: Image | None, now: Image | None) -> None:
        """What was recorded is new, in one place, and by the holder."""
        earlier = dict(log(before)) if before else {}
        for name, entry in log(now) if now else ():
            marker = entry["stdout"]
            if earlier.get(name) != entry:
                assert marker not in self.places, "an outcome was recorded twice"
                assert before is not None
                assert before["lockID"] == self.writers[marker], "not the holder's outcome"
                self.places[marker] = (key, name)

    # Helpers

    def _choose(self, role: str, pick: int, *, nested: bool = False) -> tuple[str, Held]:
        """A claim that is held, one that was, or one that never was; where there is none of that
        kind, of the next.
        """
        claims = [each for each in self.claims if each.claim.item.is_nested >= nested]
        for wanted in ("holder", "loser")[role == "loser" :] if role != "stranger" else ():
            holds = wanted == "holder"
            fitting = [each for each in claims if self.model.holds(each.key, each.lock) is holds]
            if fitting:
                return wanted, fitting[-1 - pick % len(fitting)]
        item = replace(ITEMS[1 + pick % 2], state="locked", lock_id=self._mint("forged"))
        return "stranger", Held(Claim(item, 0, self.table), HOLDERS[0])

    def _entries(self, held: Held, names: list[str], bad: Set[str]) -> dict[str, LogEntry]:
        return {name: self._entry(held, succeeded=name not in bad) for name in names}

    def _entry(self, held: Held, *, succeeded: bool) -> LogEntry:
        status = "Execution Successful" if succeeded else "Execution Failed: exit 3"
        lines = next(self.numbers)
        marker = self._marker(held, lines)
        return LogEntry(status, marker, "", 0, 0.5, 10.0, "s3://b/k", "0-9", lines=lines)

    def _marker(self, held: Held, lines: int) -> str:
        """What tells an outcome from any other."""
        marker = self._mint("outcome")
        self.writers[marker], self.lines[marker] = held.lock, lines
        return marker

    @staticmethod
    def _results(entries: Mapping[str, LogEntry]) -> Results:
        return {
            name: Result(entry.succeeded, undecimal(entry.to_values()), entry.lines)
            for name, entry in entries.items()
        }

    def _mint(self, what: str) -> str:
        return f"{what}-{next(self.numbers)}"

    def _did(self, who: str, step: Step) -> None:
        self.step = step
        if step.allowed is not None:
            self.met[step.name, who, step.allowed] += 1

    def _contents(self) -> dict[int, Any]:
        found = self.there.client.scan(TableName=self.there.name, ConsistentRead=True)["Items"]
        return {int(image["itemID"]["N"]): image for image in found}


def readable(raw: Mapping[int, Any]) -> dict[int, Image]:
    return {key: plain({"M": image}) for key, image in raw.items()}


def log(image: Image) -> list[tuple[str, Image]]:
    """The log entries of an item by the names of their tasks."""
    if "Nested_Tasks" in image:
        return list(image.get("Log", {}).items())
    return [(SINGLE, image["Log"])] if image.get("Log") else []


def check_image(image: Image, lines: Mapping[str, int]) -> None:
    """What holds for an item at any time."""
    state, states = image["ItemState"], statuses(image)
    assert ("Lease_Expires" in image) is (state == "locked"), "a lease without a holder, or none"
    assert ("InstanceID" in image) is (state != "todo")
    assert ("Log_Length" in image) is (state in ENDED)
    assert image.get("Attempts", 0) >= (state != "todo"), "too few attempts"
    if states:
        assert image.get("Ended_Tasks", 0) == ended(image), "Ended_Tasks is not what has ended"
        assert {name for name, now in states.items() if now in ENDED} <= set(image.get("Log", {}))
        assert state != "done" or set(states.values()) == {"done"}, "done, but not all of it"
    elif state in ENDED:
        assert image["Log_Length"] == lines[image["Log"]["stdout"]], "not the lines it printed"


def check_change(before: Image | None, now: Image | None, step: Step, time: float) -> None:
    """What holds for a change of an item, by what was done."""
    was, then = (image["ItemState"] if image else None for image in (before, now))
    assert (was, then) in EDGES[step.name], f"{step.name} made {was} {then}"
    if before is None:
        return
    if step.name in SETTLING:
        assert before["lockID"] == step.lock, f"{step.name} by another than the holder"
    if now is not None and was == then == "locked" and step.name != "take over":
        assert before["Lease_Expires"] <= now["Lease_Expires"], "the lease moved back"
        assert before.get("Ended_Tasks", 0) <= now.get("Ended_Tasks", 0), "fewer tasks have ended"
    if step.name in {"take over", "requeue", "requeue all", "remove"}:
        assert before.get("Lease_Expires", 0) < time, f"{step.name} while a lease goes on"
    if now is not None:
        check_attempts(before, now, step)
        check_tasks(before, now, step)


def check_attempts(before: Image, now: Image, step: Step) -> None:
    """A claim counts, one handed back in good order does not, and requeueing starts afresh."""
    counts = {"claim": 1, "take over": 1, "release": -1, "retry": -1}
    if step.name.startswith("requeue"):
        assert "Attempts" not in now, "attempts miscounted"
    else:
        more = now.get("Attempts", 0) - before.get("Attempts", 0)
        assert more == counts.get(step.name, 0), "attempts miscounted"
    claimed = step.name in {"claim", "take over"}
    assert (before["lockID"] != now["lockID"]) is claimed, "a lock changed, or not"


def check_tasks(before: Image, now: Image, step: Step) -> None:
    """A nested task that has ended stays so, with its outcome, unless it failed and runs again."""
    for name, status in statuses(before).items():
        if status in ENDED:
            again = step.name == "requeue all" or (status == "failed" and step.name in AGAIN)
            assert statuses(now)[name] == ("todo" if again else status), f"{name} left {status}"
            assert now["Log"][name] == before["Log"][name], f"{name} has a second outcome"


QUICK = settings(
    max_examples=16,
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=True,
    # Not shrunk, which takes minutes: whoever wants the shortest history adds Phase.shrink
    phases=(Phase.generate,),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=150, stateful_step_count=60, derandomize=False, print_blob=True)
CONTROL = settings(QUICK, max_examples=100)


@pytest.fixture(scope="module")
def shared(dynamodb_client: DynamoDBClient) -> Iterator[Table]:
    with workflow_table(dynamodb_client) as table:
        yield table


def run(table: Table, how: settings) -> Met:
    """Let them act, and tell what was tried: the step, by whom, whether it was allowed."""
    met: Met = Counter()

    class Machine(TableMachine):
        def __init__(self) -> None:
            super().__init__(table, met)

    run_state_machine_as_test(Machine, settings=how)
    return met


WORTH_TRYING = {
    *product(("claim", "take over"), ("worker",), (True, False)),
    *product(SETTLING, ("holder",), (True,)),
    *product(SETTLING, ("loser", "stranger"), (False,)),
    *product(("import", "requeue", "remove"), ("operator",), (True, False)),
    *product(("renew", "record"), ("latecomer",), (False,)),
    ("copy", "latecomer", False),
}


def test_whatever_workers_an_operator_and_the_clock_do_the_promises_hold(shared: Table) -> None:
    met = run(shared, QUICK)
    assert set(met) >= WORTH_TRYING, "each transition by those who may and those who may not"


@pytest.mark.long
def test_in_many_more_histories_the_promises_hold_too(shared: Table) -> None:
    run(shared, LONG)


# Each guard taken away


def no_import_condition() -> None:
    """Let an import write over what is there."""
    anyway = f"{transitions.IMPORT.condition} OR attribute_exists(itemID)"
    transitions.IMPORT = replace(transitions.IMPORT, condition=anyway)


def no_seen_lock() -> None:
    """Let an item be taken over from another holder than the one that was seen."""
    anybody = (
        "ItemState = :locked AND (lockID = :seen OR attribute_exists(lockID))"
        " AND Lease_Expires < :epoch"
    )
    transitions.TAKE_OVER = replace(transitions.TAKE_OVER, condition=anybody)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what `sabotage` takes away."""
    for name, value in vars(transitions).items():
        if isinstance(value, transitions.Transition):
            monkeypatch.setattr(transitions, name, value)
    monkeypatch.setattr(table_writes, "already_applied", table_writes.already_applied)
    monkeypatch.setattr(WorkflowTable, "leases", WorkflowTable.leases)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("sabotaging", "found"),
    [
        (sabotage.no_fence, "(renew|record|finish|release|retry) (by another|made)"),
        (sabotage.no_claim_condition, "two workers hold one item|claim made"),
        (sabotage.no_lease, "two workers hold one item|take over while a lease goes on"),
        (sabotage.no_recognition, "[a-z ]+ has another answer"),
        (sabotage.no_succession, "copy made|claim .*"),
        (no_import_condition, "import made"),
        (no_seen_lock, "take over is not allowed, and yet changed"),
    ],
)
def test_without_a_guard_a_promise_is_broken(
    shared: Table, sabotaging: Callable[[], None], found: str
) -> None:
    sabotaging()
    with pytest.raises(AssertionError, match=rf"\A({found})"):
        run(shared, CONTROL)
