"""Bringing items into a table.

Guaranteed: an item that is in the table stays as it is, whatever its state; an import that broke
off is finished by the same command; throttling slows an import down and never fails it. Not
guaranteed: that an import that breaks off has written the first lines first.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import uuid4

from anamo.aws import session
from anamo.aws.dynamodb import TRANSACTION_LIMIT
from anamo.aws.retry import FIRST, LONGEST, RetryPolicy
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import TRANSACTION_BYTES
from anamo.cli.progress_bar import progress_bar
from anamo.core.errors import CredentialsExpired, TableMissing, Throttled
from anamo.core.item import Item, new_attributes, size_of
from anamo.importer.task_file import TaskFile

S = TypeVar("S")
T = TypeVar("T")

THREADS = 4
"""Requests under way at once: transactions of 100 puts by 4 threads beat single puts by 16."""

PATIENCE_SECONDS = 300.0
"""How long a request is tried again while AWS is out of reach. Throttling has no such end: at 10
write units a second an import takes hours that takes seconds elsewhere."""


@dataclass(slots=True)
class ImportTotals:
    """What an import found: items that were new, and the states of those that were there."""

    new: int = 0
    existing: Counter[str] = field(default_factory=Counter)


def import_all(
    found: TaskFile, region: str | None, create: bool, say: Callable[[str], object]
) -> Iterator[tuple[str, ImportTotals]]:
    """Import a task file into its tables; each table with what became of its items.

    create: make the tables that are missing. Raises one of `errors`; nothing has been written if
    a table was found unusable.
    """
    client = session.dynamodb_client(region)
    tables = [WorkflowTable(client, name) for name in found.items]
    for table in tables:
        _prepare(table, create, say)
    for table in tables:
        items = list(found.items[table.name].values())
        with progress_bar(table.name, len(items), say) as progress:
            tally = Importer(table, progress, say).run(items)
        yield table.name, tally


def _prepare(table: WorkflowTable, create: bool, say: Callable[[str], object]) -> None:
    try:
        table.prepare(time.sleep, say, create=create)
    except TableMissing as missing:
        raise TableMissing(f"{missing}: add --create-table to make it") from None


class Importer:
    """Adds items to one table; `progress` is told each number of items dealt with, by one thread at
    a time.
    """

    def __init__(
        self,
        table: WorkflowTable,
        progress: Callable[[int], object] = lambda items: None,
        say: Callable[[str], object] = lambda message: None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._table = table
        self._progress = progress
        self._say = say
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        # No thread of a throttled import sleeps on once it has failed, or Ctrl-C was pressed
        self._sleep = sleep or self._stopped.wait
        self._retries = RetryPolicy(self._sleep)
        self._totals = ImportTotals()
        # Whether items of the batches just before were there already
        self._asks = True
        # Items a request, and seconds until the next one, as throttling has them
        self._size = TRANSACTION_LIMIT
        self._wait = FIRST

    def run(self, items: Sequence[Item]) -> ImportTotals:
        """Import the items. Raises one of `errors` once a request fails for good."""
        batches = _batches(items, TRANSACTION_LIMIT)
        with ThreadPoolExecutor(THREADS) as pool:
            try:
                futures = [pool.submit(self._import, batch) for batch in batches]
                # Whichever fails first; in their order a throttled one would be waited for
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
        return self._totals

    def _import(self, batch: Sequence[Item]) -> None:
        """Import up to 100 items: those that are there are asked for first, since a put that fails
        its condition costs as much as one that passes, and cancels the 99 beside it. It is not
        asked where the batches before were all new: most files are imported once.
        """
        pending = self._absent(batch) if self._asks else list(batch)
        all_new = len(pending) == len(batch)
        while pending and not self._stopped.is_set():
            part = next(_batches(pending, self._size))
            insertion = self._send(partial(self._table.insert, token=uuid4().hex), part)
            if insertion is None:
                continue
            there = insertion.existing
            all_new = all_new and not there
            gone = set(there) or {item.item_id for item in part}
            self._count(0 if there else len(part), there)
            pending = [item for item in pending if item.item_id not in gone]
        self._asks = not all_new

    def _absent(self, batch: Sequence[Item]) -> list[Item]:
        """The items of the batch that are not in the table; the others are counted."""
        absent: list[Item] = []
        unasked = list(batch)
        while unasked and not self._stopped.is_set():
            part, rest = unasked[: self._size], unasked[self._size :]
            answer = self._send(self._table.states, [item.item_id for item in part])
            if answer is None:
                continue
            self._count(0, answer.states)
            known = answer.states.keys() | answer.unread
            absent += [item for item in part if item.item_id not in known]
            unasked = [item for item in part if item.item_id in answer.unread] + rest
        return absent

    def _send(self, request: Callable[[Sequence[S]], T], part: Sequence[S]) -> T | None:
        """The request's answer, or None if it was throttled and should be sent again, smaller."""
        try:
            answer = self._retries.retry(
                lambda: request(part),
                PATIENCE_SECONDS,
                self._stopped.is_set,
                at_once=(Throttled, CredentialsExpired),
            )
        except Throttled:
            self._slow_down()
            return None
        with self._lock:
            self._size = min(TRANSACTION_LIMIT, self._size + 5)
            self._wait = FIRST
        return answer

    def _slow_down(self) -> None:
        """Halve the requests, since a table may never let pass one larger than what it has saved
        up, and wait.
        """
        with self._lock:
            first = self._size == TRANSACTION_LIMIT
            self._size = max(1, self._size // 2)
            self._wait = min(2 * self._wait, LONGEST)
            seconds = random.uniform(self._wait / 2, self._wait)
        if first:
            self._say(f"table {self._table.name} throttles; the import goes on more slowly")
        self._sleep(seconds)

    def _count(self, new: int, existing: Mapping[int, str]) -> None:
        with self._lock:
            self._totals.new += new
            self._totals.existing.update(existing.values())
            self._progress(new + len(existing))


def _batches(items: Sequence[Item], most: int) -> Iterator[list[Item]]:
    """The items in parts of at most `most` and of what one transaction may hold in bytes."""
    batch: list[Item] = []
    size = 0
    for item in items:
        more = size_of(new_attributes(item))
        if batch and (len(batch) == most or size + more > TRANSACTION_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch
