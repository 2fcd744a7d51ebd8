"""Finding work in several tables, ended leases, and what a worker that waits asks of DynamoDB.

In virtual time: the real finder and claimer over a table in memory that counts what DynamoDB would.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from time import monotonic
from typing import Any
from unittest.mock import Mock

import pytest

from anamo.aws.clock import DatabaseClock
from anamo.aws.pages import ClaimablePage, LeasePage
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.codec import SMALLEST_ID, ItemId, encode
from anamo.core.errors import Throttled
from anamo.core.item import Item
from anamo.worker import claimer, ended_leases
from anamo.worker.claimer import Claimer
from anamo.worker.ended_leases import EndedLeases
from anamo.worker.finder import ASK_SECONDS, SPREAD_SECONDS, Finder, Found
from anamo.worker.in_flight_claims import ClaimSent, InFlightClaims
from anamo.worker.loop import Worker
from anamo.worker.other_workers import LONGEST_PAUSE, OtherWorkers
from anamo.worker.progress import WorkerTotals
from anamo.worker.run import find_what_is_left, make_claimers
from anamo.worker.turns import Turn, TurnAsked, TurnEnded, Turns

HOLDER = Holder("i-me", 600)
EPOCH = 1_800_000_000
HOUR = 3600.0

INDEX_ENTRY = 250
"""Bytes of a locked item in a narrow ItemStateIndex, generously."""


class Time:
    """A clock that passes only where somebody waits."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def rest(self, seconds: float) -> bool:
        """Let so many seconds pass, as a parent that waits."""
        self.now += seconds
        return True


class FakeTable(WorkflowTable):
    """A table in memory. `units` are the read units of its requests so far."""

    def __init__(
        self, name: str, time: Time, todo: Iterable[ItemId] = (), locked: Iterable[Item] = ()
    ) -> None:
        super().__init__(Mock(), name, DatabaseClock(time, lambda: EPOCH + time.now))
        self.listed = set(todo)
        self.held = {item.item_id: item for item in locked}
        self.requests: Counter[str] = Counter()
        self.units = 0.0
        self.throttled = 0

    def _count(self, request: str, size: int) -> None:
        self.requests[request] += 1
        if self.throttled and request == "leases":
            self.throttled -= 1
            raise Throttled("later")
        # Eventually consistent, but for the table itself
        self.units += max(math.ceil(size / 4096), 1) * (1.0 if request == "claimable_page" else 0.5)

    def todo(self, start: ItemId, limit: int) -> list[Item]:
        ids = sorted(item_id for item_id in self.listed if item_id >= start)[:limit]
        self._count("todo", len(ids) * INDEX_ENTRY)
        return [Item(item_id, "Task", "true") for item_id in ids]

    def last(self, state: str) -> ItemId | None:
        self._count("last", 1)
        return max(self.listed if state == "todo" else self.held, default=None)

    def leases(
        self, start: ItemId, before: int, limit: int, _instance: str | None = None
    ) -> LeasePage:
        ids = sorted(item_id for item_id in self.held if item_id >= start)
        self._count("leases", len(ids[:limit]) * INDEX_ENTRY)
        items = [self.held[item_id] for item_id in ids[:limit]]
        found = [i for i in items if i.lease_expires is not None and i.lease_expires < before]
        return LeasePage(found, len(items), ids[limit] if len(ids) > limit else None)

    def claimable_page(self, rest: object) -> ClaimablePage:
        assert rest is None
        self._count("claimable_page", 1 << 20)
        return ClaimablePage(
            [Item(n, "Task", "true") for n in self.listed], [*self.held.values()], None
        )

    def claim(self, seen: Item, lock_id: str, _holder: Holder) -> Item | None:
        if seen.item_id not in self.listed:
            return None
        self.listed.remove(seen.item_id)
        return replace(seen, lock_id=lock_id)

    def take_over(self, seen: Item, lock_id: str, _holder: Holder) -> Item | None:
        del self.held[seen.item_id]
        return replace(seen, lock_id=lock_id)


class LargeTable(FakeTable):
    """One of six pages, more than a search reads. All that is todo is on the first."""

    hidden: Iterable[int] = ()
    """Items that are todo and that the index does not list yet."""

    def claimable_page(self, rest: Any) -> ClaimablePage:
        page = rest["page"] if rest else 1
        self.requests[f"page {page}"] += 1
        more = {"page": page + 1} if page < 6 else None
        return ClaimablePage([Item(n, "Task", "true") for n in self.hidden if page == 1], [], more)


