"""Which items an operator means.

A name is a task id, which several items may share, or else an itemID. Unknown names are reported
before anything is done.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.codec import ItemId, key_named
from anamo.core.errors import UsageError
from anamo.core.item import State
from anamo.core.record import Record
from anamo.operator.table_scan import parallel_query, with_progress

STATES = tuple(state.value for state in State)


def check_state(table: WorkflowTable, state: str, retry: OperatorRetry) -> None:
    """Raises UsageError if a state is neither one of PyAnamo's nor that of any item."""
    if state in STATES:
        return
    held = retry(table.states_held)
    if state not in held:
        known = ", ".join([*STATES, *sorted(held - set(STATES))])
        raise UsageError(f"table {table.name}: no item is {state}; states are {known}")


def items_in_state(
    table: WorkflowTable, state: str, projection: Projection, retry: OperatorRetry
) -> Iterator[Record]:
    """The items in a state, in no particular order."""
    for page in parallel_query(table, {state: projection}, retry):
        if projection is Projection.LISTED:
            yield from with_progress(table, page.records, retry, Projection.WHOLE)
        else:
            yield from page.records


def selected_items(
    table: WorkflowTable,
    names: Sequence[str],
    state: str | None,
    projection: Projection,
    retry: OperatorRetry,
    say: Callable[[str], object],
) -> Iterator[Record]:
    """The items that a command line selects.

    Args:
        table: The table they are in.
        names: Task ids or itemIDs; none for all items in `state`.
        state: Items in this state only; None, which needs names, for any.
        projection: How much of each item to read.
        retry: Sends the requests.
        say: Called with a message about each named item that is in another state.

    Raises:
        UsageError: A name or the state is unknown; before the first item is yielded.
        AwsError: A request failed.
    """
    if state:
        check_state(table, state, retry)
        if not names:
            yield from items_in_state(table, state, projection, retry)
            return
    states = sorted(retry(table.states_held) | set(STATES))
    found = {name: _named(table, name, states, projection, retry) for name in dict.fromkeys(names)}
    unknown = [name for name, records in found.items() if not records]
    if unknown:
        more = f" and {len(unknown) - 10:,} more" if len(unknown) > 10 else ""
        listed = ", ".join(unknown[:10]) + more
        raise UsageError(f"table {table.name}: no item has the taskID or itemID {listed}")
    for name, records in found.items():
        for record in records:
            if state in (None, record.state):
                yield record
            else:
                item_id = str(record.item.item_id)
                which = "" if name == item_id else f" (item {item_id})"
                say(f"{name}{which} is {record.state}, not {state}; left as it is")


def _named(
    table: WorkflowTable,
    name: str,
    states: Sequence[str],
    projection: Projection,
    retry: OperatorRetry,
) -> list[Record]:
    # By itemID: an item that changes its state meanwhile is listed twice
    found: dict[ItemId, Record] = {}
    for state in states:
        records = retry(partial(table.of_task, name, state, projection))
        found |= {record.item.item_id: record for record in records}
    key = key_named(name)
    if not found and key is not None:
        return retry(lambda: table.read([key], projection))
    return [found[item_id] for item_id in sorted(found)]
