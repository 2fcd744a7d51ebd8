"""Several workers, an operator and a clock act on one table; after every step all promises hold.

Hypothesis draws what happens next. Each step goes through the real table module to DynamoDB Local,
and to `tests.support.reference`, a table in plain Python. The promises are checked on what DynamoDB
returns; then each answer must be the one that the reference gives, and the table must hold exactly
what the reference holds. Replies are lost, and any write may arrive late, past others, and again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.codec import SMALLEST_ID, decode
from anamo.core.errors import Unreachable
from anamo.core.item import SINGLE, Item, State
from anamo.core.log_entry import LogEntry, abandoned_entry
from anamo.core.record import Record
from anamo.operator.nested_choice import requeued_tasks
from anamo.worker.claim import Claim
from anamo.worker.ended_leases import LEASES_PAGE, NEVER
from tests.model.table_promises import check_change, check_image, log, readable
from tests.model.table_steps import (
    BEGINNING,
    HOLDERS,
    ITEMS,
    MEANT,
    SCRIPTS,
    WHAT_HAPPENS,
    Ask,
    Entries,
    Held,
    Image,
    Late,
    Met,
    Operation,
    Step,
    Write,
)
from tests.support.actors import HandDrivenClock, LossyClient
from tests.support.reference import Reference, Result, Results
from tests.support.table import Table, plain, undecimal


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
        """Empty the table."""
        for item in ITEMS:
            self.there.client.delete_item(
                TableName=self.there.name, Key={"itemID": {"N": str(item.item_id)}}
            )

    @rule(happening=WHAT_HAPPENS)
    def something_happens(self, happening: tuple[str, dict[str, Any]]) -> None:
        """What Hypothesis has drawn."""
        name, arguments = happening
        getattr(self, name)(**arguments)

    # Claim and take over

    def a_worker_claims(self, pick: int, holder: Holder, *, taken: bool, fate: str) -> None:
        """It claims what it takes for todo."""
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
        """It takes over what is listed as locked, or was."""
        self.model.now += wait
        now = [] if stale else self.table.leases(SMALLEST_ID, NEVER, LEASES_PAGE).items
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
        name = ask.name
        if wins and not allowed:
            # An earlier attempt was applied, and its lease is extended now
            name, allowed = "renew", self.model.renew(ask.key, ask.lock, ask.holder.lease)
        step = Step(name, ask.key, ask.lock, allowed, item is not None, wins, item)
        self._did("worker", step)

    # What a holder writes

    def a_worker_writes(
        self, what: str, role: str, pick: int, tasks: Set[str], bad: Set[str], *, fate: str
    ) -> None:
        """A holder writes, or one that was or never has been."""
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
        """The table begins with all items."""
        self._import(ITEMS, again=False)

    def the_operator_acts(
        self, what: str, pick: int, wait: float, *, stale: bool, fate: str
    ) -> None:
        """The operator imports, requeues or removes, by what was listed now or before."""
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
        """After every step."""
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
