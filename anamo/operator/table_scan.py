"""Reads all items of a table, by parallel queries of its index or by a scan of the table itself.

Guaranteed: every page is read, so that a table of any size is read whole; a scan sees every item
that was in the table when it began, once, in a state that it had meanwhile. Not guaranteed: a
consistent snapshot. A table that workers use changes while it is read, and the index lags behind
it: a query may see an item in two states, or in none.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
"""Items of the first page of a state; what comes after it is read in parallel."""

RANGES = 8
"""Ranges that a state is split into once it has more items than that. The ids that PyAnamo
assigns are evenly spread and other tools number items from 1, so the ranges are of equal size."""

Query = tuple[Part, Projection]


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
    with ThreadPoolExecutor(SEGMENTS) as pool:
        pending = {pool.submit(read, Segment(number, SEGMENTS)) for number in range(SEGMENTS)}
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ready:
                page = future.result()
                if page.rest:
                    pending.add(pool.submit(read, page.rest))
                note(len(page.records))
                yield from page.records


def _with_progress(
    table: WorkflowTable, records: Sequence[Record], retry: OperatorRetry, projection: Projection
) -> Sequence[Record]:
    """Records that an index listed, with the Task Scripts of those whose tasks cannot be counted
    without: what a record of results changes is in no index.
    """
    unclear = [each.item.item_id for each in records if each.unclear]
    if not unclear:
        return records
    current: dict[ItemId, Record] = {}
    for begin in range(0, len(unclear), TRANSACTION_LIMIT):
        part = unclear[begin : begin + TRANSACTION_LIMIT]
        read = retry(partial(table.read, part, projection, consistent=False))
        current |= {each.item.item_id: each for each in read}
    # An item that has changed its state since it was listed is counted as listed
    found = [current.get(each.item.item_id, each) for each in records]
    return [
        now if now.state == each.state else each for each, now in zip(records, found, strict=True)
    ]


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
        progress: How much to read of an item whose tasks cannot be counted without its Task
            Scripts, since what a record of results changes is in no index; None to leave it.

    Returns:
        The items, in no particular order.

    Raises:
        AwsError: A request failed.
    """

    def read(part: Part, projection: Projection) -> tuple[Sequence[Record], list[Query]]:
        records, parts = _read_part(table, part, projection, retry)
        more = [(each, projection) for each in parts]
        return _with_progress(table, records, retry, progress) if progress else records, more

    note = retry.reading(table.name)
    pool = ThreadPoolExecutor(QUERY_THREADS)
    try:
        pending: set[Future[tuple[Sequence[Record], list[Query]]]] = {
            pool.submit(read, Part(state), projection) for state, projection in projections.items()
        }
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            # All of them before the caller counts what was read: no thread should wait for that
            for future in ready:
                pending |= {pool.submit(read, *query) for query in future.result()[1]}
            for future in ready:
                records, _ = future.result()
                note(len(records))
                yield from records
    finally:
        pool.shutdown(cancel_futures=True)


def _read_part(
    table: WorkflowTable, part: Part, projection: Projection, retry: OperatorRetry
) -> tuple[Sequence[Record], list[Part]]:
    """A page of a part, and the parts that are left of it."""
    limit = FIRST_PAGE if part.first is None else None
    page = retry(lambda: table.page(part, projection, limit))
    if page.rest is None:
        return page.records, []
    if part.first is not None:
        return page.records, [page.rest]
    return page.records, _split(page.rest, retry(lambda: table.last(part.state)))


def _split(rest: Part, last: ItemId | None) -> list[Part]:
    """Split a part into RANGES equal ones; the last has no end: items may be added after `last`,
    and other tools' itemIDs may be far larger than ours.
    """
    first = rest.first or 0
    begin, end = floor(first), min(floor(last or 0), 1 << ID_BITS)
    width = max(end - begin, 0) // RANGES + 1
    starts = [first, *(begin + k * width for k in range(1, RANGES))]
    closed = [Part(rest.state, *each) for each in zip(starts, map(below, starts[1:]), strict=False)]
    return [*closed, Part(rest.state, starts[-1], None)]
