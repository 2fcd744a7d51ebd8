"""What happened to each item of a table, from DynamoDB's own stream of changes.

The table at the end shows one state; the stream shows every write that was applied, in order, no
matter which process sent it and whether that process is still alive. `faults` holds each change
against the rules of docs/guarantees.md, which are written down here once more, independently of the
package that is under test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.table import Table, addressed, plain

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

Image = Mapping[str, Any]
"""An item after, or before, a write; empty where there was none."""

ENDED = ("done", "failed")

KINDS = {
    ("", "todo"): "import",
    ("", "held"): "import",
    ("todo", "held"): "hold",
    ("held", "todo"): "resume",
    ("held", ""): "remove",
    ("todo", "locked"): "claim",
    ("locked", "locked"): "take over",
    ("locked", "done"): "finish",
    ("locked", "failed"): "finish",
    ("locked", "todo"): "give back",
    ("done", "todo"): "requeue",
    ("failed", "todo"): "requeue",
    ("todo", ""): "remove",
    ("locked", ""): "remove",
    ("done", ""): "remove",
    ("failed", ""): "remove",
}
"""The kind of each change of state that there may be; any other is a fault. A change under the same
lockID of an item that stays locked is called "renew", whether it records results or not."""

OPERATORS = ("requeue", "remove", "hold", "resume")


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


@dataclass(frozen=True)
class Change:
    """One write that changed an item."""

    before: Image
    after: Image

    @property
    def kind(self) -> str:
        """What it is, empty for what must not be."""
        kind = KINDS.get((self.before.get("ItemState", ""), self.after.get("ItemState", "")), "")
        return "renew" if kind == "take over" and self.same_claim else kind

    @property
    def same_claim(self) -> bool:
        """Whether the lockID is the same before and after it."""
        return bool(self.before.get("lockID") == self.after.get("lockID"))

    @property
    def follows_an_attempt(self) -> bool:
        """Whether a later attempt of the same AWS Batch job takes over what an earlier one held."""
        if self.before.get("InstanceID") != self.after.get("InstanceID"):
            return False
        earlier, later = (_attempt(image) for image in (self.before, self.after))
        return 0 < earlier < later

    @property
    def retries(self) -> bool:
        """Whether it gives a failed item back to be tried again."""
        failures = self.before.get("Failures", 0) + 1
        return self.kind == "give back" and self.after.get("Failures", 0) == failures


def _attempt(image: Image) -> int:
    """The attempt of a job that claimed an item, from its lockID; 0 outside of AWS Batch."""
    attempt = str(image.get("lockID", "")).partition(".")[2]
    return int(attempt) if attempt.isdigit() else 0


History = Mapping[int, Sequence[Change]]
"""The changes of each item, in their order."""


def changes(table: Table, streams: DynamoDBStreamsClient) -> History:
    """Every change that there was so far."""
    found = defaultdict(list)
    arn = table.client.describe_table(TableName=table.name)["Table"]["LatestStreamArn"]
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        for record in _records(streams, arn, shard["ShardId"]):
            written = record["dynamodb"]
            old, new = (plain({"M": written.get(name, {})}) for name in ("OldImage", "NewImage"))
            found[(old or new)["itemID"]].append(Change(old, new))
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


@dataclass(frozen=True)
class Rules:
    """What is known of a history beside its changes.

    operator: whether operators were there; else nothing may leave an ended state. requeued: lockIDs
    of claims that an operator may have ended. claimed: when each claim was in force at the latest,
    in epoch seconds by lockID; else the claims' own dates are believed.
    """

    operator: bool = False
    requeued: Collection[str] = ()
    claimed: Mapping[str, float] = field(default_factory=dict)

    def is_operators(self, change: Change) -> bool:
        """Whether it may be an operator's."""
        if not self.operator:
            return False
        requeued = change.kind == "give back" and change.before["lockID"] in self.requeued
        return requeued or change.kind in OPERATORS


