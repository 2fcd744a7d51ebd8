"""Write and read units, as DynamoDB Local counts them, of what a worker and an operator do.

A table of ours has narrow indexes, and an attribute that says nothing yet is absent. For comparison
the same is counted on wide indexes, which hold whole items, as the original's and earlier ones do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.codec import encode
from anamo.core.item import Item, State, nested_item, new_values, single_item
from anamo.core.log_entry import LogEntry, log_key
from anamo.operator.counts import count_table
from anamo.operator.failures import Failures
from tests.support import workflow
from tests.support.table import Table, workflow_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HOLDER = Holder("i-0123456789abcdef0", lease=600)
NARROW, WIDE = "narrow", "wide"


@pytest.fixture(params=[NARROW, WIDE])
def kind(request: pytest.FixtureRequest) -> str:
    """What the table's indexes are."""
    return str(request.param)


@pytest.fixture
def table(dynamodb_client: DynamoDBClient, kind: str) -> Iterator[Table]:
    """A table of that kind."""
    with workflow_table(dynamodb_client, wide=kind == WIDE) as made:
        yield made


@pytest.fixture
def ours(table: Table) -> WorkflowTable:
    """The package's view of it."""
    return WorkflowTable(table.client, table.name)


def written(ours: WorkflowTable) -> float:
    """Write units so far."""
    return ours.meter.consumed.write_units


def put_units(table: Table, item: Item) -> tuple[float, float]:
    """What a put of a new item takes of the table and of its indexes."""
    answer: Any = table.client.put_item(
        TableName=table.name,
        Item=encode({**new_values(item), "lockID": uuid4().hex}),
        ReturnConsumedCapacity="INDEXES",
    )["ConsumedCapacity"]
    indexes = answer.get("GlobalSecondaryIndexes", {}).values()
    return answer["Table"]["CapacityUnits"], sum(each["CapacityUnits"] for each in indexes)


def claimed(table: Table, ours: WorkflowTable, item: Item) -> Item:
    """The item as a worker claims it."""
    lock = table.item(item.item_id)["lockID"]
    found = ours.claim(replace(item, lock_id=lock), uuid4().hex, HOLDER)
    assert found is not None
    return found


def entry(item: Item, first: str | None, seconds: float = 1.003) -> LogEntry:
    """What a task without output leaves."""
    key = log_key("PyAnamo", "Sample-Alignment", item, item.lock_id, first)
    address = f"s3://results-of-the-workflow/{key}"
    return LogEntry("Execution Successful", "", "", 0, seconds, 3.7, address, "1000-1249")


def test_a_single_item_takes_fourteen_write_units_and_four_for_its_import(
    table: Table, ours: WorkflowTable
) -> None:
    """It is small, so it takes the same of wide indexes."""
    item = single_item("Sample-17", "align.sh Sample-17 chr4")
    in_table, in_indexes = put_units(table, item)
    # It is part of a transaction, which doubles the table's
    imported = 2 * in_table + in_indexes
    mine = claimed(table, ours, item)
    assert ours.finish(mine, State.DONE, entry(mine, None), 1)
    assert (imported, written(ours)) == (4, 14)


def test_a_heartbeat_takes_two_write_units(table: Table, ours: WorkflowTable, kind: str) -> None:
    item = single_item("Sample-17", "align.sh Sample-17 chr4")
    put_units(table, item)
    mine = claimed(table, ours, item)
    before = written(ours)
    assert ours.renew(mine.item_id, mine.lock_id, replace(HOLDER, lease=900))
    assert written(ours) - before == (2 if kind == NARROW else 4)


def test_wide_indexes_bill_each_kb_again_as_often_as_status_says(
    table: Table, ours: WorkflowTable, kind: str
) -> None:
    """A new item is in two indexes before its claim, one of earlier versions in all four."""
    item = single_item("Sample-17", "x" * 8 * 1024)
    earlier = {**new_values(single_item("Sample-18", "x" * 8 * 1024)), "lockID": "NULL"}
    earlier |= {"InstanceID": "NULL", "Log_Length": 0}
    put_units(table, item)
    table.client.put_item(TableName=table.name, Item=encode(earlier))
    took: list[float] = []

    def note(changed: bool) -> None:
        assert changed
        took.append(written(ours) - sum(took))

    mine = claimed(table, ours, item)
    note(True)
    note(ours.renew(mine.item_id, mine.lock_id, replace(HOLDER, lease=900)))
    note(ours.finish(mine, State.DONE, entry(mine, None), 1))
    theirs = claimed(table, ours, Item.from_values(earlier))
    note(True)
    note(ours.renew(theirs.item_id, theirs.lock_id, replace(HOLDER, lease=900)))
    size = 9
    in_indexes = [5, 3, 7, 7, 3] if kind == WIDE else [0, 0, 0, 0, 0]
    print(took)
    for units, times in zip(took, in_indexes, strict=True):
        # Narrow entries take a unit each, however large the item
        assert size * (1 + times) <= units <= size * (1 + times) + 8


@pytest.mark.parametrize(("group", "most"), [(2, 160), (1, 300)], ids=["-n 2", "-n 1"])
def test_fifty_nested_tasks_of_a_second_take_less_than_three_hundred_write_units(
    table: Table, ours: WorkflowTable, kind: str, group: int, most: float
) -> None:
    """Two at a time that end together are recorded together."""
    item = nested_item("Sample-17", [f"true {k}" for k in range(50)])
    units = recorded_in_groups(table, ours, item, group)
    print(f"{kind}: {units} units")
    assert units <= most if kind == NARROW else units > 550


def test_longer_commands_take_more_units(table: Table, ours: WorkflowTable, kind: str) -> None:
    item = nested_item("Sample-17", [f"bash -c 'sleep 1; true' {k}" for k in range(50)])
    units = recorded_in_groups(table, ours, item, 2)
    print(f"{kind}: {units} units")
    assert 150 < units <= 180 if kind == NARROW else units > 600


def recorded_in_groups(table: Table, ours: WorkflowTable, item: Item, group: int) -> float:
    """The units of an item from claim to finish whose results are recorded so many at a time."""
    put_units(table, item)
    before = written(ours)
    mine = claimed(table, ours, item)
    names = [task.name for task in item.nested]
    groups = [names[first : first + group] for first in range(0, len(names), group)]
    for number, tasks in enumerate(groups, start=1):
        results = {name: entry(mine, tasks[0]) for name in tasks}
        if number < len(groups):
            assert ours.record(mine, results, group * number)
        else:
            assert ours.finish(mine, State.DONE, results, item.tasks)
    return written(ours) - before


def test_status_reads_little_of_an_item(table: Table, ours: WorkflowTable, kind: str) -> None:
    """With `--long`, `test_50000_items_are_counted_right` says the same of 50,000."""
    shares = {"done": 0.6, "failed": 0.02, "locked": 0.01}
    items = list(workflow.run_of(2_000, 3, shares))
    workflow.put_all(table.client, table, items)
    failures = Failures()
    counts = count_table(ours, OperatorRetry(print), failures.add)
    print(f"{kind}: {counts.units} units")
    assert counts.items == {"todo": 740, "done": 1_200, "failed": 40, "locked": 20}
    assert counts.tasks["failed"] == failures.tasks == 40
    assert (counts.units < 80) is (kind == NARROW)
