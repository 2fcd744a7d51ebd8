"""Which items an operator means.

A name is a task id, which several items may share, or else an itemID. Names that mean nothing are
found out before anything is done.
"""

from collections.abc import Iterator, Sequence

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.errors import UsageError
from anamo.core.record import Record
from anamo.operator.counts import STATES
from anamo.operator.table_scan import parallel_query

DIGITS = 38
"""Of a number in DynamoDB."""


def check_state(table: WorkflowTable, state: str, retry: OperatorRetry) -> None:
    """Raises UsageError where a state is neither ours nor that of any item."""
    if state in STATES:
        return
    held = retry(table.states_held)
    if state not in held:
        known = ", ".join([*STATES, *sorted(held - set(STATES))])
        raise UsageError(f"table {table.name}: no item is {state}; states are {known}")


def in_state(
    table: WorkflowTable, state: str, wanted: Projection, retry: OperatorRetry
) -> Iterator[Record]:
    """The items in a state, in no order."""
    for page in parallel_query(table, {state: wanted}, retry):
        yield from page.records


def named(
    table: WorkflowTable, names: Sequence[str], wanted: Projection, retry: OperatorRetry
) -> Iterator[tuple[str, list[Record]]]:
    """Each name with its items, whatever their states.

    Raises UsageError which says the names that mean nothing, before it yields the first.
    """
    states = sorted(retry(table.states_held) | set(STATES))
    found = {name: _named(table, name, states, wanted, retry) for name in dict.fromkeys(names)}
    unknown = [name for name, records in found.items() if not records]
    if unknown:
        raise UsageError(f"table {table.name}: no item has the taskID or itemID {_list(unknown)}")
    yield from found.items()


def _named(
    table: WorkflowTable, name: str, states: Sequence[str], wanted: Projection, retry: OperatorRetry
) -> list[Record]:
    ids: dict[int, Record] = {}
    for state in states:
        for record in retry(lambda state=state: table.of_task(name, state, wanted)):  # type: ignore[misc]
            # An item that changes its state meanwhile is listed twice
            ids[record.item.item_id] = record
    if not ids and name.isascii() and name.isdigit() and len(name) <= DIGITS:
        return retry(lambda: table.read([int(name)], wanted))
    return sorted(ids.values(), key=lambda record: record.item.item_id)


def elsewhere(name: str, record: Record, state: str) -> str:
    """Says that an item which was named is not in the state it was meant to be in."""
    which = "" if name == str(record.item.item_id) else f" (item {record.item.item_id})"
    return f"{name}{which} is {record.state}, not {state}; left as it is"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")