def faults(history: History, starts: Iterable[Start] = (), rules: Rules | None = None) -> list[str]:
    """What happened that must not: a sentence each, none if all is well."""
    rules = rules or Rules()
    by_item = defaultdict(list)
    for start in starts:
        by_item[start.item_id].append(start)
    found = []
    for item_id, changed in history.items():
        said = [fault for change in changed for fault in _change_faults(change, rules)]
        said += _token_faults(changed) + _rerun(changed, by_item[item_id])
        found += [f"item {item_id}: {fault}" for fault in said]
    return found


def _change_faults(change: Change, rules: Rules) -> list[str]:
    """What is wrong with one write."""
    was, now = (image.get("ItemState", "nothing") for image in (change.before, change.after))
    if not change.kind:
        return [f"went from {was} to {now}"]
    if change.kind in OPERATORS and not rules.operator:
        return [f"left {was} for {now}"]
    if change.kind == "remove":
        return []
    return [
        *_claim_faults(change, rules),
        *_lease_faults(change, rules),
        *_count_faults(change),
        *_task_faults(change, rules),
    ]


def _claim_faults(change: Change, rules: Rules) -> list[str]:
    """Whether the right one made the change, and the attempt was counted."""
    before, after, kind = change.before, change.after, change.kind
    found = []
    if kind == "finish" and not change.same_claim:
        found.append("was ended by a worker that did not hold it")
    counted = {
        "import": (0,),
        "claim": (before.get("Attempts", 0) + 1,),
        "take over": (before.get("Attempts", 0) + 1,),
        # A host's fault may count as an attempt
        "give back": (before.get("Attempts", 0) - 1, before.get("Attempts", 0)),
        "requeue": (0,),
    }.get(kind, (before.get("Attempts", 0),))
    if after.get("Attempts", 0) not in counted and not rules.is_operators(change):
        found.append(f"has {after.get('Attempts')} attempts after {kind}, not {counted[0]}")
    return found


def _lease_faults(change: Change, rules: Rules) -> list[str]:
    before, after = change.before.get("Lease_Expires"), change.after.get("Lease_Expires")
    lock_id = change.after.get("lockID", "")
    if change.after["ItemState"] != "locked":
        return [] if after is None else [f"has a lease and is {change.after['ItemState']}"]
    if after is None:
        return ["is locked without a lease"]
    if before is not None and after < before:
        return [f"has a shorter lease than before, by {before - after} s ({lock_id})"]
    if before is not None and change.kind == "take over" and not change.follows_an_attempt:
        at = rules.claimed.get(lock_id) or epoch(change.after["Lock_Date"])
        if at <= before:
            return [f"was taken over {before - at:.1f} s before its lease ended ({lock_id})"]
    return []


