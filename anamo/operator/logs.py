"""`pyanamo.py logs`: the whole logs of tasks, from S3.

Guaranteed: memory stays flat whatever a log holds; the output is the bytes that the task wrote,
except on a terminal, where control characters are escaped so that it does not obey them.
"""

import codecs
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from anamo.aws import session
from anamo.aws.log_store import LogStore, located
from anamo.aws.retry import OperatorRetry
from anamo.aws.table_reads import Projection
from anamo.core.codec import ItemId
from anamo.core.errors import LogMissing, UsageError
from anamo.core.item import State, task_order
from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.core.text import natural_sort_key, printable, printable_lines
from anamo.operator.log_filter import filter_log
from anamo.operator.selection import selected_items
from anamo.operator.target import Target, Words, find_target

NAMED = 20
"""How many items without a log are named."""


@dataclass(frozen=True, slots=True)
class LogsRequest:
    """Which logs to show, and how much of them.

    Attributes:
        words: Tables, and task ids or itemIDs; without these, all items in `state`.
        state: Items in this state only; None for any.
        nested: The name or the argument of one nested task; None for all.
        stderr: Only stderr.
        tail: How many last lines of each stream; None for all.
    """

    words: Words
    state: str | None
    nested: str | None
    stderr: bool
    tail: int | None


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
    """

    table: str
    task_id: str
    item_id: ItemId
    task: str
    address: str
    byte_range: str
    note: str

    @property
    def name(self) -> str:
        """What identifies the task to the operator."""
        words = [self.table, self.task_id, self.task, f"(item {self.item_id})"]
        return " ".join(filter(None, words))


def write_logs(request: LogsRequest, say: Callable[[str], object]) -> bool:
    """Write logs to stdout.

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
    found = _find(target, request, retry, say)
    client = session.s3_client(request.words.region)
    write = _StdoutWriter()
    complete = True
    for log in found:
        try:
            bucket, key = located(log.address)
            pieces = LogStore(client, bucket).read(key, log.byte_range)
            shown = filter_log(pieces, stderr=request.stderr, tail=request.tail)
            write(shown, log.name if len(found) > 1 else "")
        except LogMissing as error:
            complete = False
            say(f"{log.name}: {error}" + (f" ({log.note})" if log.note else ""))
    return complete


class _StdoutWriter:
    """Writes bytes to stdout; escapes control characters if it is a terminal."""

    def __init__(self) -> None:
        self._escape = sys.stdout.isatty()
        self._last = b"\n"

    def __call__(self, pieces: Iterable[bytes], heading: str) -> None:
        """Write pieces, below a line with the heading if there is one."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in self._with_heading(pieces, heading):
            if self._escape:
                sys.stdout.write(printable_lines(decoder.decode(piece)))
            else:
                sys.stdout.buffer.write(piece)
            self._last = piece[-1:] or self._last
        sys.stdout.flush()

    def _with_heading(self, pieces: Iterable[bytes], heading: str) -> Iterator[bytes]:
        source = iter(pieces)
        # Read before the heading: a log that is gone gets none, one that is empty does
        first = next(source, b"")
        if heading:
            end = b"" if self._last == b"\n" else b"\n"
            yield end + f"==> {printable(heading)} <==\n".encode()
        yield first
        yield from source


def _find(
    target: Target, request: LogsRequest, retry: OperatorRetry, say: Callable[[str], object]
) -> list[TaskLog]:
    """The requested logs, sorted; names the selected items that have no log yet."""
    found: dict[str, list[TaskLog]] = {table.name: [] for table in target.tables}
    without: list[str] = []
    others: list[str] = []
    states = [request.state] if request.state else []
    selected = selected_items(target, states, Projection.WHOLE, retry, say, say)
    for table, record in selected:
        where = table.name if len(target.tables) > 1 else ""
        item = record.item
        name = " ".join(filter(None, [where, item.task_id]))
        if request.nested and not record.tasks_named(request.nested):
            others.append(f"{name} has no nested task {request.nested}")
            continue
        logs = [_task_log(where, record, *each) for each in _entries(record, request)]
        found[table.name] += logs
        if not logs:
            task = f" {request.nested}" if request.nested else ""
            without.append(f"{name}{task} (item {item.item_id}, {record.state}) has no log yet")
    lines = [*without[:NAMED], *others[:NAMED]]
    if not any(found.values()):
        tables = ", ".join(found)
        raise UsageError("\n".join(lines) or f"table {tables}: no item is {request.state}")
    for line in lines:
        say(line)
    return [log for logs in found.values() for log in sorted(logs, key=_order)]


def _order(log: TaskLog) -> tuple[object, ...]:
    return natural_sort_key(log.task_id), log.item_id, task_order(log.task.partition(" ")[0])


def _entries(record: Record, request: LogsRequest) -> Iterator[tuple[str, LogEntry]]:
    """The log entries of an item's tasks; with `--state failed`, only of the tasks that failed."""
    entries: dict[str, LogEntry] = dict(record.logs)
    if request.nested:
        meant = record.tasks_named(request.nested)
        entries = {name: entry for name, entry in entries.items() if name in meant}
    elif request.state == State.FAILED:
        entries = dict(record.failed_tasks())
    return ((name, entry) for name, entry in entries.items() if entry.s3)


def _task_log(table: str, record: Record, name: str, entry: LogEntry) -> TaskLog:
    item = record.item
    task = record.task_title(name)
    return TaskLog(table, item.task_id, item.item_id, task, entry.s3, entry.s3_range, entry.s3_note)
