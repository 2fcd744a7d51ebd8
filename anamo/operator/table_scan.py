"""Reading all items of a table that are in certain states, in parallel.

Guaranteed: every page is followed to its end, so that a table of any size is read whole. Not
guaranteed: one moment. A table that is being worked on changes while it is read, and the index
lags behind it: an item may be seen in two states, or in none.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Part, Projection, QueryPage

THREADS = 8
"""Pages read at once; the client keeps more connections than that."""

RANGES = 8
"""Parts that a state is split into once it has more than one page. The ids of an import are evenly
spread, so the parts are equal; other tools number from 1, and theirs are too."""

Task = tuple[Part, Projection]


def parallel_query(
    table: WorkflowTable, states: Mapping[str, Projection], retry: OperatorRetry
) -> Iterator[QueryPage]:
    """The items of the table that are in these states, with what is wanted of each state's; pages
    come in no order.

    Raises what a request of `table` raises.
    """

    def read(part: Part, wanted: Projection) -> tuple[QueryPage, list[Task]]:
        page = retry(lambda: table.page(part, wanted))
        if page.rest is None:
            return page, []
        if part.first is not None:
            return page, [(page.rest, wanted)]
        last = retry(lambda: table.last(part.state))
        return page, [(each, wanted) for each in _split(page.rest, last)]

    pool = ThreadPoolExecutor(THREADS)
    try:
        pending: set[Future[tuple[QueryPage, list[Task]]]] = {
            pool.submit(read, Part(state), wanted) for state, wanted in states.items()
        }
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ready:
                page, more = future.result()
                pending |= {pool.submit(read, part, wanted) for part, wanted in more}
                yield page
    finally:
        pool.shutdown(cancel_futures=True)


def _split(rest: Part, last: int | None) -> list[Part]:
    """The part in RANGES equal ones, the last of them open: items may yet come behind `last`."""
    first = rest.first or 0
    width = max((last or 0) - first, 0) // RANGES + 1
    cuts = [first + k * width for k in range(RANGES)]
    closed = [Part(rest.state, cut, cut + width - 1) for cut in cuts[:-1]]
    return [*closed, Part(rest.state, cuts[-1], None)]