def locked(item_id: int, ends: float) -> Item:
    return Item(
        item_id, "T", "true", state="locked", lock_id=f"L{item_id}", lease_expires=EPOCH + int(ends)
    )


def finder(
    time: Time,
    *tables: FakeTable,
    idle: float = 0.0,
    seed: int = 1,
    inherited: tuple[ClaimSent, ...] = (),
) -> Finder:
    in_flight = InFlightClaims(lambda message: None, inherited)
    draw = random.Random(seed)
    claimers = [Claimer(table, HOLDER, in_flight, draw, time) for table in tables]
    return Finder(claimers, idle, draw, time)


def find(found: Finder, time: Time, until: float = math.inf) -> Found | None:
    """Look, in turn, until there is something, nothing is left, or the time is over."""
    found.begin()
    while time.now < until:
        if item := found.search():
            return item
        if found.over:
            return None
        assert found.pause > 0
        time.now += found.pause
    return None


def taken(found: Found | None) -> tuple[str, ItemId]:
    assert found
    return found.table.name, found.item.item_id


# Several tables


def test_items_come_from_the_first_table_that_has_any() -> None:
    time = Time()
    tables = [FakeTable("A", time, [1, 2]), FakeTable("B", time), FakeTable("C", time, [1, 2])]
    found = finder(time, *tables)
    names = [taken(find(found, time))[0] for _ in range(4)]
    assert names == ["A", "A", "C", "C"]
    assert find(found, time) is None
    assert found.over


def test_items_of_two_tables_may_have_the_same_id() -> None:
    time = Time()
    tables = FakeTable("A", time, [7]), FakeTable("B", time, [7])
    found = finder(time, *tables)
    assert [taken(find(found, time)) for _ in range(2)] == [("A", 7), ("B", 7)]


def test_an_earlier_table_that_gets_items_goes_first_again() -> None:
    time = Time()
    first, second = FakeTable("A", time), FakeTable("B", time, range(10_000))
    found = finder(time, first, second)
    for _ in range(100):
        time.now += 1
        assert taken(find(found, time))[0] == "B"
    first.listed.add(1)
    began = time.now
    while taken(find(found, time))[0] == "B":
        time.now += 1
    assert time.now - began <= ASK_SECONDS + 1


def test_an_earlier_table_that_is_empty_costs_a_busy_worker_little() -> None:
    time = Time()
    first, second = FakeTable("A", time), FakeTable("B", time, range(10_000))
    found = finder(time, first, second)
    while time.now < HOUR:
        time.now += 1
        assert find(found, time)
    assert first.requests["todo"] <= 10 + HOUR / (0.75 * ASK_SECONDS)
    assert first.requests.total() == first.requests["todo"] + 1


def test_nothing_is_left_only_if_no_table_has_anything() -> None:
    time = Time()
    first, second = FakeTable("A", time), FakeTable("B", time)
    found = finder(time, first, second)
    assert find(found, time) is None
    assert (first.requests["claimable_page"], second.requests["claimable_page"]) == (1, 1)
    hidden = FakeTable("C", time)
    hidden.claimable_page = Mock(return_value=ClaimablePage([Item(7, "Task", "true")], [], None))  # type: ignore[method-assign]
    hidden.claim = Mock(return_value=None)  # type: ignore[method-assign]
    found = finder(time, first, hidden)
    assert find(found, time, until=time.now + 60) is None
    assert not found.over


def test_a_process_agrees_only_once_its_own_idle_timeout_is_nearly_over() -> None:
    time = Time()
    found = finder(time, FakeTable("A", time), idle=60)
    found.begin()
    assert not found.agrees
    assert found.claim() is None
    time.now += 60 - SPREAD_SECONDS - 1
    assert not found.agrees
    time.now += 1
    assert found.agrees


def test_a_process_stays_until_what_it_inherited_is_taken_over_in_the_right_table() -> None:
    time = Time()
    inherited = ClaimSent("B", 7, "L7", 0.0)
    first = FakeTable("A", time, locked=[locked(7, 10_000)])
    second = FakeTable("B", time, locked=[locked(7, 300)])
    found = finder(time, first, second, inherited=(inherited,))
    assert taken(find(found, time)) == ("B", 7)
    assert 300 <= time.now <= 330
    assert find(found, time) is None
    assert found.over


# Ended leases


