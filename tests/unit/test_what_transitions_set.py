"""What each transition sets and removes, on DynamoDB Local."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from anamo.aws.table import WorkflowTable
from anamo.core.codec import encode
from anamo.core.item import Item, State, nested_item, new_values, single_item
from tests.support.table import Table, plain, undecimal
from tests.support.transitions import (
    ATTEMPTS,
    HOLDER,
    ITEM,
    LAST,
    MINE,
    MY_ITEM,
    attributes,
    bring_to,
    entry,
    held,
)

if TYPE_CHECKING:
    pass


def moved(table: Table, attempt: str, state: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a transition removes from an item, and what it sets."""
    before, seen = bring_to(table, state)
    assert ATTEMPTS[attempt][1](WorkflowTable(table.client, table.name), seen)
    was, now = plain({"M": before or {}}), plain({"M": attributes(table)})
    return (
        {name: value for name, value in was.items() if name not in now},
        {name: value for name, value in now.items() if was.get(name) != value},
    )


def test_an_import_writes_the_whole_item(shared: Table) -> None:
    removed, changed = moved(shared, "import", "absent")
    assert removed == {}
    assert changed == {**new_values(ITEM), "lockID": changed["lockID"]}
    assert len(changed["lockID"]) == 32


@pytest.mark.parametrize(
    ("attempt", "state", "attempts"),
    [("claim", "todo", 1), ("take over", "locked by another, lease ended", 3)],
)
def test_a_claim_sets_who_holds_the_item_and_until_when(
    shared: Table, attempt: str, state: str, attempts: int
) -> None:
    removed, changed = moved(shared, attempt, state)
    expires, since = changed.pop("Lease_Expires"), changed.pop("Lock_Date")
    assert changed.pop("Log", {}) == {}
    changed.pop("ItemState", None)
    assert removed == {}
    assert changed == {"lockID": "new", "InstanceID": "i-me", "Attempts": attempts}
    assert since.endswith("Z")
    assert abs(expires - time.time() - HOLDER.lease) < 60


def test_renewing_moves_the_end_of_the_lease_and_nothing_else(shared: Table) -> None:
    removed, changed = moved(shared, "renew", "locked by me, lease ended")
    assert (removed, set(changed)) == ({}, {"Lease_Expires"})
    assert abs(changed["Lease_Expires"] - time.time() - HOLDER.lease) < 60


def test_recording_writes_results_and_leaves_the_lease(shared: Table) -> None:
    removed, changed = moved(shared, "record", "locked by me, lease ended")
    assert removed == {}
    assert set(changed) == {"Log", "Ended_Tasks", "TaskScript"}
    assert changed["Ended_Tasks"] == 1
    assert changed["Log"] == {"Task_0": undecimal(entry().to_values())}
    assert changed["TaskScript"] == {
        "Task_0": {"Status": "done", "Script": "seq 1"},
        "Task_1": {"Status": "todo", "Script": "seq 2"},
    }


@pytest.mark.parametrize(("attempt", "failures"), [("finish as done", 0), ("finish as failed", 1)])
def test_finishing_writes_the_last_results_and_ends_the_lease(
    shared: Table, attempt: str, failures: int
) -> None:
    removed, changed = moved(shared, attempt, "locked by me")
    assert set(removed) == {"Lease_Expires"}
    assert changed["ItemState"] == attempt.rpartition(" ")[2]
    counts = ("Failures", "Failed_Tasks")
    assert [changed.get(name, 0) for name in counts] == [failures, failures]
    assert (changed["Log_Length"], changed["Ended_Tasks"]) == (2, 2)
    assert changed["Done_Date"].endswith("Z")
    assert {name: task["Status"] for name, task in changed["TaskScript"].items()} == {
        "Task_0": "done",
        "Task_1": "failed",
    }
    assert set(changed["Log"]) == {"Task_0", "Task_1"}
    assert "lockID" not in changed, "whose result it is stays known"


def test_releasing_keeps_results_and_takes_the_attempt_back(shared: Table) -> None:
    removed, changed = moved(shared, "release", "locked by me")
    assert set(removed) == {"Lease_Expires", "InstanceID"}
    assert set(changed) == {"ItemState", "Attempts", "Log", "Ended_Tasks", "TaskScript"}
    assert changed["ItemState"] == "todo"
    assert (changed["Attempts"], changed["Ended_Tasks"]) == (1, 1)


def test_giving_back_counts_the_host_error_and_keeps_the_attempt(shared: Table) -> None:
    removed, changed = moved(shared, "give back", "locked by me")
    assert set(removed) == {"Lease_Expires", "InstanceID"}
    assert changed["ItemState"] == "todo"
    assert "Attempts" not in changed
    assert (changed["Host_Error"], changed["Host_Errors"]) == ("the disk is full", 1)
    assert set(changed["Log"]) == {"Task_0"}


