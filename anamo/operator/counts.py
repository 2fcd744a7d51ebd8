"""How many items of a table are in each state, how many tasks have ended, which instances work.

Guaranteed: counted now, from the index, every query page; never DescribeTable's ItemCount, which is
up to six hours old. States of other tools are found too (`WorkflowTable.states_present`), and
counted under their own names. Not guaranteed: a consistent snapshot, see `parallel_query`.

DynamoDB bills all that an index holds of an item even for a query that only counts, so the query
pages that count the items also tell how many tasks they have. How many nested tasks have ended in
an item that a worker holds, or has given back, is read from the table.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.item import State
from anamo.core.record import Record
from anamo.operator.pace import Pace
from anamo.operator.table_scan import parallel_query, whole_items

logger = logging.getLogger(__name__)

SHOWN_STATES = tuple(state.value for state in State if state is not State.HELD)
"""The states that are always shown; `held`, and those of other tools, only where an item is."""


@dataclass(slots=True)
class TableCounts:
    """The counts of one table.

    Attributes:
        table: The table's name.
        items: The number of items in each state.
        tasks: The number of tasks that are todo, done and failed.
        expired: The number of locked items without a live lease.
        units: Read units consumed by counting.
        instances: The instances that hold a live lease.
        pace: How fast its tasks end, if that was asked for.
    """

    table: str
    items: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    expired: int = 0
    units: float = field(default=0.0, repr=False)
    instances: set[str] = field(default_factory=set, repr=False)
    pace: Pace = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin with a pace of nothing."""
        self.pace = Pace(self.table, 0.0)

    def add(self, record: Record, past: Callable[[], float], *, pace: bool = True) -> None:
        """Count an item.

        Args:
            record: The item.
            past: Gives epoch seconds that are surely over, asked only where a lease depends on it.
            pace: Whether its pace counts, too.
        """
        self.items[record.state] += 1
        states = record.task_states()
        # Not update(), which is slower: it first asks what kind of argument it has
        for task_state, tasks in states.items():
            self.tasks[task_state] += tasks
        if pace:
            self.pace.add(record, states)
        if record.state == State.LOCKED:
            if record.leased(past()):
                self.instances.add(record.item.instance_id)
            else:
                self.expired += 1

    @property
    def workers(self) -> int:
        """How many instances hold a live lease."""
        return len(self.instances)

    @property
    def tasks_ended(self) -> int:
        """How many tasks are done or failed."""
        return self.tasks[State.DONE.value] + self.tasks[State.FAILED.value]

    @property
    def other(self) -> dict[str, int]:
        """The number of items that are held, or in a state that another tool defined."""
        return {state: n for state, n in sorted(self.items.items()) if state not in SHOWN_STATES}

    @property
    def left(self) -> int:
        """Items that are todo or locked."""
        return self.items[State.TODO.value] + self.items[State.LOCKED.value]


def count_table(
    table: WorkflowTable,
    retry: OperatorRetry,
    note: Callable[[Record], object] | None = None,
    *,
    whole: bool = False,
    pace: bool = False,
) -> TableCounts:
    """Count the items and tasks of a table.

    Args:
        table: The table to count.
        retry: Sends the requests.
        note: Called with each item, in the calling thread; failed ones are whole.
        whole: Whether all are, read from the table and not from the index.
        pace: Whether to find out the pace, too, as with a `note`. It takes longer than counting,
            but no more read units.

    Raises:
        AwsError: A request failed.
    """
    pace = pace or note is not None
    before = table.meter.consumed.read_units
    counts = TableCounts(table.name)
    states = retry(table.states_present)
    # Once an answer has set the clock, and before the records, however long reading them takes
    counts.pace.now = table.clock.now()
    if whole:
        records = whole_items(table, retry)
    else:
        records = _listed(table, states, retry, failures=note is not None, pace=pace)
    for record in records:
        counts.add(record, table.clock.surely_past, pace=pace)
        if note:
            note(record)
    counts.units = table.meter.consumed.read_units - before
    logger.info("table %s: %s read units", table.name, f"{counts.units:,.1f}")
    return counts


def _listed(
    table: WorkflowTable,
    states: Collection[str],
    retry: OperatorRetry,
    *,
    failures: bool,
    pace: bool,
) -> Iterator[Record]:
    """The items that the index lists in some states: of todo and done ones, usually the majority,
    no more than is needed; with `failures`, failed ones whole.
    """
    projections = {
        State.TODO.value: Projection.COUNTS if pace else Projection.TALLY,
        State.DONE.value: Projection.RUNS if pace else Projection.SIZES,
        State.FAILED.value: Projection.WHOLE if failures else Projection.LISTED,
    }
    by_state = {state: projections.get(state, Projection.LISTED) for state in states}
    return parallel_query(table, by_state, retry, Projection.WITHOUT_LOGS)