@pytest.mark.parametrize("held", [1, 1000, 3500])
def test_an_ended_lease_is_found_within_a_minute_for_each_thousand_that_are_locked(
    held: int,
) -> None:
    for seed in range(20):
        time = Time()
        table = FakeTable("A", time, locked=[locked(n, 10 * HOUR) for n in range(1, held + 1)])
        draw = random.Random(seed)
        which, end = draw.randint(1, held), draw.randint(500, 3000)
        table.held[which] = locked(which, end)
        found = finder(time, table, idle=10 * HOUR, seed=seed)
        assert taken(find(found, time))[1] == which
        thousands = math.ceil(held / ended_leases.LEASES_PAGE)
        assert end < time.now <= end + 60 * thousands


def test_looks_that_do_not_go_on_never_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: EndedLeases, before: int, instance: str | None) -> bool:
        self._start = SMALLEST_ID
        return go_on(self, before, instance)

    go_on = EndedLeases._read  # noqa: SLF001
    monkeypatch.setattr(EndedLeases, "_read", read)
    time = Time()
    table = FakeTable("A", time, locked=held_by_others(3500))
    table.held[3000] = locked(3000, 1000)
    assert find(finder(time, table, idle=10 * HOUR), time, until=2 * HOUR) is None


def test_where_a_page_is_all_there_is_a_lease_is_found_as_soon_as_it_ends() -> None:
    time = Time()
    table = FakeTable("A", time, locked=[locked(n, 10 * HOUR) for n in range(1, 900)])
    table.held[7] = locked(7, 1000)
    found = finder(time, table, idle=10 * HOUR)
    assert taken(find(found, time))[1] == 7
    assert 1000 < time.now <= 1003


def test_workers_look_at_different_places() -> None:
    time = Time()
    table = FakeTable("A", time, locked=[locked(n, 10 * HOUR) for n in range(1, 20_001)])
    starts = set()
    for seed in range(10):
        leases = EndedLeases(table, random.Random(seed))
        leases.next_page(EPOCH)
        assert not leases.complete
        assert leases.locked == ended_leases.LEASES_PAGE or leases.locked < 20_000
        starts.add(leases._start)  # noqa: SLF001
    assert len(starts) == 10


def test_a_look_that_is_throttled_goes_on_where_it_was() -> None:
    time = Time()
    table = FakeTable("A", time, locked=[locked(n, 0) for n in range(1, 3501)])
    leases = EndedLeases(table, random.Random(1))
    seen: set[ItemId] = set()
    requests = 0
    while len(seen) < 3500:
        table.throttled = 1
        with pytest.raises(Throttled):
            leases.next_page(EPOCH + 1)
        seen |= {item.item_id for item in leases.next_page(EPOCH + 1)}
        requests += 1
        assert requests <= 5
    assert table.requests["last"] == 1


def test_workers_that_race_for_what_is_todo_do_not_look_for_ended_leases() -> None:
    time = Time()
    table = FakeTable("A", time, range(1, 11), locked=held_by_others(5))
    table.claim = Mock(return_value=None)  # type: ignore[method-assign]
    found = finder(time, table)
    assert find(found, time, until=0.9) is None
    assert table.claim.call_count >= 3
    assert (table.requests["leases"], table.requests["claimable_page"]) == (0, 0)


# What waiting costs


def waiting_hour(time: Time, table: FakeTable) -> None:
    """An hour of a worker that waits for new items (--idle-timeout)."""
    find(finder(time, table, idle=2 * HOUR), time, until=HOUR)


def held_by_others(count: int) -> list[Item]:
    return [locked(n, 10 * HOUR) for n in range(1, count + 1)]


def cheap(table: FakeTable) -> bool:
    """Whether a thousand such worker-hours cost what docs/cost.md says at most."""
    return 1000 * table.units <= 3_500_000 and table.requests.total() <= 400


@pytest.mark.parametrize("count", [0, 1_000, 5_000, 20_000])
def test_a_thousand_workers_that_wait_for_items_for_an_hour_cost_what_is_said(count: int) -> None:
    time = Time()
    table = FakeTable("A", time, locked=held_by_others(count))
    waiting_hour(time, table)
    assert time.now >= HOUR
    assert table.requests["claimable_page"] == 0
    assert cheap(table)
    assert count or 1000 * table.units <= 190_000