@pytest.mark.parametrize("item", [ITEM, single_item("Task-1", "seq 1")])
def test_releasing_without_results_leaves_those_there_are(shared: Table, item: Item) -> None:
    """A record without a reply may have been applied; a single item may have an earlier log."""
    image = {**encode(new_values(item)), **held(MINE), "Ended_Tasks": {"N": "7"}}
    shared.client.put_item(TableName=shared.name, Item=image)
    table = WorkflowTable(shared.client, shared.name)
    mine = replace(item, state="locked", lock_id=MINE)
    assert table.release(mine, {}, 0)
    assert shared.item(item.item_id)["Ended_Tasks"] == 7


def test_retrying_makes_the_tasks_todo_that_it_is_given(shared: Table) -> None:
    removed, changed = moved(shared, "retry", "locked by me")
    assert set(removed) == {"Lease_Expires", "InstanceID"}
    assert changed["ItemState"] == "todo"
    assert (changed["Failures"], changed["Attempts"], changed["Ended_Tasks"]) == (1, 1, 1)
    assert set(changed["Log"]) == {"Task_0", "Task_1"}
    statuses = {name: task["Status"] for name, task in changed["TaskScript"].items()}
    assert statuses == {"Task_0": "done", "Task_1": "todo"}


def test_a_single_item_gets_its_entry_and_its_lines(shared: Table) -> None:
    bring_to(shared, "locked by me")
    table = WorkflowTable(shared.client, shared.name)
    assert table.finish(MY_ITEM, State.DONE, entry(), 1)
    now = plain({"M": attributes(shared)})
    assert (now["ItemState"], now["Log_Length"]) == ("done", 3)
    assert now["Log"] == undecimal(entry().to_values())


def test_a_claim_brings_back_the_whole_item(shared: Table) -> None:
    bring_to(shared, "todo")
    table = WorkflowTable(shared.client, shared.name)
    item = table.claim(ITEM, "new", HOLDER)
    assert item is not None
    assert replace(item, lease_expires=None) == replace(
        ITEM, state="locked", lock_id="new", instance_id="i-me", attempts=1
    )


@pytest.mark.parametrize("lock", [{}, {"lockID": {"N": "7"}}, {"lockID": {"NULL": True}}])
def test_an_item_of_another_tool_without_counter_and_log_can_be_run(
    shared: Table, lock: dict[str, Any]
) -> None:
    image = encode(new_values(ITEM))
    image |= lock
    shared.client.put_item(TableName=shared.name, Item=image)
    table = WorkflowTable(shared.client, shared.name)
    item = table.claim(ITEM, MINE, HOLDER)
    assert item is not None
    assert item.attempts == 1
    assert table.finish(item, State.DONE, LAST, 2)


def test_a_state_that_a_transition_does_not_lead_to_is_refused(shared: Table) -> None:
    with pytest.raises(ValueError, match="finish leads to"):
        WorkflowTable(shared.client, shared.name).finish(MY_ITEM, State.TODO, LAST, 2)


def test_fifty_results_go_in_one_write(shared: Table) -> None:
    item = nested_item("Task-50", [f"seq {k}" for k in range(50)])
    table = WorkflowTable(shared.client, shared.name)
    token = uuid4().hex
    table.insert([item], token)
    claimed = table.claim(replace(item, lock_id=token), MINE, HOLDER)
    assert claimed is not None
    assert table.finish(claimed, State.DONE, {task.name: entry() for task in item.nested}, 50)
    log = shared.item(item.item_id)["Log"]
    assert sorted(log) == sorted(task.name for task in item.nested)


def test_a_retry_sets_any_number_of_statuses_and_nothing_else(shared: Table) -> None:
    item = nested_item("Task-400", [f"seq {k}" for k in range(400)])
    image = new_values(
        replace(item, nested=tuple(replace(t, status="failed") for t in item.nested))
    )
    for task in image["TaskScript"].values():
        task["Owner"] = "another tool"
    shared.client.put_item(TableName=shared.name, Item=encode(image) | held(MINE))
    table, names = WorkflowTable(shared.client, shared.name), [task.name for task in item.nested]
    results = {name: entry("Execution Failed: exit 3") for name in names[-50:]}
    assert table.retry(replace(item, lock_id=MINE), results, 0, names)
    found = shared.item(item.item_id)
    tasks = found["TaskScript"].values()
    assert {(task["Status"], task["Owner"]) for task in tasks} == {("todo", "another tool")}
    assert (found["ItemState"], len(found["Log"])) == ("todo", 50)
