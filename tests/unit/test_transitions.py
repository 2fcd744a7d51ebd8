"""Every transition does what it says, from the state it says, and from no other writes anything.

DynamoDB itself decides, so this runs on DynamoDB Local.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from anamo.aws.operator_writes import Lost
from anamo.aws.session import dynamodb_client as our_client
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core import transitions
from anamo.core.codec import decode, encode
from anamo.core.errors import TransientError
from anamo.core.item import (
    NULL,
    Item,
    State,
    nested_item,
    new_values,
    single_item,
)
from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.core.transitions import HELD_BY_ME, TRANSITIONS, Transition
from tests.support.environment import REGION
from tests.support.proxy import Forward, Proxy, Request, dropping_reply, on
from tests.support.table import Table, plain, undecimal, workflow_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MINE, OTHERS = "my-claim", "another-claim"
HOLDER = Holder("i-me", lease=600)
ITEM = nested_item("Task-1", ["seq 1", "seq 2"])
LONG_AGO, FAR_AHEAD = "1000000000", "9000000000"


def entry(status: str = "Execution Successful") -> LogEntry:
    return LogEntry(status, "out", "", 0, 0.5, 10.0, "s3://bucket/key", "0-9", lines=3)


RESULTS = {"Task_0": entry()}
LAST = {"Task_0": entry(), "Task_1": entry("Execution Failed: exit 3")}


def held(lock_id: str, expires: str = FAR_AHEAD) -> dict[str, Any]:
    return {
        "ItemState": {"S": "locked"},
        "lockID": {"S": lock_id},
        "InstanceID": {"S": "i-somebody"},
        "Lock_Date": {"S": "2026-01-31T09:30:00Z"},
        "Lease_Expires": {"N": expires},
        "Attempts": {"N": "2"},
        "Log": {"M": {}},
    }


def ended(state: str, lock_id: str) -> dict[str, Any]:
    attributes = held(lock_id) | {"ItemState": {"S": state}, "Done_Date": {"S": "2026-02-01"}}
    del attributes["Lease_Expires"]
    return attributes


STATES: Mapping[str, Mapping[str, Any] | None] = {
    "absent": None,
    "todo": {},
    "locked by me": held(MINE),
    "locked by me, lease ended": held(MINE, LONG_AGO),
    "locked by another": held(OTHERS),
    "locked by my job": {**held(OTHERS), "InstanceID": {"S": "i-me"}},
    "locked by another, lease ended": held(OTHERS, LONG_AGO),
    "locked without a lease": {**held(OTHERS), "Lease_Expires": {"S": NULL}},
    "done under my claim": ended("done", MINE),
    "failed under my claim": ended("failed", MINE),
    "done under another": ended("done", OTHERS),
    "failed under another": ended("failed", OTHERS),
    "held": {"ItemState": {"S": "held"}},
    "in a state of another tool": {**held(MINE), "ItemState": {"S": "paused"}},
    "released": {**ended("todo", OTHERS), "Attempts": {"N": "0"}},
    "requeued from me": {**ended("todo", MINE), "Attempts": {"N": "0"}},
}
"""What an item may be when a write arrives: what differs from a new item."""

MY_ITEM = replace(ITEM, state="locked", lock_id=MINE, attempts=2)
AGAIN = (replace(ITEM.nested[0], status="done"), ITEM.nested[1])


def part_of(current: Record | Lost) -> Lost | None:
    """What requeueing in part says, as requeueing does."""
    return current if isinstance(current, Lost) else None


ATTEMPTS: Mapping[str, tuple[Transition, Callable[[WorkflowTable, Item], object]]] = {
    "import": (
        transitions.IMPORT,
        lambda table, seen: not table.insert([ITEM], uuid4().hex),
    ),
    "claim": (transitions.CLAIM, lambda table, seen: table.claim(seen, "new", HOLDER)),
    "take over": (transitions.TAKE_OVER, lambda table, seen: table.take_over(seen, "new", HOLDER)),
    "take over from an earlier attempt": (
        transitions.TAKE_OVER_EARLIER,
        lambda table, seen: table.take_over_earlier(seen, "new", HOLDER),
    ),
    "renew": (transitions.RENEW, lambda table, seen: table.renew(ITEM.item_id, MINE, HOLDER)),
    "record": (
        transitions.RECORD,
        lambda table, seen: table.record(MY_ITEM, RESULTS, 1),
    ),
    "finish as done": (
        transitions.FINISH,
        lambda table, seen: table.finish(MY_ITEM, State.DONE, LAST, 2),
    ),
    "finish as failed": (
        transitions.FINISH,
        lambda table, seen: table.finish(MY_ITEM, State.FAILED, LAST, 2, 1),
    ),
    "release": (transitions.RELEASE, lambda table, seen: table.release(MY_ITEM, RESULTS, 1)),
    "give back": (
        transitions.GIVE_BACK,
        lambda table, seen: table.give_back(MY_ITEM, RESULTS, 1, "the disk is full"),
    ),
    "retry": (
        transitions.RETRY,
        lambda table, seen: table.retry(MY_ITEM, LAST, 1, ["Task_1"]),
    ),
    "retry in part": (
        transitions.RETRY_PART,
        lambda table, seen: table.retry_part(MY_ITEM, ["Task_1"]),
    ),
}

MINE_TO_CHANGE = {"locked by me", "locked by me, lease ended"}
LEGAL: Mapping[Transition, set[str]] = {
    transitions.IMPORT: {"absent"},
    transitions.CLAIM: {"todo", "released", "requeued from me"},
    transitions.TAKE_OVER: {"locked by me, lease ended", "locked by another, lease ended"},
    transitions.TAKE_OVER_EARLIER: {"locked by my job"},
    transitions.RENEW: MINE_TO_CHANGE,
    transitions.RECORD: MINE_TO_CHANGE,
    transitions.FINISH: MINE_TO_CHANGE,
    transitions.RETRY: MINE_TO_CHANGE,
    transitions.RETRY_PART: MINE_TO_CHANGE,
    transitions.GIVE_BACK: MINE_TO_CHANGE,
    transitions.RELEASE: MINE_TO_CHANGE,
}

LANDED = {
    ("finish as done", "done under my claim"),
    ("finish as failed", "failed under my claim"),
}
"""Where a write finds that it was executed before: it says so, and writes nothing."""

COMBINATIONS = [
    (attempt, state, state in LEGAL[transition])
    for attempt, (transition, _) in ATTEMPTS.items()
    for state in STATES
]
ALLOWED = [(attempt, state) for attempt, state, legal in COMBINATIONS if legal]
FORBIDDEN = [(attempt, state) for attempt, state, legal in COMBINATIONS if not legal]


@pytest.fixture(scope="module")
def shared(dynamodb_client: DynamoDBClient) -> Iterator[Table]:
    with workflow_table(dynamodb_client) as table:
        yield table


def attributes(table: Table) -> dict[str, Any] | None:
    reply = table.client.get_item(
        TableName=table.name, Key={"itemID": {"N": str(ITEM.item_id)}}, ConsistentRead=True
    )
    return reply.get("Item")


def bring_to(table: Table, state: str) -> tuple[dict[str, Any] | None, Item]:
    """Make the item stand in a state; its attributes, and what a worker sees of it."""
    changes = STATES[state]
    if changes is None:
        table.client.delete_item(TableName=table.name, Key={"itemID": {"N": str(ITEM.item_id)}})
        return None, ITEM
    image = {**encode(new_values(ITEM)), **changes, "Comment": {"S": "of another tool"}}
    table.client.put_item(TableName=table.name, Item=image)
    return attributes(table), Item.from_values(decode(image))


def test_every_transition_is_attempted() -> None:
    worked = {transition for transition, _ in ATTEMPTS.values()}
    operated = {transition for transition, *_ in OPERATIONS.values()}
    assert worked == set(LEGAL)
    assert worked | operated == set(TRANSITIONS)
    assert not worked & operated


FREE = {state for state in STATES if state.startswith(("done", "failed"))}
UNHELD = {state for state in STATES if "ended" in state or "without" in state}
LOCKED = {state for state in STATES if "locked" in state}
OPERATIONS: Mapping[str, tuple[Transition, Callable[[WorkflowTable, Record], object], set[str]]] = {
    "requeue": (
        transitions.REQUEUE,
        lambda table, seen: table.requeue(seen, AGAIN, force=False),
        FREE | UNHELD,
    ),
    "requeue --force": (
        transitions.REQUEUE_HELD,
        lambda table, seen: table.requeue(seen, AGAIN, force=True),
        LOCKED,
    ),
    "requeue in part": (
        transitions.REQUEUE_PART,
        lambda table, seen: part_of(table.requeue_part(seen, ["Task_1"], force=False)),
        FREE | UNHELD,
    ),
    "requeue in part --force": (
        transitions.REQUEUE_HELD_PART,
        lambda table, seen: part_of(table.requeue_part(seen, ["Task_1"], force=True)),
        LOCKED,
    ),
    "hold": (
        transitions.HOLD,
        lambda table, seen: table.hold(seen),
        LEGAL[transitions.CLAIM],
    ),
    "resume": (transitions.RESUME, lambda table, seen: table.resume(seen), {"held"}),
    "remove": (
        transitions.REMOVE,
        lambda table, seen: table.remove(seen, force=False),
        FREE | UNHELD | LEGAL[transitions.CLAIM] | {"held"},
    ),
    "remove in part": (
        transitions.REMOVE_PART,
        lambda table, seen: table.remove_part(seen, ["Task_1"]),
        {state for state in STATES if state.startswith("failed")},
    ),
    "remove --force": (
        transitions.REMOVE_HELD,
        lambda table, seen: table.remove(seen, force=True),
        LOCKED,
    ),
}


@pytest.mark.parametrize("state", [state for state in STATES if state != "absent"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_operator_may_change_what_nobody_holds(
    shared: Table, operation: str, state: str
) -> None:
    transition, change, legal = OPERATIONS[operation]
    before, _ = bring_to(shared, state)
    assert before
    table = WorkflowTable(shared.client, shared.name)
    seen = Record.from_values(decode(before))
    if seen.item.state not in {source.value for source in transition.sources}:
        with pytest.raises(ValueError, match="does not begin in"):
            change(table, seen)
        assert attributes(shared) == before
    elif state not in legal:
        assert change(table, seen) is not None
        assert attributes(shared) == before
    else:
        assert change(table, seen) is None
        after = attributes(shared)
        assert (after["ItemState"]["S"] if after else "") in (
            {target.value for target in transition.targets} or {""}
        )


@pytest.mark.parametrize(("attempt", "state"), ALLOWED)
def test_a_transition_leads_from_its_source_to_its_targets(
    shared: Table, attempt: str, state: str
) -> None:
    before, seen = bring_to(shared, state)
    transition, move = ATTEMPTS[attempt]
    assert move(WorkflowTable(shared.client, shared.name), seen)
    after = attributes(shared)
    assert after is not None
    assert before is None or before["ItemState"]["S"] in transition.sources
    assert (before is None) == (not transition.sources)
    assert after["ItemState"]["S"] in {target.value for target in transition.targets}
    if before:
        assert after["Comment"] == before["Comment"]


@pytest.mark.parametrize(("attempt", "state"), FORBIDDEN)
def test_from_any_other_state_nothing_is_written(shared: Table, attempt: str, state: str) -> None:
    before, seen = bring_to(shared, state)
    said = ATTEMPTS[attempt][1](WorkflowTable(shared.client, shared.name), seen)
    assert bool(said) is ((attempt, state) in LANDED)
    assert attributes(shared) == before


@pytest.mark.parametrize("attempt", ["import", "claim", "take over", "finish as done", "release"])
def test_that_test_can_fail(shared: Table, monkeypatch: pytest.MonkeyPatch, attempt: str) -> None:
    transition, move = ATTEMPTS[attempt]
    always = replace(transition, condition=f"{transition.condition} OR attribute_exists(itemID)")
    monkeypatch.setattr(transitions, transition.name.upper().replace(" ", "_"), always)
    before, seen = bring_to(shared, "done under another")
    assert move(WorkflowTable(shared.client, shared.name), seen)
    assert attributes(shared) != before


# What each transition sets


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
    """A record without a reply may have landed; a single item may have an earlier try's log."""
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


