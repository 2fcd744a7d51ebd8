"""`pyanamo.py logs`: the logs of tasks, from S3, including partial output.

Guaranteed: memory stays flat whatever a log holds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from anamo.aws import session
from anamo.aws.log_store import LogStore, located
from anamo.aws.retry import OperatorRetry
from anamo.aws.table_reads import Projection
from anamo.core.codec import ItemId
from anamo.core.errors import LogMissing, UsageError
from anamo.core.item import State, task_order
from anamo.core.log_entry import LogEntry
from anamo.core.record import ENDED, Record
from anamo.core.task import cause
from anamo.core.text import natural_sort_key
from anamo.operator.follow import Follower
from anamo.operator.log_filter import filter_log, only_tasks
from anamo.operator.log_writer import LogWriter
from anamo.operator.selection import Selected, first_lines, selected_items, table_names
from anamo.operator.target import Target, Words, find_target

S3_SECONDS = 100.0
"""How long the first bytes of a log may take: three attempts."""


@dataclass(frozen=True, slots=True)
class LogsRequest:
    """Which logs to show, and how much of them.

    Attributes:
        words: Tables, and task ids or itemIDs; without these, all items in `state`.
        state: Items in this state only; None for any.
        nested: The name or the argument of one nested task; None for all.
        stderr: Only stderr.
        tail: How many last lines of each stream; None for all.
        follow: Keep printing the output of tasks that still run, until their items have ended.
    """

    words: Words
    state: str | None
    nested: str | None = None
    stderr: bool = False
    tail: int | None = None
    follow: bool = False


@dataclass(frozen=True, slots=True)
class TaskLog:
    """Where a task's log is.

    Attributes:
        table: The table's name, where the logs of several are shown; else "".
        task_id: The item's task id.
        item_id: The item's itemID.
        task: The nested task's name and argument; "" for a single item's.
        address: The s3:// address of the object.
        byte_range: The bytes of the object that hold the log, first-last; "" for all.
        note: What the log entry says about the object.
        running: Whether the object has the partial output of tasks that still run.
        without: Whether a nested task, by its name, is left out of partial output.
    """

    table: str
    task_id: str
    item_id: ItemId
    task: str
    address: str
    byte_range: str = ""
    note: str = ""
    running: bool = False
    without: Callable[[str], bool] = lambda name: False

    @property
    def name(self) -> str:
        """What identifies the task to the operator."""
        words = [self.table, self.task_id, self.task, f"(item {self.item_id})"]
        return " ".join(filter(None, words))


def write_logs(request: LogsRequest, say: Callable[[str], object]) -> bool:
    """Write logs to stdout.

    Args:
        request: Which logs, and how much of them.
        say: Called with messages about logs that are partial, missing or gone.

    Returns:
        False if some of them are gone from S3.

    Raises:
        UsageError: There is no such log.
        AwsError: A request failed.
    """
    retry = OperatorRetry(say)
    target = find_target(request.words, retry)
    target.check()
    if not target.names and not request.state:
        raise UsageError("whose logs? Give a TASKID, or --state failed for all that failed")
    client = session.s3_client(request.words.region)
    write = LogWriter()
    if request.follow:
        chosen = _followed(target, request, retry, say)
        follower = Follower(client, retry, request, write, say)
        follower.follow(chosen, with_table=len(target.tables) > 1)
        return True
    found = _find(target, request, retry, say)
    complete = True
    for log in found:
        try:
            bucket, key = located(log.address)
            pieces = LogStore(client, bucket).read(key, log.byte_range)
            with retry.waiting(S3_SECONDS, session.where(client)):
                pieces = chain([next(pieces, b"")], pieces)
            if log.running:
                say(f"{log.name} is still running: partial output (use --follow to continue)")
                pieces = only_tasks(pieces, log.without)
            shown = filter_log(pieces, stderr=request.stderr, tail=request.tail)
            write.whole(shown, log.name if len(found) > 1 else "")
        except LogMissing as error:
            if log.running:
                say(f"{log.name}: no output yet")
                continue
            complete = False
            say(f"{log.name}: {error}" + (f" ({log.note})" if log.note else ""))
    return complete


def _find(
    target: Target, request: LogsRequest, retry: OperatorRetry, say: Callable[[str], object]
) -> list[TaskLog]:
    """The requested logs, sorted; says which of the selected items have no log yet.

    Raises:
        UsageError: None of them has a log.
    """
    found: dict[str, list[TaskLog]] = {table.name: [] for table in target.tables}
    without: list[str] = []
    others: list[str] = []
    for table, record in _selected(target, request, Projection.WHOLE, retry, say, others):
        where = table.name if len(target.tables) > 1 else ""
        item = record.item
        logs = [*_logs(where, record, request)]
        found[table.name] += logs
        if not logs:
            name = " ".join(filter(None, [where, item.task_id, request.nested]))
            without.append(
                f"{name} (item {item.item_id}, {record.state}) {_why_no_log(record, request)}"
            )
    lines = first_lines([*without, *others], "without one")
    if not any(found.values()):
        raise UsageError("\n".join(lines) or _none_in_state(target, request))
    for line in lines:
        say(line)
    return [log for logs in found.values() for log in sorted(logs, key=_order)]


def _none_in_state(target: Target, request: LogsRequest) -> str:
    which = "none of the named items" if target.names else "no item"
    return f"{table_names(target.tables)}: {which} is in state {request.state}"


def _why_no_log(record: Record, request: LogsRequest) -> str:
    """Why the tasks that are meant have no log, in words that follow their item's name."""
    meant = record.tasks_named(request.nested) if request.nested else None
    for name, entry in record.failed_tasks():
        if not entry.s3 and (meant is None or name in meant):
            return f"has no log: {'; '.join([cause(entry), *entry.stderr.splitlines()])}"
    return "has no log yet"


