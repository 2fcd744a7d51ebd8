"""Finding work: where pages are read from, when they are thrown away, what is taken over."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anamo.aws.pages import ClaimablePage, LeasePage
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.codec import SMALLEST_ID, ItemId, below, encode
from anamo.core.errors import AccessDenied, AwsError, Throttled
from anamo.core.item import NULL, Item, new_values, single_item
from anamo.core.pacing import PAGE, PAGE_SECONDS, TABLE_PAGES
from anamo.worker.claimer import MOST_MISSED, Claimer
from anamo.worker.in_flight_claims import InFlightClaims
from tests.support.table import Table

HOLDER = Holder("i-me", 600)


class FakeTable(WorkflowTable):
    """A table in memory; `stale` are items its index lists as todo although they are not, until
    the read after somebody found that out.
    """

    def __init__(self, ids: Iterable[ItemId]) -> None:
        super().__init__(Mock(), "Fake")
        self.listed: set[ItemId] = set(ids)
        self.stale: set[ItemId] = set()
        self.lost: dict[ItemId, int] = {}
        self.claimed: list[ItemId] = []
        self.reads: list[ItemId] = []
        self.held: list[Item] = []
        self.taken_over: list[ItemId] = []

    def todo(self, start: ItemId, limit: int) -> list[Item]:
        self.reads.append(start)
        self.listed -= self.lost.keys()
        ids = sorted(item_id for item_id in self.listed if item_id >= start)[:limit]
        return [Item(item_id, "Task", "true") for item_id in ids]

    def last_todo(self) -> ItemId | None:
        return max(self.listed, default=None)

    def claim(self, seen: Item, lock_id: str, holder: Holder) -> Item | None:
        if seen.item_id in self.stale:
            self.lost[seen.item_id] = len(self.reads)
            return None
        self.listed.remove(seen.item_id)
        self.claimed.append(seen.item_id)
        return replace(seen, lock_id=lock_id, instance_id=holder.instance_id)

    def last(self, state: str) -> ItemId | None:
        assert state == "locked"
        return max((item.item_id for item in self.held), default=None)

    def leases(
        self, start: ItemId, before: int, limit: int, _instance: str | None = None
    ) -> LeasePage:
        locked = sorted((i for i in self.held if i.item_id >= start), key=lambda i: i.item_id)
        page, rest = locked[:limit], locked[limit:]
        ended = [i for i in page if i.lease_expires is not None and i.lease_expires < before]
        return LeasePage(ended, len(page), rest[0].item_id if rest else None)

    def take_over(self, seen: Item, lock_id: str, _holder: Holder) -> Item | None:
        if seen.item_id in self.stale:
            return None
        self.taken_over.append(seen.item_id)
        return Item(seen.item_id, "Task", "true", lock_id=lock_id)


UNNOTED = InFlightClaims(lambda message: None, ())


def claimer(
    table: WorkflowTable, seed: int = 7, clock: Callable[[], float] = lambda: 0.0
) -> Claimer:
    return Claimer(table, HOLDER, UNNOTED, random.Random(seed), clock)


def claim_all(found: Claimer) -> list[ItemId]:
    claimed = []
    while item := found.claim():
        claimed.append(item.item_id)
    return claimed


ids = st.sets(st.integers(0, 2**53 - 1), max_size=120) | st.integers(0, 120).map(
    lambda count: set(range(1, count + 1))
)


@given(ids, st.integers())
def test_every_item_is_found_once_wherever_its_id_lies(ids: set[int], seed: int) -> None:
    table = FakeTable(ids)
    assert sorted(claim_all(claimer(table, seed))) == sorted(ids)


def test_a_page_of_what_is_passed_over_may_end_just_before_the_item_0() -> None:
    last = below(0)
    assert last is not None
    passed_over = [Decimal(number) - Decimal("0.5") for number in range(1 - PAGE, 0)]
    found = claimer(FakeTable([*passed_over, last, 0, 7]))
    assert len(passed_over) == PAGE - 1
    assert sorted(claim_all(found)) == [0, 7]


def test_each_claim_has_a_lock_id_of_its_own() -> None:
    found = claimer(FakeTable(set(range(10))))
    locks = set()
    while item := found.claim():
        locks.add(item.lock_id)
    assert len(locks) == 10
    assert NULL not in locks


def test_ids_from_1_on_are_read_from_random_places_too() -> None:
    """Drawn among all 2**53 ids, a place would always lie beyond the last."""
    starts = []
    for seed in range(20):
        table = FakeTable(set(range(1, 10_001)))
        claimer(table, seed).claim()
        starts.append(table.reads[0])
    assert max(starts) <= 10_000
    assert len(set(starts)) == 20


def test_near_the_end_the_beginning_is_read() -> None:
    table = FakeTable(set(range(1, 101)))
    draw = random.Random()
    draw.randrange = lambda *_: 98  # type: ignore[method-assign]
    Claimer(table, HOLDER, UNNOTED, draw, lambda: 0.0).claim()
    assert table.reads == [98, SMALLEST_ID]
    assert table.claimed[0] <= PAGE


def test_two_workers_seldom_want_the_same_item() -> None:
    first, second = FakeTable(set(range(10_000))), FakeTable(set(range(10_000)))
    wanted = [
        {item.item_id for item in (found.claim() for _ in range(20)) if item}
        for found in (claimer(first, 1), claimer(second, 2))
    ]
    assert len(wanted[0] & wanted[1]) <= 2


def test_requests_do_not_grow_with_the_table() -> None:
    table = FakeTable(set(range(5_000)))
    found = claimer(table)
    for _ in range(1000):
        found.claim()
    assert len(table.reads) <= 2 * 1000 / PAGE
    assert found.conflicts == 0


def test_a_page_is_thrown_away_after_a_loss() -> None:
    table = FakeTable(set(range(60)))
    table.stale = set(range(60))
    found = claimer(table)
    while found.conflicts < 60:
        assert found.claim() is None
    assert set(Counter(table.lost.values()).values()) == {1}
    assert found.conflicts == len(table.lost) == 60


def test_an_old_page_is_read_again() -> None:
    now = 0.0
    table = FakeTable(set(range(1000)))
    found = claimer(table, clock=lambda: now)
    found.claim()
    found.claim()
    assert len(table.reads) == 1
    now = PAGE_SECONDS
    found.claim()
    assert len(table.reads) == 2


def leased(item_id: int, expires: int | None) -> Item:
    return Item(
        item_id, "Task", "true", state="locked", lock_id=f"L{item_id}", lease_expires=expires
    )


def test_ended_leases_are_taken_over_when_nothing_is_todo() -> None:
    table = FakeTable({5})
    table.held = [leased(1, 1000), leased(2, 1 << 40), leased(3, None)]
    found = claimer(table)
    first, second = found.claim(), found.claim() or found.take_over()
    assert first is not None
    assert second is not None
    assert (first.item_id, second.item_id) == (5, 1)
    assert table.taken_over == [1]


def test_what_others_hold_is_known_when_nothing_is_left() -> None:
    table = FakeTable(set())
    table.held = [leased(1, 1 << 40), leased(2, 1 << 40), leased(3, None)]
    found = claimer(table)
    assert found.claim() is None
    assert found.take_over() is None
    assert found.locked == 3


def test_a_take_over_lost_to_others_goes_on_with_the_next() -> None:
    table = FakeTable(set())
    table.held = [leased(item_id, 1000) for item_id in range(10)]
    table.stale = set(range(9))
    item = claimer(table).take_over()
    assert item is not None
    assert item.item_id == 9


def test_on_a_real_table_every_item_is_found_and_held(table: Table) -> None:
    ours = WorkflowTable(table.client, table.name)
    for number in range(1, 41):
        item = replace(single_item(f"Task-{number}", "true"), item_id=number)
        table.client.put_item(TableName=table.name, Item=encode(new_values(item)))
    found = claimer(ours)
    assert sorted(claim_all(found)) == list(range(1, 41))
    assert found.take_over() is None
    assert found.locked == 40
    assert table.states() == {"locked": 40}


def test_the_table_itself_gives_what_its_index_does_not_list() -> None:
    table = FakeTable(set())
    page = ClaimablePage([Item(7, "Task", "true")], [leased(1, 1000)], None)
    table.claimable_page = lambda rest: page  # type: ignore[method-assign]
    found = claimer(table)
    table.listed = {7}
    item = found.claim_by_table()
    assert item is not None
    assert item.item_id == 7
    table.claimable_page = lambda rest: ClaimablePage([], [leased(1, 1000)], None)  # type: ignore[method-assign]
    item = found.claim_by_table()
    assert item is not None
    assert item.item_id == 1
    assert found.claimable


def test_a_table_is_read_on_from_call_to_call_until_nothing_is_left() -> None:
    table = FakeTable(set())
    asked = []

    def claimable_page(rest: object) -> ClaimablePage:
        asked.append(rest)
        number = len(asked)
        more = {"page": number + 1} if number <= TABLE_PAGES else None
        return ClaimablePage([], [leased(number, 1 << 40)], more)

    table.claimable_page = claimable_page  # type: ignore[method-assign]
    found = claimer(table)
    left = []
    for _ in range(2):
        assert found.claim_by_table() is None
        left.append(found.claimable)
    assert left == [None, False]
    pages = range(1, TABLE_PAGES + 2)
    assert asked == [None, *({"page": number} for number in pages[1:])]


def test_a_claim_that_only_seems_to_have_ended_is_named_and_passed_over() -> None:
    table = FakeTable(set())
    table.claimable_page = lambda rest: ClaimablePage([], [leased(1, 1)], None)  # type: ignore[method-assign]
    table.take_over = lambda *_: None  # type: ignore[method-assign]
    found = claimer(table)
    for _ in range(MOST_MISSED):
        assert found.claim_by_table() is None
        assert found.claimable
    assert found.claim_by_table() is None
    assert found.claimable is False
    assert found.refused[1][0] == "locked"


def test_an_ended_lease_that_nobody_tried_to_take_over_is_not_passed_over() -> None:
    table = FakeTable(set())
    table.listed = set(range(10, 20))
    table.claimable_page = lambda rest: ClaimablePage(  # type: ignore[method-assign]
        [Item(item_id, "Task", "true") for item_id in table.listed], [leased(1, 1)], None
    )
    found = claimer(table)
    for _ in range(MOST_MISSED + 1):
        assert found.claim_by_table()
    assert found.refused == {}


@pytest.mark.parametrize("fault", [AccessDenied("no"), Throttled("later")])
def test_a_table_that_cannot_be_read_leaves_open_what_is_left(fault: AwsError) -> None:
    table = FakeTable(set())
    table.claimable_page = Mock(side_effect=fault)  # type: ignore[method-assign]
    found = claimer(table)
    assert found.claim_by_table() is None
    assert found.claimable is None


def test_a_read_of_the_table_that_is_throttled_goes_on_where_it_was() -> None:
    table = FakeTable(set())
    asked: list[object] = []

    def claimable_page(rest: object) -> ClaimablePage:
        asked.append(rest)
        if len(asked) == 2:
            raise Throttled("later")
        return ClaimablePage([], [], None if rest else {"page": 2})

    table.claimable_page = claimable_page  # type: ignore[method-assign]
    found = claimer(table)
    assert found.claim_by_table() is None
    assert (found.claimable, len(asked)) == (None, 2)
    assert found.claim_by_table() is None
    assert (found.claimable, asked[2:]) == (False, [{"page": 2}])


def test_an_ended_lease_that_never_can_be_taken_over_is_left_in_the_end() -> None:
    table = FakeTable(set())
    table.stale = {1}
    table.claimable_page = lambda rest: ClaimablePage([], [leased(1, 1000)], None)  # type: ignore[method-assign]
    found = claimer(table)
    shown = []
    for _ in range(4):
        assert found.claim_by_table() is None
        shown.append(found.claimable)
    assert shown == [True, True, True, False]


def test_a_look_at_a_real_table_shows_what_can_be_claimed_and_where_it_ends(table: Table) -> None:
    ours = WorkflowTable(table.client, table.name)
    for number, state in enumerate(["todo", "locked", "done", "failed", "held"], 1):
        item = {"itemID": number, "ItemState": state, "Text": "x" * 300_000}
        table.client.put_item(TableName=table.name, Item=encode(item))
    looks = [ours.claimable_page(None)]
    while rest := looks[-1].rest:
        looks.append(ours.claimable_page(rest))
    assert len(looks) > 1
    assert [item.item_id for look in looks for item in look.todo] == [1]
    assert [item.item_id for look in looks for item in look.locked] == [2]
