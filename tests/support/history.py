"""What happened to each item of a table, from DynamoDB's own stream of changes.

The table at the end shows one state; the stream shows every write that landed, in its order, no
matter which process sent it and whether that process is still alive.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.table import Table, plain

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

ENDED = ("done", "failed")


def keep_history(table: Table) -> None:
    """Have the table keep a stream of its changes from now on."""
    table.client.update_table(
        TableName=table.name,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    table.client.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})


@dataclass(frozen=True)
class Start:
    """A task that a worker started, from the ledger that the tasks themselves write."""

    item_id: int
    task: str
    lock_id: str


class Ledger:
    """A file to which each task appends a line when it starts; appends that short are atomic."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    @property
    def script(self) -> str:
        """A Task Script that writes its line and takes its argument as seconds to sleep."""
        line = "$PYANAMO_ITEM_ID $PYANAMO_NESTED_TASK $PYANAMO_LOCK_ID"
        return f'bash -c "echo {line} >> {self.path}; sleep \\$0"'

    def starts(self) -> list[Start]:
        """What was started so far."""
        return [_start(line) for line in self.path.read_text().splitlines()]


def _start(line: str) -> Start:
    item_id, *task, lock_id = line.split()
    return Start(int(item_id), "".join(task), lock_id)


def images(table: Table, streams: DynamoDBStreamsClient) -> dict[int, list[dict[str, Any]]]:
    """Every state each item has had, in order."""
    found = defaultdict(list)
    arn = table.client.describe_table(TableName=table.name)["Table"]["LatestStreamArn"]
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        for record in _records(streams, arn, shard["ShardId"]):
            image = plain({"M": record["dynamodb"]["NewImage"]})
            found[image["itemID"]].append(image)
    return found


def _records(streams: DynamoDBStreamsClient, arn: str, shard: str) -> Iterator[dict[str, Any]]:
    iterator: str | None = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    while iterator:
        page: Any = streams.get_records(ShardIterator=iterator)
        yield from page["Records"]
        # An open shard goes on for ever; nothing more is in this one
        iterator = page.get("NextShardIterator") if page["Records"] else None


def faults(history: dict[int, list[dict[str, Any]]], starts: Iterable[Start] = ()) -> list[str]:
    """What happened that must not: a sentence each, none if all is well."""
    by_item = defaultdict(list)
    for start in starts:
        by_item[start.item_id].append(start)
    found = []
    for item_id, states in history.items():
        for before, after in pairwise(states):
            found += [f"item {item_id}: {fault}" for fault in _step_faults(before, after)]
        found += [f"item {item_id}: {fault}" for fault in _rerun(states, by_item[item_id])]
        found += [f"item {item_id}: {fault}" for fault in _revived(states)]
    return found


def _revived(states: list[dict[str, Any]]) -> list[str]:
    """Claims that took the item more than once."""
    taken = Counter(
        after["lockID"]
        for before, after in pairwise(states)
        if after["ItemState"] == "locked"
        and (before["ItemState"], before["lockID"]) != ("locked", after["lockID"])
    )
    again = "was claimed again by a claim that had ended"
    return [again for number in taken.values() if number > 1]


def _step_faults(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is wrong with one write."""
    setbacks = _setbacks(before, after)
    return [*_state_faults(before, after), *setbacks, *_task_faults(before, after)]


def _state_faults(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found = []
    was, now = before["ItemState"], after["ItemState"]
    if was in ENDED:
        found.append(f"left {was} for {now}")
    if was == "todo" and now != "locked":
        found.append(f"went from todo to {now}")
    if was == now == "locked" and before["lockID"] != after["lockID"]:
        if before["Lease_Expires"] > after["Lease_Expires"]:
            found.append("was taken over with a shorter lease")
        if after["Attempts"] != before["Attempts"] + 1:
            found.append("was taken over without counting the attempt")
    elif was == "locked" and now in ENDED and before["lockID"] != after["lockID"]:
        found.append("was ended by a worker that did not hold it")
    return found


def _setbacks(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What has gone back while one claim went on."""
    claims = [(image["ItemState"], image["lockID"]) for image in (before, after)]
    if claims[0][0] != "locked" or claims[0] != claims[1]:
        return []
    gone = {
        "has a shorter lease than before": "Lease_Expires",
        "has fewer ended tasks than before": "Log_Length",
    }
    return [fault for fault, name in gone.items() if before[name] > after[name]]


def _task_faults(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found = []
    for name, status in _statuses(before).items():
        if status in ENDED and _statuses(after)[name] != status:
            found.append(f"{name} left {status}")
        if status in ENDED and before["Log"][name] != after["Log"][name]:
            found.append(f"{name} has a second outcome")
    return found


def _rerun(states: list[dict[str, Any]], starts: list[Start]) -> list[str]:
    """Tasks that a later claim started although their end was on record when it was made."""
    ended_before: dict[str, set[str]] = {}
    for before, after in pairwise(states):
        if after["lockID"] != before["lockID"]:
            ended_before[after["lockID"]] = {
                name for name, status in _statuses(before).items() if status in ENDED
            }
    return [
        f"{start.task} was run again"
        for start in starts
        if start.task in ended_before.get(start.lock_id, set())
    ]


def _statuses(image: dict[str, Any]) -> dict[str, str]:
    script = image["TaskScript"]
    nested = script.items() if isinstance(script, dict) else ()
    return {name: task["Status"] for name, task in nested}
