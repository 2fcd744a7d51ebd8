"""Reads all items of a table that are in certain states, with parallel queries.

Guaranteed: every query page is read, so that a table of any size is read whole. Not guaranteed: a
consistent snapshot. A table that workers use changes while it is read, and the index lags behind
it: an item may be seen in two states, or in none.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from math import floor

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Part, Projection, QueryPage
from anamo.core.codec import ItemId, below
from anamo.core.item import ID_BITS

QUERY_THREADS = 8
"""Queries sent at once; the client's connection pool is larger than that."""

RANGES = 8
"""Ranges that a state is split into once it has more than one query page. The ids that PyAnamo
assigns are evenly spread and other tools number items from 1, so the ranges are of equal size."""

Query = tuple[Part, Projection]


def parallel_query(
    table: WorkflowTable, projections: Mapping[str, Projection], retry: OperatorRetry
) -> Iterator[QueryPage]:
    """Read the items of a table in some states.

    Args:
        table: The table to read.
        projections: How much of an item to read, by state.
        retry: Sends the requests; it is called from several threads.

    Returns:
        The query pages, in no particular order.

    Raises:
        AwsError: A request failed.
    """

    def read(part: Part, projection: Projection) -> tuple[QueryPage, list[Query]]:
        page = retry(lambda: table.page(part, projection))
        if page.rest is None:
            return page, []
        if part.first is not None:
            return page, [(page.rest, projection)]
        last = retry(lambda: table.last(part.state))
        return page, [(each, projection) for each in _split(page.rest, last)]

    pool = ThreadPoolExecutor(QUERY_THREADS)
    try:
        pending: set[Future[tuple[QueryPage, list[Query]]]] = {
            pool.submit(read, Part(state), projection) for state, projection in projections.items()
        }
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ready:
                page, more = future.result()
                pending |= {pool.submit(read, *query) for query in more}
                yield page
    finally:
        pool.shutdown(cancel_futures=True)


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
