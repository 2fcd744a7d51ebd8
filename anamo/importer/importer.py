"""Writes the items of a task file to their tables.

Guaranteed: an item that is in the table stays as it is, whatever its state; an import that was
interrupted is completed by the same command; throttling slows an import down, and never makes it
fail. Not guaranteed: that an interrupted import has written the first lines of the file first.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar
from uuid import uuid4

from anamo.aws import session
from anamo.aws.dynamodb import TRANSACTION_LIMIT
from anamo.aws.retry import FIRST, LONGEST, OperatorRetry, RetryPolicy, once
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import TRANSACTION_BYTES
from anamo.core.codec import ItemId
from anamo.core.errors import AwsError, CredentialsExpired, Throttled
from anamo.core.item import Item, State, new_values
from anamo.core.item_size import size_of
from anamo.core.record import Record
from anamo.importer.replacement import LOOKED_UP, Replacement
from anamo.importer.task_file import TaskFile
from anamo.importer.threads import Threads

logger = logging.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")

RETRY_SECONDS = 300.0
"""How long a request is retried while AWS is out of reach. A throttled one is retried without end:
at 10 write units a second, an import takes hours that takes seconds on demand."""

AdvanceProgress = Callable[[int], object]
"""Called with how many more items have been dealt with, by one thread at a time."""

OpenProgress = Callable[[str, int], AbstractContextManager[AdvanceProgress]]
"""Shows how far the import of a table is; takes the table's name and the number of its items."""


