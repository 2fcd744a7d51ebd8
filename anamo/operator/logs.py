"""`pyanamo.py logs`: the whole logs of tasks, from S3.

Guaranteed: memory stays flat whatever a log holds; the bytes are those the task wrote, but on a
terminal, which must not obey them, control characters are escaped.
"""

import codecs
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from anamo.aws import session
from anamo.aws.log_store import LogStore, located
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.errors import LogMissing, UsageError
from anamo.core.item import State, task_order
from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.core.text import natural_sort_key, printable, printable_lines
from anamo.operator import selection
from anamo.operator.log_filter import filter_log


@dataclass(frozen=True, slots=True)
class LogsRequest:
    """names: task ids or itemIDs, none for all in `state`. nested: a nested task's name. tail: how
    many lines.
    """

    table: str
    region: str | None
    names: Sequence[str]
    state: str | None
    nested: str | None
    stderr: bool
    tail: int | None


@dataclass(frozen=True, slots=True)
class Log:
    """Where the log of a task is. task: the nested task's name, "" for a single item's."""

    task_id: str
    item_id: int
    task: str
    address: str
    span: str
    note: str

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.task_id}{f' {self.task}' if self.task else ''} (item {self.item_id})"


def show(asked: LogsRequest, say: Callable[[str], object]) -> bool:
    """Write the logs that are asked for to stdout; False if some were gone from S3.

    Raises UsageError where there is nothing to show, or what requests of `table` and `logs` raise.
    """
    table = WorkflowTable(session.dynamodb_client(asked.region), asked.table)
    found = _find(table, asked, OperatorRetry(say), say)
    client = session.s3_client(asked.region)
    write = _Writer()
    whole = True
    for log in found:
        bucket, key = located(log.address)
        pieces = LogStore(client, bucket).read(key, log.span)
        try:
            shown = filter_log(pieces, stderr=asked.stderr, tail=asked.tail)
            write(shown, log.name if len(found) > 1 else "")
        except LogMissing as error:
            whole = False
            say(f"{log.name}: {error}" + (f" ({log.note})" if log.note else ""))
    return whole


class _Writer:
    """Bytes to stdout, escaped where it is a terminal."""

    def __init__(self) -> None:
        self._escaped = sys.stdout.isatty()
        self._last = b"\n"

    def __call__(self, pieces: Iterable[bytes], heading: str) -> None:
        """Write pieces, below a line with the heading if there is one."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in self._headed(pieces, heading):
            if self._escaped:
                sys.stdout.write(printable_lines(decoder.decode(piece)))
            else:
                sys.stdout.buffer.write(piece)
            self._last = piece[-1:] or self._last
        sys.stdout.flush()

    def _headed(self, pieces: Iterable[bytes], heading: str) -> Iterator[bytes]:
        source = iter(pieces)
        # A log that is gone gets no heading, one that is empty does
        first = next(source, b"")
        if heading:
            end = b"" if self._last == b"\n" else b"\n"
            yield end + f"==> {printable(heading)} <==\n".encode()
        yield first
        yield from source


def _find(
    table: WorkflowTable, asked: LogsRequest, retry: OperatorRetry, say: Callable[[str], object]
) -> list[Log]:
    """The logs that are asked for; names those there are none of."""
    found: list[Log] = []
    absent: list[str] = []
    for record in _records(table, asked, retry, say):
        logs = list(_logs(record, asked))
        found += logs
        if not logs:
            what = f"{record.item.task_id}{f' {asked.nested}' if asked.nested else ''}"
            absent.append(f"{what} (item {record.item.item_id}, {record.state}) has no log yet")
    if not found:
        none = f"table {table.name}: no item is {asked.state}"
        raise UsageError("\n".join(absent[:SHOWN]) or none)
    for line in absent[:SHOWN]:
        say(line)
    return sorted(
        found, key=lambda log: (natural_sort_key(log.task_id), log.item_id, task_order(log.task))
    )


SHOWN = 20
"""Items without a log that are named."""


def _records(
    table: WorkflowTable, asked: LogsRequest, retry: OperatorRetry, say: Callable[[str], object]
) -> Iterator[Record]:
    if asked.state:
        selection.check_state(table, asked.state, retry)
    if not asked.names and asked.state:
        yield from selection.in_state(table, asked.state, Projection.WHOLE, retry)
        return
    for name, records in selection.named(table, asked.names, Projection.WHOLE, retry):
        for record in records:
            if asked.state in (None, record.state):
                yield record
            else:
                say(selection.elsewhere(name, record, asked.state))


def _logs(record: Record, asked: LogsRequest) -> Iterator[Log]:
    """The logs of an item; of a failed one that is asked for as such, those of what failed."""
    entries: dict[str, LogEntry] = dict(record.logs)
    if asked.nested:
        known = {task.name for task in record.item.nested} | entries.keys()
        if asked.nested not in known:
            raise UsageError(f"{record.item.task_id} has no nested task {asked.nested}")
        entries = {name: entries[name] for name in entries.keys() & {asked.nested}}
    elif asked.state == State.FAILED:
        entries = dict(record.failed_tasks())
    for name, entry in entries.items():
        if entry.s3:
            item = record.item
            yield Log(item.task_id, item.item_id, name, entry.s3, entry.s3_range, entry.s3_note)
