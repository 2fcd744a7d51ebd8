"""`pyanamo.py logs`: the whole logs of tasks, from S3.

Guaranteed: memory stays flat whatever a log holds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from anamo.aws import session
from anamo.aws.log_store import LogStore, located
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.codec import ItemId
from anamo.core.errors import LogMissing, UsageError
from anamo.core.item import State, task_order
from anamo.core.log_entry import LogEntry
from anamo.core.record import ENDED, Record
from anamo.core.text import natural_sort_key
from anamo.operator.follow import Follower
from anamo.operator.log_filter import filter_log, only_tasks
from anamo.operator.log_writer import LogWriter
from anamo.operator.selection import selected_items

S3_SECONDS = 100.0
"""How long the first bytes of a log may take: three attempts."""

WITHOUT_LOG = 20
"""How many items without a log are named."""


@dataclass(frozen=True, slots=True)
class LogsRequest:
    """Which logs to show, and how much of them.

    Attributes:
        table: The table's name.
        region: The AWS region; None for the configured one.
        names: Task ids or itemIDs; none for all items in `state`.
        state: Items in this state only; None for any.
        nested: The name of one nested task; None for all.
        stderr: Only stderr.
        tail: How many last lines of each stream; None for all.
        follow: Go on with what tasks print that still run, until their items have ended.
    """

    table: str
    region: str | None
    names: Sequence[str]
    state: str | None
    nested: str | None
    stderr: bool
    tail: int | None
    follow: bool = False


@dataclass(frozen=True, slots=True)
class TaskLog:
    """Where a task's log is.

    Attributes:
        task_id: The item's task id.
        item_id: The item's itemID.
        task: The nested task's name; "" for a single item's.
        address: The s3:// address of the object.
        byte_range: The bytes of the object that hold the log, first-last; "" for all.
        note: What the log entry says about the object.
        running: Whether the object has the output so far of the tasks that run.
        without: Nested tasks that it may have, and that are not to be shown.
    """

    task_id: str
    item_id: ItemId
    task: str
    address: str
    byte_range: str
    note: str
    running: bool = False
    without: Callable[[str], bool] = lambda name: False

    @property
    def name(self) -> str:
        """What identifies the task to the operator."""
        return f"{self.task_id}{f' {self.task}' if self.task else ''} (item {self.item_id})"


def write_logs(request: LogsRequest, say: Callable[[str], object]) -> bool:
    """Write logs to stdout.

    Returns:
        False if some of them are gone from S3.

    Raises:
        UsageError: There is no such log.
        AwsError: A request failed.
    """
    dynamodb = session.dynamodb_client(request.region)
    table = WorkflowTable(dynamodb, request.table)
    client = session.s3_client(request.region)
    retry = OperatorRetry(say)
    retry.where = session.where(dynamodb)
    write = LogWriter()
    if request.follow:
        chosen = selected_items(table, request.names, request.state, Projection.STEP, retry, say)
        Follower(client, retry, request, write, say).follow([(table, each) for each in chosen])
        return True
    found = _find(table, request, retry, say)
    complete = True
    for log in found:
        try:
            bucket, key = located(log.address)
            pieces = LogStore(client, bucket).read(key, log.byte_range)
            with retry.waiting(S3_SECONDS, session.where(client)):
                pieces = chain([next(pieces, b"")], pieces)
            if log.running:
                say(f"{log.name} has not ended: its output so far (--follow goes on with it)")
                pieces = only_tasks(pieces, log.without)
            shown = filter_log(pieces, stderr=request.stderr, tail=request.tail)
            write(shown, log.name if len(found) > 1 else "")
        except LogMissing as error:
            if log.running:
                say(f"{log.name}: no output so far")
                continue
            complete = False
            say(f"{log.name}: {error}" + (f" ({log.note})" if log.note else ""))
    return complete


def _find(
    table: WorkflowTable,
    request: LogsRequest,
    retry: OperatorRetry,
    say: Callable[[str], object],
) -> list[TaskLog]:
    """The requested logs, sorted; names the selected items that have no log yet."""
    found: list[TaskLog] = []
    without: list[str] = []
    for record in selected_items(table, request.names, request.state, Projection.WHOLE, retry, say):
        logs = list(_logs(record, request))
        found += logs
        if not logs:
            task = f"{record.item.task_id}{f' {request.nested}' if request.nested else ''}"
            without.append(f"{task} (item {record.item.item_id}, {record.state}) has no log yet")
    if not found:
        none = f"table {table.name}: no item is {request.state}"
        raise UsageError("\n".join(without[:WITHOUT_LOG]) or none)
    for line in without[:WITHOUT_LOG]:
        say(line)
    return sorted(
        found, key=lambda log: (natural_sort_key(log.task_id), log.item_id, task_order(log.task))
    )


def _logs(record: Record, request: LogsRequest) -> Iterator[TaskLog]:
    """The logs of an item's tasks; with `--state failed`, only of the tasks that failed."""
    entries: dict[str, LogEntry] = dict(record.logs)
    if request.nested:
        known = {task.name for task in record.item.nested} | entries.keys()
        if request.nested not in known:
            raise UsageError(f"{record.item.task_id} has no nested task {request.nested}")
        entries = {name: entries[name] for name in entries.keys() & {request.nested}}
    elif request.state == State.FAILED:
        entries = dict(record.failed_tasks())
    item = record.item
    for name, entry in entries.items():
        if entry.s3:
            yield TaskLog(item.task_id, item.item_id, name, entry.s3, entry.s3_range, entry.s3_note)
    if item.log_so_far and record.state not in ENDED:
        yield _so_far(record, [request.nested] if request.nested else [])


def _so_far(record: Record, meant: Sequence[str]) -> TaskLog:
    """The output so far of an item's tasks that have not ended; of those `meant`, if any are."""

    def without(name: str) -> bool:
        return name in record.logs or bool(meant and name not in meant)

    item, task = record.item, " ".join(meant)
    return TaskLog(item.task_id, item.item_id, task, item.log_so_far, "", "", True, without)
