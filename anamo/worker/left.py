"""What is left in the tables of a worker, for its live line.

Guaranteed: counting takes a bounded number of read units. Not guaranteed: that it is exact; the
index may lag behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from anamo.aws.pages import Part, QueryPage
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.item import State

TODO_PAGES, LOCKED_PAGES = 10, 2
"""Query pages that are read of a table at most: 1 MB each, or 128 read units."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left in the tables. A process sends it to its parent, too.

    Attributes:
        todo: How many items are todo; at least so many unless `exact`.
        exact: Whether all of them were counted.
        running: How many items have a live lease, those of this worker too.
        units: Read units that counting took. A worker process adds those of the requests for work
            that it sent meanwhile.
    """

    todo: int
    exact: bool = True
    running: int = 0
    units: float = 0.0


def count_left(tables: Sequence[WorkflowTable]) -> Left:
    """Count what is left.

    Raises:
        AwsError: As a request of a table.
    """
    todo = running = 0
    units, exact = 0.0, True
    for table in tables:
        before = table.meter.consumed.read_units
        pages, whole = _pages(table, State.TODO, Projection.COUNTS, TODO_PAGES)
        todo += sum(len(page.records) for page in pages)
        exact = exact and whole
        pages, _ = _pages(table, State.LOCKED, Projection.LISTED, LOCKED_PAGES)
        now = table.clock.surely_past()
        running += sum(record.leased(now) for page in pages for record in page.records)
        units += table.meter.consumed.read_units - before
    return Left(todo, exact, running, units)


def _pages(
    table: WorkflowTable, state: State, projection: Projection, most: int
) -> tuple[list[QueryPage], bool]:
    """The first pages of a state, and whether these are all."""
    pages: list[QueryPage] = []
    rest = Part(state.value)
    while len(pages) < most:
        page = table.page(rest, projection)
        pages.append(page)
        if page.rest is None:
            return pages, True
        rest = page.rest
    return pages, False
