"""`pyanamo.py logs --follow`: what tasks print, until their items have ended.

Guaranteed: every byte of a stream is written once and in order, however many checks that takes, and
however often S3 breaks off; the last bytes come from the whole log. Not guaranteed: what a task
printed within one interval beyond what its worker puts in S3; a message says how much that is.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from anamo.aws.log_store import LogStore, located
from anamo.aws.retry import UNATTENDED_SECONDS, OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.codec import ItemId
from anamo.core.errors import LogMissing, TransientError
from anamo.core.item import SINGLE, State
from anamo.core.log_entry import LogEntry
from anamo.core.record import ENDED, Record
from anamo.operator.log_filter import HEADER, STDERR, Tail, only_tasks, sections
from anamo.operator.log_writer import LogWriter

if TYPE_CHECKING:
    from anamo.operator.logs import LogsRequest

FOLLOW_SECONDS = 5.0
"""Seconds between two checks; each reads the items whole."""

Stream = tuple[str, ItemId, str, str, bytes]
"""Table, itemID, task, which of its streams, and the lockID of the claim under which it ran."""

_FIELD = re.compile(
    rb"(?m)^(lockID|nested task|stdout begins at byte|stderr begins at byte): (.*)$"
)


class Follower:
    """Follows the output of items.

    Args:
        client: A boto3 client of S3.
        retry: Sends the requests; what it is given to read a log may be called again.
        request: What to show of each log; `tail` is only about where to begin.
        write: Writes what is new.
        say: Prints a message.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        client: Any,
        retry: OperatorRetry,
        request: "LogsRequest",
        write: LogWriter,
        say: Callable[[str], object],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._client = client
        self._retry = retry
        self._request = request
        self._write = write
        self._say = say
        self._sleep = sleep
        self._with_table = False
        self._written: dict[Stream, int] = {}
        self._claims: dict[tuple[str, ItemId], str] = {}
        # Log entries that were dealt with: table, itemID, task, address and range
        self._whole: set[tuple[str, ItemId, str, str, str]] = set()
        self._states: dict[tuple[str, ItemId], str] = {}

    def follow(
        self, items: Sequence[tuple[WorkflowTable, Record]], *, with_table: bool = False
    ) -> None:
        """Write what their tasks print, until all of them have ended, or are held.

        Args:
            items: The items, each with its table.
            with_table: Whether to name their tables.

        Raises:
            AwsError: A request failed.
        """
        self._with_table = with_table
        self._retry.fault_seconds = UNATTENDED_SECONDS
        left = [(table, record.item.item_id) for table, record in items]
        while left := [each for each in left if self._check(*each)]:
            self._sleep(FOLLOW_SECONDS)

    def _check(self, table: WorkflowTable, item_id: ItemId) -> bool:
        """Write what is new of an item; whether more may come."""
        found = self._retry(lambda: table.read([item_id], Projection.WHOLE))
        if not found:
            self._say(f"item {item_id} of table {table.name} is gone")
            return False
        (record,) = found
        state = record.state
        first = (table.name, item_id) not in self._claims
        self._note_claim(table.name, record)
        if state not in ENDED:
            self._note_state(table.name, record)
        wanted = self._wanted(record)
        for name, entry in record.logs.items():
            log = (table.name, item_id, name, entry.s3, entry.s3_range)
            # What ran before is not followed
            earlier = first and not record.has_ended(name)
            if name in wanted and log not in self._whole and not earlier:
                self._retry(partial(self._write_whole, table.name, record, name, entry))
            self._whole.add(log)
        if record.item.log_so_far and state not in ENDED:
            self._retry(partial(self._write_so_far, table.name, record, wanted))
        self._note_state(table.name, record)
        return state in (State.TODO, State.LOCKED)

    def _wanted(self, record: Record) -> Collection[str]:
        """The names of the tasks whose output is written."""
        nested = self._request.nested
        if nested is not None:
            return set(record.tasks_named(nested))
        return {SINGLE, *(task.name for task in record.item.nested), *record.logs}

    def _name(self, table: str, record: Record, task: str = "") -> str:
        """What identifies an item, or a task of it, to the operator."""
        where, item = table if self._with_table else "", record.item
        words = [where, item.task_id, record.task_title(task), f"(item {item.item_id})"]
        return " ".join(filter(None, words))

    def _note_state(self, table: str, record: Record) -> None:
        """Say an item's state if it is a new one."""
        key, state = (table, record.item.item_id), record.state
        if self._states.get(key) != state:
            self._states[key] = state
            waits = "; no worker has claimed it" if state == State.TODO else ""
            self._say(f"{self._name(table, record)} is {state}{waits}")

    def _note_claim(self, table: str, record: Record) -> None:
        """Say that another claim runs its tasks again."""
        item = record.item
        if record.state in (State.TODO, State.HELD):
            # Its lockID is that of the import, or of a claim that was seen if it matters
            return
        if self._claims.get((table, item.item_id), item.lock_id) != item.lock_id:
            self._say(f"{self._name(table, record)} is being retried (attempt {item.attempts})")
        self._claims[table, item.item_id] = item.lock_id

    def _write_whole(self, table: str, record: Record, name: str, entry: LogEntry) -> None:
        """Write the rest of the log of a task that has ended."""
        if not entry.s3:
            return
        lock = b""
        try:
            bucket, key = located(entry.s3)
            log = LogStore(self._client, bucket).read(key, entry.s3_range)
            for section, pieces in _by_section(log):
                if section == HEADER:
                    lock = dict(_FIELD.findall(b"".join(pieces))).get(b"lockID", lock)
                else:
                    stream = (table, record.item.item_id, name, section, lock)
                    self._write_new(stream, record, pieces, 0)
                    self._write.end(self._heading(stream, record))
        except LogMissing as error:
            self._say(f"{self._name(table, record, name)}: {error}")

    def _write_so_far(self, table: str, record: Record, wanted: Collection[str]) -> None:
        """Write the new output of tasks that run."""
        item = record.item
        fields: dict[bytes, bytes] = {}
        try:
            bucket, key = located(item.log_so_far)
            pieces = LogStore(self._client, bucket).read(key, "")
            shown = only_tasks(pieces, lambda name: record.has_ended(name) or name not in wanted)
            for section, rest in _by_section(shown):
                if section == HEADER:
                    found = dict(_FIELD.findall(b"".join(rest)))
                    # That of stderr is only a heading
                    fields = found or fields
                elif (lock := fields.get(b"lockID", b"")).decode() == item.lock_id:
                    name = fields.get(b"nested task", b"").decode("utf-8", "replace")
                    begin = int(fields.get(f"{section} begins at byte".encode(), b"0"))
                    stream = (table, item.item_id, name, section, lock)
                    self._write_new(stream, record, rest, begin)
        except LogMissing:
            # It has just ended: the next check finds the whole log
            return

    def _write_new(
        self, stream: Stream, record: Record, pieces: Iterable[bytes], begin: int
    ) -> None:
        """Write what is new of a stream; `pieces` are its bytes from `begin` on."""
        name = self._name(stream[0], record, stream[2])
        if self._request.stderr and stream[3] != STDERR:
            return
        tail = self._request.tail if stream not in self._written else None
        written = self._written.get(stream, 0)
        if begin > written and tail is None:
            self._say(
                f"{name}: {begin - written:,} bytes of {stream[3]} left out; "
                "they are in the whole log"
            )
            self._written[stream] = begin
        new = self._counted(stream, pieces, begin, max(written, begin))
        if tail is not None:
            new = iter([self._last_lines(stream, new, tail)])
        first = next(filter(None, new), b"")
        if first:
            self._write(chain([first], new), self._heading(stream, record))

    def _last_lines(self, stream: Stream, pieces: Iterable[bytes], tail: int) -> bytes:
        last = Tail(tail)
        try:
            for piece in pieces:
                last.add(piece)
        except TransientError:
            # Nothing is written yet, and the next attempt begins anew
            self._written.pop(stream, None)
            raise
        return last.lines()

    def _heading(self, stream: Stream, record: Record) -> str:
        return f"{self._name(stream[0], record, stream[2])} {stream[3]}"

    def _counted(
        self, stream: Stream, pieces: Iterable[bytes], position: int, written: int
    ) -> Iterator[bytes]:
        """The part of the pieces from byte `written` on; notes where they end."""
        for piece in pieces:
            new = piece[max(written - position, 0) :]
            position += len(piece)
            self._written[stream] = max(position, written)
            yield new


def _by_section(pieces: Iterable[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The sections of logs one after another, each with its pieces."""
    for section, group in groupby(sections(pieces), key=itemgetter(0)):
        yield section, (piece for _, piece in group)