# Writes that arrive late


def test_an_older_renewal_leaves_the_lease_and_the_claim_is_not_lost(shared: Table) -> None:
    before, _ = bring_to(shared, "locked by me")
    assert WorkflowTable(shared.client, shared.name).renew(ITEM.item_id, MINE, HOLDER)
    assert attributes(shared) == before, "its lease ended later than the renewal's"


def test_an_older_record_leaves_the_results_and_the_claim_is_not_lost(shared: Table) -> None:
    bring_to(shared, "locked by me")
    table = WorkflowTable(shared.client, shared.name)
    assert table.record(MY_ITEM, RESULTS, 1)
    assert table.record(MY_ITEM, {"Task_1": entry()}, 2)
    before = attributes(shared)
    assert table.record(MY_ITEM, RESULTS, 1)
    assert attributes(shared) == before


def test_the_lockid_of_an_item_leads_from_claim_to_claim(shared: Table) -> None:
    _, seen = bring_to(shared, "released")
    table = WorkflowTable(shared.client, shared.name)
    first = table.claim(seen, "first", HOLDER)
    assert first
    assert table.release(first, {}, 0)
    assert table.claim(seen, "first", HOLDER) is None, "it had its turn"
    assert table.claim(seen, "second", HOLDER) is None, "the index is behind"
    assert table.claim(replace(seen, lock_id="first"), "second", HOLDER)


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