@pytest.mark.parametrize("count", [1_000, 5_000, 20_000])
def test_a_thousand_workers_that_wait_for_others_for_an_hour_cost_what_is_said(count: int) -> None:
    time = Time()
    table = FakeTable("A", time, locked=held_by_others(count))
    others = OtherWorkers([table], HOLDER, draw=random.Random(1), clock=time)

    def rest(seconds: float) -> bool:
        assert seconds <= LONGEST_PAUSE
        time.now += seconds
        return time.now < HOUR

    assert not others.wait((), rest)
    assert time.now >= HOUR
    assert table.requests["claimable_page"] == 0
    assert cheap(table)


def test_waits_that_do_not_grow_cost_more_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claimer, "LONGEST_PAUSE", claimer.FIRST_PAUSE)
    time = Time()
    table = FakeTable("A", time, locked=held_by_others(20_000))
    waiting_hour(time, table)
    assert not cheap(table)


def test_a_worker_that_ends_reads_a_page_of_what_is_locked_however_much_that_is() -> None:
    time = Time()
    table = FakeTable("A", time, locked=held_by_others(20_000))
    found = finder(time, table)
    assert find(found, time) is None
    assert found.over
    assert found.locked == ended_leases.LEASES_PAGE
    assert table.requests == {"todo": 2, "last": 2, "leases": 1, "claimable_page": 1}


def test_what_others_lose_is_seen_while_waiting() -> None:
    time = Time()
    table = FakeTable("A", time, locked=held_by_others(3))
    table.held[2] = locked(2, 1000)
    others = OtherWorkers([FakeTable("B", time), table], HOLDER, draw=random.Random(1), clock=time)
    assert others.wait((), time.rest)
    assert 1000 <= time.now <= 1000 + LONGEST_PAUSE + 1


@pytest.mark.parametrize("is_told", [True, False])
def test_in_a_large_table_processes_find_the_ended_lease_that_their_parent_saw(
    is_told: bool,
) -> None:
    found = 0
    for seed in range(20):
        time = Time()
        table = LargeTable("A", time, locked=held_by_others(20_000))
        which = random.Random(seed).randint(1, 20_000)
        table.held[which] = locked(which, 1000)
        others = OtherWorkers([table], HOLDER, draw=random.Random(seed), clock=time)
        assert others.wait((), time.rest)
        assert 1000 < time.now <= 1000 + 20 * LONGEST_PAUSE
        assert others.ended == {"A": which}
        in_flight = InFlightClaims(lambda message: None, ())
        ended = others.ended if is_told else {}
        process = Finder(make_claimers([table], HOLDER, in_flight, {}, ended), 0.0, clock=time)
        if item := find(process, time):
            assert taken(item) == ("A", which)
            found += 1
    assert (found == 20) is is_told


def test_what_is_left_behind_is_told_by_table_and_lock() -> None:
    time = Time()
    tables = [FakeTable("A", time, locked=[locked(7, HOUR)]), FakeTable("B", time)]
    others = OtherWorkers(tables, HOLDER, draw=random.Random(1), clock=time)
    state = others.read_tables([ClaimSent("B", 7, "L7", 0.0)])
    assert (state.own, state.locked_by_others) == (False, 1)
    state = others.read_tables([ClaimSent("A", 7, "L7", 0.0)])
    assert (state.own, state.locked_by_others) == (True, 0)


def test_a_claim_left_behind_beyond_the_page_is_found_by_its_key() -> None:
    time = Time()
    table = FakeTable("A", time, locked=held_by_others(20_000))
    others = OtherWorkers([table], HOLDER, draw=random.Random(1), clock=time)
    assert not others.read_tables(()).complete
    for item_id in (1, 9_999, 20_000):
        assert others.read_tables([ClaimSent("A", item_id, f"L{item_id}", 0.0)]).own
    assert not others.read_tables([ClaimSent("A", 5, "another", 0.0)]).own


@pytest.mark.parametrize("large", [True, False])
def test_an_item_that_the_index_does_not_list_yet_is_seen_at_the_end(large: bool) -> None:
    time = Time()
    kind = LargeTable if large else FakeTable
    table = kind("A", time, locked=[locked(7, HOUR)])
    if isinstance(table, LargeTable):
        table.hidden = [7]
    others = OtherWorkers([table], HOLDER, draw=random.Random(1), clock=time)
    state = others.read_tables((), closely=True)
    assert (state.claimable, state.complete, state.read) == (large, not large, True)