def _followed(
    target: Target, request: LogsRequest, retry: OperatorRetry, say: Callable[[str], object]
) -> list[Selected]:
    """The items to follow; says which of the selected items lack the nested task.

    Raises:
        UsageError: All of them lack it.
    """
    others: list[str] = []
    # Which nested tasks an item has, only the table knows
    projection = Projection.WITHOUT_LOGS if request.nested else Projection.STEP
    chosen = [*_selected(target, request, projection, retry, say, others)]
    lines = first_lines(others, "without it")
    if not chosen:
        raise UsageError("\n".join(lines) or _none_in_state(target, request))
    for line in lines:
        say(line)
    return chosen


def _selected(
    target: Target,
    request: LogsRequest,
    projection: Projection,
    retry: OperatorRetry,
    say: Callable[[str], object],
    others: list[str],
) -> Iterator[Selected]:
    """The requested items.

    Args:
        target: Tables and names.
        request: The state and the nested task.
        projection: How much of each item to read.
        retry: Sends the requests.
        say: Called with messages about names that a table lacks, or items in another state.
        others: A message is added for each item without the nested task.
    """
    states = [request.state] if request.state else []
    for table, record in selected_items(
        target, states, projection, retry, say, lambda message: say(f"{message}; left out")
    ):
        if not request.nested or record.tasks_named(request.nested):
            yield table, record
            continue
        where = f"{table.name} " if len(target.tables) > 1 else ""
        which = f"{where}{record.item.task_id} (item {record.item.item_id})"
        others.append(f"{which} has no nested task {request.nested}")


def _order(log: TaskLog) -> tuple[object, ...]:
    return natural_sort_key(log.task_id), log.item_id, task_order(log.task.partition(" ")[0])


def _logs(table: str, record: Record, request: LogsRequest) -> Iterator[TaskLog]:
    """The logs of an item's tasks; with `--state failed`, only of the tasks that failed."""
    entries: dict[str, LogEntry] = dict(record.logs)
    if request.nested:
        meant = record.tasks_named(request.nested)
        entries = {name: entry for name, entry in entries.items() if name in meant}
    elif request.state == State.FAILED:
        entries = dict(record.failed_tasks())
    item, titles = record.item, record.task_titles()
    for name, entry in entries.items():
        if entry.s3:
            yield TaskLog(
                table,
                item.task_id,
                item.item_id,
                titles.get(name, name),
                entry.s3,
                entry.s3_range,
                entry.s3_note,
            )
    if item.log_so_far and record.state not in ENDED:
        yield _so_far(table, record, record.tasks_named(request.nested) if request.nested else [])


def _so_far(table: str, record: Record, meant: Sequence[str]) -> TaskLog:
    """The partial output of an item's tasks that have not ended.

    Args:
        table: The table's name, or "".
        record: The item.
        meant: Names of the nested tasks that are wanted; empty for all.
    """

    def without(name: str) -> bool:
        return record.has_ended(name) or bool(meant and name not in meant)

    item = record.item
    return TaskLog(
        table,
        item.task_id,
        item.item_id,
        task=" ".join(map(record.task_title, meant)),
        address=item.log_so_far,
        running=True,
        without=without,
    )
