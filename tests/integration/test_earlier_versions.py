"""Workers of an earlier version and of this one on the same table lose nothing to each other.

What the earlier version sends is written out here. Its tables have wide indexes: it refuses others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from anamo.aws.operator_writes import Lost
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.aws.table_writes import Holder
from anamo.core import transitions
from anamo.core.codec import encode
from anamo.core.item import Item, State, nested_item, new_values
from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.operator.change import requeued_tasks
from tests.support import sabotage
from tests.support.table import Table, workflow_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HOLDER = Holder("i-new", lease=600)
ITEM = nested_item("Sample", ["seq 1", "seq 2", "seq 3"])
HELD = "ItemState = :locked AND lockID = :mine"


class Earlier:
    """A worker of the earlier version with a claim on the item."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.lock = uuid4().hex

    def claim(self, *, locked: bool = False) -> None:
        """Claim the item as it is, or take it over, whose lease has ended."""
        self._send(
            "ItemState = :from AND lockID = :seen",
            "SET ItemState = :locked, lockID = :mine, InstanceID = :instance, Lock_Date = :now,"
            " Lease_Expires = :expires, Attempts = if_not_exists(Attempts, :zero) + :one,"
            " #Log = if_not_exists(#Log, :empty)",
            {
                ":from": "locked" if locked else "todo",
                ":seen": self._table.item(ITEM.item_id)["lockID"],
                ":instance": "i-old",
                ":now": "2026-01-31T09:30:00Z",
                ":expires": 1,
                ":zero": 0,
                ":one": 1,
                ":empty": {},
            },
            {"#Log": "Log"},
        )

    def record(self, name: str, ended: int) -> None:
        """Record a task that ended well."""
        self._send(
            f"{HELD} AND NOT #TaskScript.#t0.#Status IN (:done, :failed)",
            "SET Log_Length = :n, #Log.#t0 = :t0, #TaskScript.#t0.#Status = :done",
            {":n": ended, ":t0": self._entry(name), ":done": "done", ":failed": "failed"},
            {"#Log": "Log", "#TaskScript": "TaskScript", "#Status": "Status", "#t0": name},
        )

    def finish(self, name: str, ended: int) -> None:
        """End the item as done with its last task."""
        self._send(
            HELD,
            "SET ItemState = :target, Done_Date = :now, Failures = :failures, Log_Length = :n,"
            " #Log.#t0 = :t0, #TaskScript.#t0.#Status = :target"
            " REMOVE Lease_Expires, Host_Error, Host_Errors",
            {
                ":target": "done",
                ":now": "2026-01-31T09:31:00Z",
                ":failures": 0,
                ":n": ended,
                ":t0": self._entry(name),
            },
            {"#Log": "Log", "#TaskScript": "TaskScript", "#Status": "Status", "#t0": name},
        )

    def release(self) -> None:
        """Give the item back."""
        self._send(
            HELD,
            "SET ItemState = :target, InstanceID = :null, Attempts = Attempts - :one"
            " REMOVE Lease_Expires",
            {":target": "todo", ":null": "NULL", ":one": 1},
            {},
        )

    def _entry(self, name: str) -> dict[str, Any]:
        entry = {"Status": "Execution Successful", "stdout": "", "stderr": "", "Exit_Code": 0}
        return entry | {"S3": address(self.lock, name), "S3_Range": "0-9"}

    def _send(
        self, condition: str, update: str, values: dict[str, Any], names: dict[str, str]
    ) -> None:
        values |= {":mine": self.lock, ":locked": "locked"}
        named = {name: value for name, value in values.items() if name in condition + update}
        request: dict[str, Any] = {"ExpressionAttributeNames": names} if names else {}
        self._table.client.update_item(
            TableName=self._table.name,
            Key=encode({"itemID": ITEM.item_id}),
            ConditionExpression=condition,
            UpdateExpression=update,
            ExpressionAttributeValues=encode(named),
            **request,
        )


def address(lock: str, name: str) -> str:
    """Where a task's log is."""
    return f"s3://bucket/PyAnamo/T/Sample/{ITEM.item_id}-{lock}-{name}.log.gz"


def entry(lock: str, name: str) -> LogEntry:
    """What this version records of a task."""
    return LogEntry("Execution Successful", "", "", 0, 1.0, 1.0, address(lock, name), "0-9")


def earlier_values() -> dict[str, Any]:
    """The item as the earlier version imports it."""
    unset = dict.fromkeys(("InstanceID", "Lock_Date", "Done_Date"), "NULL")
    return {**new_values(ITEM), **unset, "Log": {}, "Log_Length": 0, "Attempts": 0}