@dataclass(slots=True)
class ImportTotals:
    """The result of importing a table's items.

    Attributes:
        new: How many were added.
        existing: How many were in the table already, by their states.
        added: Those that were added.
        replaced: How many items with old commands were removed.
        left: Why task ids with old commands were left as they are, a message each.
        beside: Items with old commands, which remain alongside the new ones.
    """

    new: int = 0
    existing: Counter[str] = field(default_factory=Counter)
    added: list[Item] = field(default_factory=list)
    replaced: int = 0
    left: Sequence[str] = ()
    beside: Sequence[Record] = ()


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import.

    Attributes:
        region: The AWS region; None takes that of the environment or profile.
        create: Make the tables that are missing.
        replace: Remove items that have the task id of a line and another command.
        state: The state of new items: TODO, or HELD until somebody resumes them.
    """

    region: str | None
    create: bool
    replace: bool
    state: State


def import_all(
    task_file: TaskFile,
    options: ImportOptions,
    say: Callable[[str], object],
    open_progress: OpenProgress,
) -> Iterator[tuple[str, ImportTotals]]:
    """Import a task file into its tables.

    Args:
        task_file: The items of each table.
        options: How to import them.
        say: Takes messages for the user.
        open_progress: Shows how far the import of a table is.

    Yields:
        The name of each table, with the result of its import.

    Raises:
        TableMissing: A table does not exist and is not to be made; nothing was written.
        TableUnusable: A table has another key or other indexes; nothing was written.
        AwsError: AWS refuses, or could not be reached for RETRY_SECONDS.
    """
    client = session.dynamodb_client(options.region)
    threads = Threads(say)
    retry = OperatorRetry(say, stopped=threads.stopped)
    retry.where = session.where(client)
    tables = [WorkflowTable(client, name) for name in task_file.items]
    for table in tables:
        _prepare(table, options.create, say)
    for table in tables:
        items = {
            item_id: replace(item, state=options.state.value)
            for item_id, item in task_file.items[table.name].items()
        }
        with open_progress(table.name, len(items)) as progress:
            if options.replace:
                replacement = Replacement(table, items, retry, threads)
                totals = _import_and_replace(replacement, Importer(table, progress, say), items)
            else:
                replacement = Replacement(table, items, once, threads)
                totals = _import_beside(replacement, Importer(table, progress, say), items)
        yield table.name, totals


def _import_and_replace(
    replacement: Replacement, importer: "Importer", items: Mapping[ItemId, Item]
) -> ImportTotals:
    """Replace the items of task ids that have old ones, then import the rest."""
    replaced = replacement.replace(replacement.old(items.values(), replacement.states()))
    rest = [item for item in items.values() if item.task_id not in replaced.task_ids]
    totals = importer.run(rest, dealt_with=len(items) - len(rest))
    totals.new += replaced.new
    totals.existing += replaced.existing
    totals.replaced, totals.left = replaced.removed, replaced.left
    return totals


def _import_beside(
    replacement: Replacement, importer: "Importer", items: Mapping[ItemId, Item]
) -> ImportTotals:
    """Import, then look for items that have the task id of a new one and another command."""
    # Before the import: in a table that was empty there is nothing to look for
    states = _unless_refused(replacement.states)
    totals = importer.run(list(items.values()))
    if states and totals.new <= LOOKED_UP:
        old = _unless_refused(lambda: replacement.old(totals.added, states))
        totals.beside = [record for records in (old or {}).values() for record in records]
    return totals


def _unless_refused(check: Callable[[], T]) -> T | None:
    """The result of a check for other items; None where AWS refuses it, since no import fails for
    that.
    """
    try:
        return check()
    except AwsError as error:
        logger.info("not checking for items with other commands: %s", error)
        return None


def _prepare(table: WorkflowTable, create: bool, say: Callable[[str], object]) -> None:
    table.prepare(time.sleep, say, create=create)


class Importer:
    """Adds items to one table.

    Args:
        table: Where to.
        progress: Called with how many more items have been dealt with.
        say: Takes messages for the user, from any thread.
        sleep: Waits between two attempts; by default, no longer than until the import has failed.
    """

    def __init__(
        self,
        table: WorkflowTable,
        progress: AdvanceProgress = lambda items: None,
        say: Callable[[str], object] = lambda message: None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._table = table
        self._progress = progress
        self._say = say
        self._lock = threading.Lock()
        self._threads = Threads(say)
        self._stopped = self._threads.stopped
        self._fault: AwsError | None = None
        # Wakes the threads of a throttled import once it has failed or Ctrl-C was pressed
        self._sleep = sleep or self._stopped.wait
        self._retries = RetryPolicy(self._sleep)
        self._totals = ImportTotals()
        # Whether to read a batch first: the table had items of the batch before
        self._reads_first = True
        # Items per request, and seconds before the next one; throttling changes both
        self._size = TRANSACTION_LIMIT
        self._wait = FIRST

    def run(self, items: Sequence[Item], dealt_with: int = 0) -> ImportTotals:
        """Import the items, each at most once.

        Args:
            items: The items.
            dealt_with: How many others of the import have been dealt with before.

        Raises:
            AwsError: AWS refuses a request, or could not be reached for RETRY_SECONDS.
        """
        self._progress(dealt_with)
        batches = _batches(items, TRANSACTION_LIMIT)
        with self._threads.pool() as pool:
            futures = [pool.submit(self._import, batch) for batch in batches]
            # The first that fails ends it; in their order, it would wait for a throttled one
            done = wait(futures, return_when=FIRST_EXCEPTION).done
            if self._fault:
                raise self._fault
            for future in done:
                future.result()
        return self._totals

    def _import(self, batch: Sequence[Item]) -> None:
        """Import up to 100 items.

        It first reads which of them the table has, since a put that fails its condition costs as
        much as one that passes, and cancels the other 99; but not after a batch whose items
        were all new, since most files are imported once.
        """
        pending = self._absent(batch) if self._reads_first else list(batch)
        all_new = len(pending) == len(batch)
        while pending and not self._stopped.is_set():
            part = next(_batches(pending, self._size))
            existing = self._send(partial(self._table.insert, token=uuid4().hex), part)
            if existing is None:
                continue
            all_new = all_new and not existing
            settled = set(existing) or {item.item_id for item in part}
            self._count([] if existing else part, existing)
            pending = [item for item in pending if item.item_id not in settled]
        self._reads_first = not all_new

    def _absent(self, batch: Sequence[Item]) -> list[Item]:
        """The items of the batch that are not in the table; counts the others."""
        absent: list[Item] = []
        unread = list(batch)
        while unread and not self._stopped.is_set():
            part, rest = unread[: self._size], unread[self._size :]
            found = self._send(self._table.states, [item.item_id for item in part])
            if found is None:
                continue
            self._count([], found.states)
            known = found.states.keys() | found.unread
            absent += [item for item in part if item.item_id not in known]
            unread = [item for item in part if item.item_id in found.unread] + rest
        return absent

    def _send(self, request: Callable[[Sequence[S]], T], part: Sequence[S]) -> T | None:
        """The request's result; None if it was throttled and is to be sent again, smaller."""
        try:
            result = self._retries.retry(
                lambda: request(part),
                RETRY_SECONDS,
                self._stopped.is_set,
                not_retried=(Throttled, CredentialsExpired),
            )
        except Throttled:
            self._slow_down()
            return None
        except AwsError as fault:
            # Here, so that the other threads begin nothing more. Of several faults the first one
            # counts: later ones may only be the result of stopping the other threads
            with self._lock:
                self._fault = self._fault or fault
            self._stopped.set()
            raise
        with self._lock:
            self._size = min(TRANSACTION_LIMIT, self._size + 5)
            self._wait = FIRST
        return result

    def _slow_down(self) -> None:
        """Halve the size of requests, and wait: a request that needs more units than the table's
        burst capacity may never pass.

        This is no retry, and so not a RetryPolicy's: what is sent next is another request, and all
        threads share the size and the wait, which any request that passes sets back.
        """
        with self._lock:
            first = self._size == TRANSACTION_LIMIT
            self._size = max(1, self._size // 2)
            self._wait = min(2 * self._wait, LONGEST)
            seconds = random.uniform(self._wait / 2, self._wait)
        if first:
            self._say(f"table {self._table.name} throttles; slowing down")
        self._sleep(seconds)

    def _count(self, added: Sequence[Item], existing: Mapping[ItemId, str]) -> None:
        with self._lock:
            self._totals.new += len(added)
            self._totals.added += added
            self._totals.existing.update(existing.values())
            self._progress(len(added) + len(existing))


def _batches(items: Sequence[Item], most: int) -> Iterator[list[Item]]:
    """The items in parts of at most `most` items and TRANSACTION_BYTES."""
    batch: list[Item] = []
    size = 0
    for item in items:
        more = size_of(new_values(item))
        if batch and (len(batch) == most or size + more > TRANSACTION_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch
