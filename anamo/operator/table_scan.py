"""Reads all items of a table, by parallel queries of its index or by a scan of the table itself.

Guaranteed: every page is read, so that a table of any size is read whole; a scan sees every item
that was in the table when it began, once, in a state that it had meanwhile. Not guaranteed: a
consistent snapshot. A table that workers use changes while it is read, and the index lags behind
it: a query may see an item in two states, or in none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from math import floor

from anamo.aws.dynamodb import TRANSACTION_LIMIT
from anamo.aws.pages import Part, ScanPage, Segment
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.codec import ItemId, below
from anamo.core.item import ID_BITS
from anamo.core.record import Record

QUERY_THREADS = 8
"""Queries sent at once; the client's connection pool is larger than that."""

FIRST_PAGE = 500
"""Most items of a state's first page; what comes after it is read in parallel."""

RANGES = 8
"""Ranges that a state is split into once its first page is full. The ids that PyAnamo
assigns are evenly spread and other tools number items from 1, so the ranges are of equal size."""

Answer = tuple[Sequence[Record], list["Job"]]
"""Items that were read, and what else is to be read then."""

Job = Callable[[], Answer]
"""Sends one request for items, in a thread of its own."""

SEGMENTS = 8
"""Parts of a table that are scanned at once."""


def consistent_scan(table: WorkflowTable, retry: OperatorRetry) -> Iterator[Record]:
    """The task ids and states of all items, from the table and not from an index.

    Args:
        table: The table to read. DynamoDB bills the whole of every item, at twice the price of
            `whole_items`.
        retry: Sends the requests; it is called from several threads.

    Raises:
        AwsError: A request failed.
    """
    return _scan(table, retry, Projection.STEP, consistent=True)


def whole_items(table: WorkflowTable, retry: OperatorRetry) -> Iterator[Record]:
    """All items with their logs, from the table: cheaper than item by item, and no index need hold
    them. The arguments are those of `consistent_scan`.
    """
    return _scan(table, retry, Projection.WHOLE, consistent=False)


def _scan(
    table: WorkflowTable, retry: OperatorRetry, projection: Projection, *, consistent: bool
) -> Iterator[Record]:
    def read(segment: Segment) -> ScanPage:
        return retry(lambda: table.scan(segment, projection, consistent))

    note = retry.reading(table.name)
    with retry.pool(SEGMENTS) as pool:
        pending = {pool.submit(read, Segment(number, SEGMENTS)) for number in range(SEGMENTS)}
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ready:
                page = future.result()
                if page.rest:
                    pending.add(pool.submit(read, page.rest))
                note(len(page.records))
                yield from page.records


def parallel_query(
    table: WorkflowTable,
    projections: Mapping[str, Projection],
    retry: OperatorRetry,
    progress: Projection | None = None,
) -> Iterator[Record]:
    """Read the items of a table in some states.

    Args:
        table: The table to read.
        projections: How much of an item to read, by state.
        retry: Sends the requests; it is called from several threads.
        progress: How much to read from the table of an item whose tasks cannot be counted without
            its Task Scripts: the index does not show which of them have ended. None leaves items as
            they are listed.

    Yields:
        The items, in no particular order.

    Raises:
        AwsError: A request failed.
    """

    def read(part: Part, projection: Projection) -> Answer:
        records, rest = _read_part(table, part, projection, retry)
        more: list[Job] = [partial(read, each, projection) for each in rest]
        if progress is None:
            return records, more
        unclear = [record for record in records if record.unclear]
        for begin in range(0, len(unclear), TRANSACTION_LIMIT):
            listed = unclear[begin : begin + TRANSACTION_LIMIT]
            more.append(partial(_with_progress, table, listed, progress, retry))
        return [record for record in records if not record.unclear], more

    note = retry.reading(table.name)
    with retry.pool(QUERY_THREADS) as pool:
        pending: set[Future[Answer]] = {
            pool.submit(read, Part(state), projection) for state, projection in projections.items()
        }
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            # The threads have something to do while the caller counts what they have read
            for future in ready:
                pending |= set(map(pool.submit, future.result()[1]))
            for future in ready:
                records, _ = future.result()
                note(len(records))
                yield from records


def _read_part(
    table: WorkflowTable, part: Part, projection: Projection, retry: OperatorRetry
) -> tuple[Sequence[Record], list[Part]]:
    """A page of a part, and the parts that remain."""
    limit = FIRST_PAGE if part.first is None else None
    page = table.page(part, projection, limit, retry)
    if page.rest is None:
        return page.records, []
    if part.first is not None:
        return page.records, [page.rest]
    return page.records, _split(page.rest, retry(lambda: table.last(part.state)))


def _with_progress(
    table: WorkflowTable, listed: Sequence[Record], projection: Projection, retry: OperatorRetry
) -> Answer:
    """Up to 100 items that an index listed, as they are in the table. An item that has changed its
    state since then is given as listed.
    """
    ids = [record.item.item_id for record in listed]
    read = table.read(ids, projection, consistent=False, retry=retry)
    current = {record.item.item_id: record for record in read}
    found = [(record, current.get(record.item.item_id, record)) for record in listed]
    return [now if now.state == record.state else record for record, now in found], []


def _split(rest: Part, last: ItemId | None) -> list[Part]:
    """Split a part into RANGES equal ones; the last has no end: items may be added after `last`,
    and other tools' itemIDs may be far larger than ours. A part of such itemIDs only stays whole.
    """
    first, largest = rest.first or 0, 1 << ID_BITS
    if not -largest <= first <= largest:
        return [rest]
    begin, end = floor(first), min(floor(last or 0), largest)
    width = max(end - begin, 0) // RANGES + 1
    starts = [first, *(begin + k * width for k in range(1, RANGES))]
    closed = [Part(rest.state, *each) for each in zip(starts, map(below, starts[1:]), strict=False)]
    return [*closed, Part(rest.state, starts[-1], None)]
