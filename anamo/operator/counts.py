"""How many items of a table are in each state, how many tasks have ended, who works on it.

Guaranteed: counted now, from the index, every page; never DescribeTable's ItemCount, which is up
to six hours old. States of other tools are found too (`WorkflowTable.states_held`) and counted
under their own names. Not guaranteed: one moment, see `parallel_query`.

DynamoDB bills whole items even to a query that only counts, so the same pages that count the items
tell how far their nested tasks are, at no further cost. Of done items the number of tasks is read
and nothing else, of todo items too unless some of their tasks have ended.
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
from anamo.operator.table_scan import parallel_query

logger = logging.getLogger(__name__)

STATES = tuple(state.value for state in State)


@dataclass(slots=True)
class TableCounts:
    """items: how many are in each state. tasks: how many are todo, done and failed. expired: locked
    items without a live lease. units: read units it took.
    """

    table: str
    items: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    expired: int = 0
    units: float = 0.0
    instances: set[str] = field(default_factory=set)

    @property
    def workers(self) -> int:
        """How many instances hold a live lease."""
        return len(self.instances)

    @property
    def other(self) -> dict[str, int]:
        """The states that are not ours, with their items."""
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
    """Count a table. `note` is given each item, read whole if it is in one of the states `whole`;
    None stands for all states.

    Raises what a request of `table` raises.
    """
    wanted = dict.fromkeys(retry(table.states_held), Projection.STANDING)
    light = {State.TODO.value: Projection.COUNTS, State.DONE.value: Projection.COUNTS}
    wanted |= {state: each for state, each in light.items() if state in wanted}
    if note:
        wanted |= {s: Projection.WHOLE for s in wanted if whole is None or s in whole}
    census = TableCounts(table.name)
    for page in parallel_query(table, wanted, retry):
        census.units += page.units
        for record in _with_progress(table, page.records, retry):
            _count(census, record, table.clock.now())
            if note:
                note(record)
    logger.info("table %s: %s read units", table.name, f"{census.units:,.1f}")
    return census


def _count(census: TableCounts, record: Record, now: float) -> None:
    census.items[record.state] += 1
    census.tasks.update(record.task_states())
    if record.leased(now):
        census.instances.add(record.item.instance_id)
    elif record.state == State.LOCKED:
        census.expired += 1


def _with_progress(
    table: WorkflowTable, records: Sequence[Record], retry: OperatorRetry
) -> Sequence[Record]:
    """The records, with the Task Scripts of those that are todo although tasks of theirs ended:
    released by a worker, or to be tried again.
    """
    begun = [each.item.item_id for each in records if _begun(each)]
    if not begun:
        return records
    read = retry(lambda: table.read(begun, Projection.STANDING))
    # By the state they were listed in, for one moment as far as that goes
    there = {each.item.item_id: each for each in read if each.state == State.TODO}
    return [there.get(each.item.item_id, each) for each in records]


def _begun(record: Record) -> bool:
    unread = not record.item.is_nested and record.tasks > 1
    return unread and record.state == State.TODO and record.item.log_length > 0