@pytest.fixture
def table(dynamodb_client: DynamoDBClient) -> Iterator[Table]:
    """A table of the earlier version, with the item as it imports it."""
    with workflow_table(dynamodb_client, wide=True) as made:
        made.client.put_item(TableName=made.name, Item=encode({**earlier_values(), "lockID": "a"}))
        yield made


@pytest.fixture
def ours(table: Table) -> WorkflowTable:
    """The package's view of it."""
    return WorkflowTable(table.client, table.name)


def record_of(ours: WorkflowTable) -> Record:
    """The item as operators read it."""
    (record,) = ours.read([ITEM.item_id], Projection.WHOLE)
    return record


def taken(table: Table, ours: WorkflowTable) -> Item:
    """The item as this version claims it, or takes it over."""
    seen = Item.from_values(table.item(ITEM.item_id))
    take = ours.claim if seen.state == State.TODO else ours.take_over
    found = take(seen, uuid4().hex, HOLDER)
    assert found is not None
    return found


def test_this_version_completes_what_an_earlier_one_began(
    table: Table, ours: WorkflowTable
) -> None:
    old = Earlier(table)
    old.claim()
    old.record("Task_0", 1)
    ours.clock.surely_past = lambda: 1e9  # type: ignore[method-assign]
    mine = taken(table, ours)
    assert "Log_Length" not in table.item(ITEM.item_id)
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        old.record("Task_1", 2)
    assert ours.record(mine, {"Task_1": entry(mine.lock_id, "Task_1")}, 2)
    assert ours.finish(mine, State.DONE, {"Task_2": entry(mine.lock_id, "Task_2")}, 3)
    record, claims = record_of(ours), (old.lock, mine.lock_id, mine.lock_id)
    assert record.task_states()["done"] == 3
    assert [each.s3 for each in record.logs.values()] == [
        address(lock, f"Task_{k}") for k, lock in enumerate(claims)
    ]


def test_an_earlier_version_completes_what_this_one_began(
    table: Table, ours: WorkflowTable
) -> None:
    table.client.put_item(
        TableName=table.name, Item=encode({**new_values(ITEM), "lockID": "imported"})
    )
    mine = taken(table, ours)
    assert ours.record(mine, {"Task_0": entry(mine.lock_id, "Task_0")}, 1)
    old = Earlier(table)
    old.claim(locked=True)
    assert not ours.record(mine, {"Task_1": entry(mine.lock_id, "Task_1")}, 2)
    old.record("Task_1", 2)
    old.finish("Task_2", 3)
    record, claims = record_of(ours), (mine.lock_id, old.lock, old.lock)
    assert (record.state, record.task_states()["done"]) == ("done", 3)
    assert [each.s3 for each in record.logs.values()] == [
        address(lock, f"Task_{k}") for k, lock in enumerate(claims)
    ]


def test_what_an_earlier_version_gave_back_goes_on_where_it_was(
    table: Table, ours: WorkflowTable
) -> None:
    old = Earlier(table)
    old.claim()
    old.record("Task_0", 1)
    old.release()
    mine = taken(table, ours)
    assert [task.status for task in mine.nested] == ["done", "todo", "todo"]
    assert ours.release(mine, {"Task_1": entry(mine.lock_id, "Task_1")}, 2)
    assert not {"InstanceID", "Log_Length"} & set(table.item(ITEM.item_id))
    Earlier(table).claim()
    assert table.item(ITEM.item_id)["TaskScript"]["Task_1"]["Status"] == "done"


@pytest.mark.parametrize("guarded", [True, False])
def test_a_requeue_leaves_what_an_earlier_holder_has_recorded_since(
    table: Table, ours: WorkflowTable, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """This version's holders change Ended_Tasks, those of earlier ones Log_Length."""
    monkeypatch.setattr(transitions, "REQUEUE", transitions.REQUEUE)
    if not guarded:
        sabotage.weaken("REQUEUE", "Log_Length = :length")
    old = Earlier(table)
    old.claim()
    seen = record_of(ours)
    old.record("Task_0", 1)
    ours.clock.surely_past = lambda: 1e9  # type: ignore[method-assign]
    lost = ours.requeue(seen, requeued_tasks(seen, all_tasks=False), force=False)
    assert isinstance(lost, Lost) is guarded
    assert ("Ended_Tasks" in table.item(ITEM.item_id)) is False


def test_tokens_of_both_follow_each_other(table: Table, ours: WorkflowTable) -> None:
    seen = Item.from_values(table.item(ITEM.item_id))
    Earlier(table).claim()
    assert ours.claim(seen, "late", HOLDER) is None
    assert ours.claim(replace(seen, lock_id="late"), "later", HOLDER) is None