def test_what_a_large_table_may_hide_is_said() -> None:
    time = Time()
    table = LargeTable("A", time, locked=[locked(7, HOUR)])
    others = OtherWorkers([FakeTable("B", time), table], HOLDER, draw=random.Random(1), clock=time)
    state = others.read_tables((), closely=True)
    assert (state.claimable, state.read) == (False, False)


@pytest.mark.parametrize("recently", [True, False])
def test_work_is_left_where_an_index_may_not_list_yet_what_was_just_given_back(
    recently: bool,
) -> None:
    time = Time()
    table = LargeTable("A", time, locked=[locked(7, HOUR)])
    totals = WorkerTotals(stopped=True, ended_early=True)
    if recently:
        totals.given_back_at = monotonic()
    find_what_is_left(totals, OtherWorkers([table], HOLDER))
    assert (totals.work_left, totals.locked_by_others) == (recently, 1)


def test_ended_leases_are_looked_for_beside_an_itemid_of_another_tool_without_end() -> None:
    time = Time()
    ids: list[ItemId] = [7, Decimal("1E+100")]
    table = FakeTable("A", time)
    table.held = {item_id: replace(locked(7, 0), item_id=item_id) for item_id in ids}
    leases = table.leases

    def encoded(start: ItemId, before: int, limit: int, _instance: str | None = None) -> LeasePage:
        encode({"itemID": start})
        return leases(start, before, limit)

    table.leases = encoded  # type: ignore[method-assign]
    found = EndedLeases(table, random.Random(1))
    assert 7 in {item.item_id for _ in range(3) for item in found.next_page(EPOCH + 1)}


@pytest.mark.parametrize("has_worked", [True, False])
def test_a_process_that_gave_an_item_back_does_not_trust_an_earlier_search(
    has_worked: bool,
) -> None:
    """One that has claimed nothing trusts it, although its own index query came later."""
    time = Time()
    table = FakeTable("A", time)
    recorder, control = Mock(claims=1), Mock(stopping=False)
    turns, other = Turns(), Mock(since=0.1)
    process: Any = Mock(since=0.1)
    control.turn = Turn(lambda message: turns.note(process, message), time)
    process.send = control.turn.note
    turns.note(other, TurnAsked(0.0))
    turns.note(other, TurnEnded(nothing_left=0.5))

    def record(_seconds: float, _condition: object = None) -> None:
        # The item of this process is to be retried
        time.now += 1
        recorder.claims = 0
        table.listed.add(7)

    control.sleep = record
    hidden = table.todo
    table.todo = Mock(side_effect=lambda *_: hidden(0, 0))  # type: ignore[method-assign]
    worker: Any = Worker.__new__(Worker)
    vars(worker).update(_finder=finder(time, table), _control=control, _recorder=recorder)
    vars(worker).update(_ready=lambda: True, _claim=lambda claim: claim())
    if has_worked:
        # As at the beginning of an item's tasks
        control.turn.distrust()
        assert taken(worker._next()) == ("A", 7)  # noqa: SLF001
    else:
        assert worker._next() is None  # noqa: SLF001


def test_a_search_of_a_large_table_counts_from_when_its_index_was_first_queried() -> None:
    time = Time()
    time.now = 10.0
    found = finder(time, LargeTable("A", time))
    assert find(found, time) is None
    assert found.over
    # An index is believed after a while only; what comes back in between it may not have listed
    assert time.now > 10.9
    assert found.evidence_since == 10.0


def test_a_search_of_a_table_that_was_read_to_its_end_counts_from_that_reading() -> None:
    time = Time()
    found = finder(time, FakeTable("A", time), LargeTable("B", time))
    found.begin()
    assert found.search() is None
    assert not found.over
    time.now = 5.0
    small = finder(time, FakeTable("A", time))
    assert find(small, time) is None
    assert small.evidence_since == 5.0


def test_a_table_that_was_read_in_part_is_read_from_its_beginning_after_a_claim_elsewhere() -> None:
    time = Time()
    first, large = FakeTable("A", time), LargeTable("B", time)
    found = finder(time, first, large)
    found.begin()
    assert found.search() is None
    assert large.requests["page 1"] == 1
    assert not large.requests["page 6"]
    first.listed.add(1)
    found.refresh()
    assert taken(found.search()) == ("A", 1)
    # An hour of work later there are new items, which no index lists yet
    time.now = HOUR
    large.hidden = [7]
    large.claim = lambda seen, lock_id, _holder: replace(seen, lock_id=lock_id)  # type: ignore[method-assign]
    assert taken(find(found, time)) == ("B", 7)
