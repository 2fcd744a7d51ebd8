"""How many items of a table are in each state, how many tasks have ended, which instances work.

Guaranteed: counted now, from the index, every query page; never DescribeTable's ItemCount, which is
up to six hours old. States of other tools are found too (`WorkflowTable.states_held`) and counted
under their own names. Not guaranteed: a consistent snapshot, see `parallel_query`.

DynamoDB bills whole items even for a query that only counts, so the query pages that count the
items also tell how far their nested tasks are, at no further cost. Of done items only the number of
tasks is read; of todo items too, unless some of their tasks have ended.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.item import State
from anamo.core.record import Record
from anamo.operator.pace import Pace
from anamo.operator.table_scan import parallel_query

logger = logging.getLogger(__name__)

STATES = tuple(state.value for state in State if state is not State.HELD)
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
        pace: How fast its tasks end.
    """

    table: str
    items: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    expired: int = 0
    units: float = 0.0
    instances: set[str] = field(default_factory=set)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        """Begin with a pace of nothing."""
        self.pace = Pace(self.table, 0.0)

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
        return {state: n for state, n in sorted(self.items.items()) if state not in STATES}

    @property
    def left(self) -> int:
        """Items that are todo or locked."""
        return self.items[State.TODO.value] + self.items[State.LOCKED.value]


def count_table(
    table: WorkflowTable,
    retry: OperatorRetry,
    note: Callable[[Record], object] | None = None,
    whole: Collection[str] | None = (State.FAILED.value,),
) -> TableCounts:
    """Count the items and tasks of a table.

    Args:
        table: The table to count.
        retry: Sends the requests.
        note: Called with each item, in the calling thread.
        whole: States whose items are read whole if there is a `note`; None for all states.

    Raises:
        AwsError: A request failed.
    """
    projections = dict.fromkeys(retry(table.states_held), Projection.STANDING)
    for state in (State.TODO.value, State.DONE.value):
        if state in projections:
            projections[state] = Projection.COUNTS
    if note:
        projections |= {s: Projection.WHOLE for s in projections if whole is None or s in whole}
    counts = TableCounts(table.name)
    # Here, once answers have set the clock, and before the records, whatever reading them takes
    counts.pace.now = table.clock.now()
    for page in parallel_query(table, projections, retry):
        counts.units += page.units
        for record in _with_progress(table, page.records, retry):
            _add(counts, record, table.clock.surely_past())
            if note:
                note(record)
    logger.info("table %s: %s read units", table.name, f"{counts.units:,.1f}")
    return counts


def _add(counts: TableCounts, record: Record, now: float) -> None:
    counts.items[record.state] += 1
    counts.tasks.update(record.task_states())
    counts.pace.add(record)
    if record.leased(now):
        counts.instances.add(record.item.instance_id)
    elif record.state == State.LOCKED:
        counts.expired += 1


def _with_progress(
    table: WorkflowTable, records: Sequence[Record], retry: OperatorRetry
) -> Sequence[Record]:
    """The records, with the Task Scripts of todo items of which some tasks have ended: released by
    a worker, or waiting for another attempt.
    """
    begun = [
        each.item.item_id
        for each in records
        if not each.item.is_nested
        and each.tasks > 1
        and each.state == State.TODO
        and each.item.log_length > 0
    ]
    if not begun:
        return records
    read = retry(lambda: table.read(begun, Projection.STANDING))
    # An item that has changed its state since it was listed is counted as listed
    current = {each.item.item_id: each for each in read if each.state == State.TODO}
    return [current.get(each.item.item_id, each) for each in records]