def test_a_holder_does_not_take_a_requeue_in_part_for_its_own_end(shared: Table) -> None:
    """Both make the item failed."""
    bring_to(shared, "locked by me")
    seen = Record.from_values(decode(attributes(shared) or {}))
    table = WorkflowTable(shared.client, shared.name)
    assert isinstance(table.requeue_part(seen, ["Task_1"], force=True), Record)
    assert not table.finish(MY_ITEM, State.FAILED, LAST, 2)


# Lost replies


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], dynamodb: str) -> Proxy:
    return make_proxy(dynamodb)


@pytest.fixture
def unlucky(
    proxy: Proxy, shared: Table, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkflowTable]:
    """The table through a client whose first write loses its reply."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", proxy.url)
    client = our_client(REGION)
    proxy.behaviour = on("UpdateItem", dropping_reply, first=1)
    yield WorkflowTable(client, shared.name)
    client.close()


@pytest.mark.parametrize(
    ("attempt", "state"),
    [each for each in ALLOWED if each[0] not in {"release", "give back", "retry"}],
)
def test_a_write_whose_reply_was_lost_is_known_to_have_landed(
    shared: Table, proxy: Proxy, unlucky: WorkflowTable, attempt: str, state: str
) -> None:
    proxy.behaviour = on(
        "TransactWriteItems" if attempt == "import" else "UpdateItem", dropping_reply, first=1
    )
    _, seen = bring_to(shared, state)
    assert ATTEMPTS[attempt][1](unlucky, seen)
    assert len(proxy.requests) == 2, "the SDK sends it again"
    after = plain({"M": attributes(shared)})
    assert after["ItemState"] in {target.value for target in ATTEMPTS[attempt][0].targets}
    if attempt.startswith(("claim", "take over")):
        assert after["Attempts"] == seen.attempts + 1, "it is counted once"


@pytest.mark.parametrize("attempt", ["release", "retry"])
def test_a_release_whose_reply_was_lost_is_known_to_have_landed(
    shared: Table, unlucky: WorkflowTable, attempt: str
) -> None:
    bring_to(shared, "locked by me")
    assert ATTEMPTS[attempt][1](unlucky, MY_ITEM)
    after = plain({"M": attributes(shared)})
    assert (after["ItemState"], after["lockID"], after["Attempts"]) == ("todo", MINE, 1)


def test_a_lost_reply_is_not_taken_for_a_landed_write_of_somebody_else(
    shared: Table, proxy: Proxy, unlucky: WorkflowTable
) -> None:
    """Between the two tries another worker has taken the item over."""
    bring_to(shared, "locked by me")

    def overtaken(_request: Request, _forward: Forward) -> None:
        bring_to(shared, "locked by another")

    proxy.behaviour = on("UpdateItem", overtaken, first=1)
    assert not unlucky.finish(MY_ITEM, State.DONE, LAST, 2)
    assert plain({"M": attributes(shared)})["lockID"] == OTHERS


@pytest.mark.parametrize("attempt", ["release", "give back", "retry"])
def test_another_holders_release_is_not_taken_for_a_landed_one(shared: Table, attempt: str) -> None:
    """Both leave a todo item; the lockID tells whose it was."""
    results = {name: each.to_values() for name, each in LAST.items()}
    image = encode({**new_values(ITEM), "Log": results, "lockID": OTHERS})
    shared.client.put_item(TableName=shared.name, Item=image)
    assert not ATTEMPTS[attempt][1](WorkflowTable(shared.client, shared.name), MY_ITEM)


def test_a_holders_release_is_not_taken_for_a_requeue(shared: Table) -> None:
    """It leaves a todo item too, but failed tasks as they are."""
    bring_to(shared, "locked by another, lease ended")
    seen = Record.from_values(decode(attributes(shared) or {}))
    table = WorkflowTable(shared.client, shared.name)
    again = table.take_over(seen.item, MINE, HOLDER)
    assert again
    assert table.release(again, {"Task_1": LAST["Task_1"]}, 1)
    lost = table.requeue(seen, AGAIN, force=False)
    assert lost
    assert lost.current
    assert lost.current.task_states()["failed"] == 1


def test_two_lost_replies_are_a_fault_to_be_tried_again(
    shared: Table, proxy: Proxy, unlucky: WorkflowTable
) -> None:
    proxy.behaviour = on("UpdateItem", dropping_reply, first=2)
    bring_to(shared, "todo")
    with pytest.raises(TransientError):
        unlucky.claim(ITEM, "new", HOLDER)
    item = unlucky.claim(ITEM, "new", HOLDER)
    assert item is not None
    assert (item.lock_id, item.attempts) == ("new", 1)


def test_only_the_holder_may_settle() -> None:
    for transition in TRANSITIONS:
        fenced = transition.condition.startswith(HELD_BY_ME)
        takes = {"claim", "take over", "take over from an earlier attempt"}
        others = {"import", *takes, *OPERATIONS}
        assert fenced is not (transition.name in others), transition.name