def epoch(stamp: str) -> float:
    """A date of the table as epoch seconds."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def _count_faults(change: Change) -> list[str]:
    statuses = _statuses(change.after)
    if not statuses:
        return []
    before, after = (image.get("Ended_Tasks", 0) for image in (change.before, change.after))
    found = []
    if change.kind in ("renew", "finish") and after < before:
        found.append(f"has fewer ended tasks than before, {after} after {before}")
    ended = sum(status in ENDED for status in statuses.values())
    if after != ended:
        found.append(f"counts {after} ended tasks, and {ended} have ended")
    if change.after["ItemState"] == "done" and set(statuses.values()) != {"done"}:
        found.append("is done, and not all its tasks are")
    return found


def _task_faults(change: Change, rules: Rules) -> list[str]:
    before, after = _statuses(change.before), _statuses(change.after)
    old, new = _entries(change.before), _entries(change.after)
    found = []
    for name, now in after.items():
        was = before.get(name, "todo")
        if was in ENDED and now != was and not _may_undo(change, was, rules):
            found.append(f"{name} left {was}")
        if was in ENDED and now == was and old.get(name) != new.get(name):
            found.append(f"{name} has a second outcome")
        if was != now and now in ENDED:
            if change.kind not in ("renew", "finish", "give back"):
                found.append(f"{name} ended by {change.kind}")
            found += _entry_faults(name, new.get(name), change.before)
    if change.kind in ("claim", "take over", "renew") and not after and old != new:
        found.append("has an outcome, and has not ended")
    if change.kind == "finish" and not after:
        found += _entry_faults("its task", new.get(""), change.before)
    return found


def _may_undo(change: Change, was: str, rules: Rules) -> bool:
    """Whether a change may make an ended nested task todo again: one that succeeded only where the
    whole item is requeued.
    """
    if was == "done":
        return rules.is_operators(change) and change.before["ItemState"] == "done"
    return rules.is_operators(change) or change.retries


def _entry_faults(name: str, entry: Image | None, before: Image) -> list[str]:
    """What is wrong with the log entry of a task that has just ended."""
    if entry is None:
        return [f"{name} ended without a log entry"]
    ran_under = lock_of(entry)
    if ran_under and ran_under != before["lockID"]:
        return [f"{name} ran under {ran_under} and was recorded under {before['lockID']}"]
    return []


def lock_of(entry: Image) -> str:
    """The lockID of the claim under which a task ran, from its log's key; empty if it has none."""
    parts = str(entry.get("S3", "")).rpartition("/")[2].removesuffix(".log.gz").split("-")
    return parts[1] if len(parts) > 1 else ""


def _token_faults(changed: Sequence[Change]) -> list[str]:
    """Claims whose token was used before: what the earlier one still sends would pass."""
    seen: set[str] = set()
    found = []
    for change in changed:
        if change.kind in ("claim", "take over"):
            lock_id = change.after["lockID"]
            if lock_id in seen:
                found.append(f"was claimed again by a claim that had ended ({lock_id})")
            seen.add(lock_id)
    return found


def _rerun(changed: Sequence[Change], starts: Sequence[Start]) -> list[str]:
    """Tasks that a later claim started although their end was on record when it was made."""
    ended_before = {
        change.after["lockID"]: {
            name for name, status in _statuses(change.before).items() if status in ENDED
        }
        for change in changed
        if change.kind in ("claim", "take over")
    }
    return [
        f"{start.task} was run again"
        for start in starts
        if start.task in ended_before.get(start.lock_id, set())
    ]


def _statuses(image: Image) -> dict[str, str]:
    """The statuses of the nested tasks."""
    script = image.get("TaskScript")
    nested = script.items() if isinstance(script, dict) else ()
    return {name: task["Status"] for name, task in nested}


def _entries(image: Image) -> dict[str, Image]:
    """The log entries of the nested tasks; a single item's is called ""."""
    log = addressed(dict(image)).get("Log", {})
    return {"": log} if isinstance(log.get("Status"), str) else log


def ended_entries(image: Image) -> dict[str, Image]:
    """The log entries of the tasks that have ended, by name; a single item's is called ""."""
    entries, statuses = _entries(image), _statuses(image)
    if not statuses:
        return entries if image.get("ItemState") in ENDED else {}
    ended = (name for name, status in statuses.items() if status in ENDED)
    return {name: entries[name] for name in ended if name in entries}


def told(changed: Sequence[Change]) -> list[str]:
    """A short history: a line for each change."""
    return [f"{change.kind or 'FAULT':9} {_shown(change.after)}" for change in changed]


def _shown(image: Image) -> str:
    if not image:
        return "gone"
    marks = {"todo": "·", "done": "d", "failed": "f"}
    tasks = "".join(marks.get(status, "?") for _, status in sorted(_statuses(image).items()))
    return (
        f"{image['ItemState']:6} {image['lockID'][:8]:8} lease {image.get('Lease_Expires', '-')}"
        f" attempts {image.get('Attempts')} ended {image.get('Ended_Tasks')} {tasks}"
    )
