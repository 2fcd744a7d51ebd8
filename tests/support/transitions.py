"""Every transition as an attempt: what a worker sends, and the states it is tried in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from anamo.aws.operator_writes import Lost
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core import transitions
from anamo.core.codec import decode, encode
from anamo.core.item import NULL, Item, State, nested_item, new_values
from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.core.transitions import Transition
from tests.support.table import Table

MINE, OTHERS = "my-claim", "another-claim"
HOLDER = Holder("i-me", lease=600)
ITEM = nested_item("Task-1", ["seq 1", "seq 2"])
LONG_AGO, FAR_AHEAD = "1000000000", "9000000000"


def entry(status: str = "Execution Successful") -> LogEntry:
    """The log entry of a task."""
    return LogEntry(status, "out", "", 0, 0.5, 10.0, "s3://bucket/key", "0-9", lines=3)


RESULTS = {"Task_0": entry()}
LAST = {"Task_0": entry(), "Task_1": entry("Execution Failed: exit 3")}


def held(lock_id: str, expires: str = FAR_AHEAD) -> dict[str, Any]:
    """What a claim sets."""
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
    """What is set once a claim has ended."""
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

APPLIED = {
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


def attributes(table: Table) -> dict[str, Any] | None:
    """The item as the table holds it."""
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
