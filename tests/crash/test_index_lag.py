"""Indexes that are seconds behind their table: nothing is overlooked, and claims are not wasted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.fleet import Fleet
from tests.support.lagging import LaggingIndex
from tests.support.proxy import Forward, Proxy, Reply, Request, failing
from tests.support.scripts import Running
from tests.support.waiting import eventually

FindFaults = Callable[[], list[str]]
ITEMS = 60
FILLERS = 24
"""Large items that have ended: twice as much as a worker reads of a table at a time."""


class Refusals:
    """Counts the writes that are refused on the way to what a behaviour makes of them."""

    def __init__(self, behaviour: LaggingIndex) -> None:
        self.count = 0
        self.workers: list[Running] = []
        self._behaviour = behaviour

    def __call__(self, request: Request, forward: Forward) -> Reply | None:
        """Pass a request on, and look at the reply."""
        reply = self._behaviour(request, forward)
        if request.operation == "UpdateItem" and reply and reply.status == 400:
            self.count += "ConditionalCheckFailed" in reply.json["__type"]
        return reply


@pytest.fixture
def index(fleet: Fleet) -> Iterator[LaggingIndex]:
    """The index of the fleet's table, so far behind that no worker sees it change."""
    with LaggingIndex(fleet.table, 3600) as index:
        yield index


def import_and_work(fleet: Fleet, database: Proxy, index: LaggingIndex, *flags: str) -> None:
    """Two workers that start right after an import."""
    database.behaviour = index
    fleet.add([f"{fleet.ledger.script}|0"] * ITEMS)
    for worker in [fleet.start(*flags) for _ in range(2)]:
        ended = worker.wait()
        assert ended.returncode == 0, ended.stderr


def test_workers_that_start_right_after_an_import_run_all_of_it(
    fleet: Fleet, database: Proxy, index: LaggingIndex, find_faults: FindFaults
) -> None:
    import_and_work(fleet, database, index, "-i", "2")
    assert fleet.table.states() == {"done": ITEMS}
    assert find_faults() == []


def test_without_a_look_at_the_table_they_say_that_there_is_nothing_to_do(
    fleet: Fleet, database: Proxy, index: LaggingIndex
) -> None:
    fleet.guard = "look_at_the_table"
    import_and_work(fleet, database, index)
    assert fleet.table.states() == {"todo": ITEMS}


def test_without_permission_to_read_the_table_they_wait_for_the_index(
    fleet: Fleet, database: Proxy, index: LaggingIndex, find_faults: FindFaults
) -> None:
    denied = failing("AccessDeniedException")

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        if request.operation == "Scan":
            index.settle()
            return denied(request, forward)
        return index(request, forward)

    fleet.add([f"{fleet.ledger.script}|0"] * 10)
    database.behaviour = behaviour
    ended = fleet.start().wait()
    assert ended.returncode == 0, ended.stderr
    assert "AccessDenied" not in ended.stderr
    assert fleet.table.states() == {"done": 10}
    assert find_faults() == []


def four_workers(fleet: Fleet, database: Proxy, index: LaggingIndex) -> Refusals:
    """Import items that the index lists at once, and start two workers of two processes."""
    database.behaviour = refusals = Refusals(index)
    fleet.add([f"{fleet.ledger.script}|0"] * ITEMS)
    index.settle()
    refusals.workers = [fleet.start("-i", "2") for _ in range(2)]
    return refusals


def test_what_has_ended_and_is_still_listed_is_seldom_claimed_again(
    fleet: Fleet, database: Proxy, index: LaggingIndex, find_faults: FindFaults
) -> None:
    refusals = four_workers(fleet, database, index)
    for worker in refusals.workers:
        ended = worker.wait()
        assert ended.returncode == 0, ended.stderr
        assert "other workers hold" not in ended.stderr
    assert fleet.table.states() == {"done": ITEMS}
    assert refusals.count <= 2 * ITEMS
    assert find_faults() == []


def test_without_pauses_it_is_claimed_again_and_again(
    fleet: Fleet, database: Proxy, index: LaggingIndex
) -> None:
    fleet.guard = "pauses"
    refusals = four_workers(fleet, database, index)
    eventually(lambda: refusals.count > 2 * ITEMS, 60)


@pytest.mark.long
def test_where_the_table_is_too_large_to_be_read_an_index_ten_seconds_behind_is_waited_for(
    fleet: Fleet, database: Proxy, index: LaggingIndex
) -> None:
    for number in range(FILLERS):
        filler = {"itemID": {"N": str(number)}, "ItemState": {"S": "done"}}
        text = {"S": "x" * 390_000}
        fleet.table.client.put_item(TableName=fleet.table.name, Item={**filler, "Text": text})
    index.seconds = 10
    database.behaviour = refusals = Refusals(index)
    fleet.add([f"{fleet.ledger.script}|0"] * ITEMS)
    for worker in [fleet.start("-i", "2") for _ in range(2)]:
        ended = worker.wait(120)
        assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": ITEMS + FILLERS}
    assert refusals.count <= 2 * ITEMS
    assert len(fleet.ledger.starts()) == ITEMS
