"""Which items an operator means.

A name is a task id, which several items may share, or else an itemID. Guaranteed: a name that no
table has is reported before anything is done; a message names one that only some tables have.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.codec import ItemId, key_named
from anamo.core.errors import UsageError
from anamo.core.item import State
from anamo.core.record import Record
from anamo.operator.table_scan import QUERY_THREADS, parallel_query
from anamo.operator.target import Target

KNOWN_STATES = tuple(state.value for state in State)

_BEFORE = (State.HELD.value, State.TODO.value)
_AFTER = (State.LOCKED.value, State.DONE.value, State.FAILED.value)
"""The states in the order in which items go through them, before and after those of other tools.
Queries one after another in this order see an item that goes on meanwhile."""

MANY = 100
"""With more names than this, whole tables are read: each name takes a query for each state."""

NAMED = 20
"""The most names that a message lists, and the most messages about one item each."""

Selected = tuple[WorkflowTable, Record]

ByName = Mapping[str, Sequence[Record]]
"""The items that each name means in a table."""


def check_state(tables: Sequence[WorkflowTable], state: str, retry: OperatorRetry) -> None:
    """Check that a state is one of PyAnamo's, or that some item is in it.

    Args:
        tables: Where an item may be in it.
        state: The state.
        retry: Sends the requests.

    Raises:
        UsageError: It is neither.
        AwsError: A request failed.
    """
    if state in KNOWN_STATES:
        return
    present: set[str] = set()
    for table in tables:
        present |= retry(table.states_present)
    if state not in present:
        known = ", ".join([*KNOWN_STATES, *sorted(present - set(KNOWN_STATES))])
        raise UsageError(f"{table_names(tables)}: no item is in state {state}; states: {known}")


def items_in_states(
    table: WorkflowTable, states: Collection[str], projection: Projection, retry: OperatorRetry
) -> Iterator[Record]:
    """The items in some states, in no particular order.

    Args:
        table: The table to read.
        states: The states.
        projection: How much of each item to read.
        retry: Sends the requests; it is called from several threads.

    Raises:
        AwsError: A request failed.
    """
    progress = Projection.WHOLE if projection is Projection.LISTED else None
    return parallel_query(table, dict.fromkeys(states, projection), retry, progress)


def selected_items(
    target: Target,
    states: Sequence[str],
    projection: Projection,
    retry: OperatorRetry,
    say: Callable[[str], object],
    skip: Callable[[str], object],
) -> Iterator[Selected]:
    """The items that a command line selects, each with its table.

    Args:
        target: Tables and names; without names, all items in `states`.
        states: Items in these states only; empty for any.
        projection: How much of each item to read.
        retry: Sends the requests.
        say: Called with a message about each table that lacks some of the names.
        skip: Called with a message about each named item that is in another state.

    Raises:
        UsageError: A name or a state is unknown; before the first item is yielded.
        AwsError: A request failed.
    """
    for state in states:
        check_state(target.tables, state, retry)
    if not target.names:
        for table in target.tables:
            listed_states = states or sorted(retry(table.states_present))
            for record in items_in_states(table, listed_states, projection, retry):
                yield table, record
        return
    found = named_items(target, projection, retry)
    check_names(target, found)
    say_lacking(found, say)
    other = f", not {states[0]}" if len(states) == 1 else ""
    for table in target.tables:
        where = f"table {table.name}: " if len(target.tables) > 1 else ""
        for name, record in each_once(found[table.name]):
            if not states or record.state in states:
                yield table, record
                continue
            item_id = str(record.item.item_id)
            which = "" if name == item_id else f" (item {item_id})"
            skip(f"{where}{name}{which} is {record.state}{other}")


def each_once(found: ByName) -> Iterator[tuple[str, Record]]:
    """The items, each with the first name that means it."""
    seen: set[ItemId] = set()
    for name, records in found.items():
        for record in records:
            if record.item.item_id not in seen:
                seen.add(record.item.item_id)
                yield name, record


def named_items(target: Target, projection: Projection, retry: OperatorRetry) -> dict[str, ByName]:
    """The items that names mean, by table and name; none where a table lacks a name. A name that is
    a taskID in one of the tables is no itemID in the others.

    Args:
        target: The tables and the names.
        projection: How much of each item to read.
        retry: Sends the requests; it is called from several threads.

    Raises:
        AwsError: A request failed.
    """
    read = _read_all if len(target.names) > MANY else _read_each
    found = {table.name: read(table, target.names, projection, retry) for table in target.tables}
    task_ids = {
        name
        for by_name in found.values()
        for name, records in by_name.items()
        if any(record.item.task_id == name for record in records)
    }
    return {
        table: {
            name: [each for each in records if each.item.task_id == name or name not in task_ids]
            for name, records in by_name.items()
        }
        for table, by_name in found.items()
    }


def check_names(target: Target, found: Mapping[str, ByName]) -> None:
    """Check that each name means an item in at least one of the tables.

    Args:
        target: The tables and the names.
        found: The items that the names mean, as `named_items` gives them.

    Raises:
        UsageError: A name means none.
    """
    unknown = [name for name in target.names if not any(each[name] for each in found.values())]
    if unknown:
        tables = table_names(target.tables)
        raise UsageError(
            f"{tables}: no item has the taskID or itemID {first_names(unknown)}"
            f"{_nor_table(target, unknown)}"
        )


def say_lacking(found: Mapping[str, ByName], say: Callable[[str], object]) -> None:
    """Report the names that some of the tables lack.

    Args:
        found: The items that the names mean, as `named_items` gives them.
        say: Called with a message for each table that lacks any.
    """
    for table, each in found.items():
        lacking = [name for name, records in each.items() if not records]
        if lacking:
            say(f"table {table}: no item has the taskID or itemID {first_names(lacking)}")


def first_lines(lines: Sequence[str], what: str) -> list[str]:
    """The first of some messages about one item each, and how many more there are.

    Args:
        lines: The messages.
        what: What the others are, such as "left as they are".
    """
    more = [f"and {len(lines) - NAMED:,} more {what}"] if len(lines) > NAMED else []
    return [*lines[:NAMED], *more]


def first_names(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _nor_table(target: Target, unknown: Sequence[str]) -> str:
    """What a message adds about a word after -t, which is no table either."""
    fault = next(filter(None, map(target.doubtful.get, unknown)), None)
    return f", and {fault}" if fault else ""


def table_names(tables: Sequence[WorkflowTable]) -> str:
    """Tables as a message names them, such as "tables Align, Call"."""
    return f"table{'s' if len(tables) > 1 else ''} {', '.join(table.name for table in tables)}"


def _read_each(
    table: WorkflowTable, names: Sequence[str], projection: Projection, retry: OperatorRetry
) -> ByName:
    present = retry(table.states_present) | set(KNOWN_STATES)
    states = [*_BEFORE, *sorted(present - set(KNOWN_STATES)), *_AFTER]

    def read(name: str) -> list[Record]:
        # By itemID: an item that changes its state meanwhile is listed twice
        found: dict[ItemId, Record] = {}
        for state in states:
            records = table.of_task(name, state, projection, retry)
            found |= {record.item.item_id: record for record in records}
        key = key_named(name)
        if not found and key is not None:
            return table.read([key], projection, retry=retry)
        return [found[item_id] for item_id in sorted(found)]

    with retry.pool(QUERY_THREADS) as pool:
        return dict(zip(names, pool.map(read, names), strict=True))


def _read_all(
    table: WorkflowTable, names: Sequence[str], projection: Projection, retry: OperatorRetry
) -> dict[str, Sequence[Record]]:
    """The same, by reading every item of the table."""
    by_task: dict[str, dict[ItemId, Record]] = defaultdict(dict)
    by_key: dict[ItemId | None, Record] = {}
    task_ids, keys = set(names), set(map(key_named, names)) - {None}
    for record in items_in_states(table, retry(table.states_present), projection, retry):
        item = record.item
        if item.task_id in task_ids:
            by_task[item.task_id][item.item_id] = record
        if item.item_id in keys:
            by_key[item.item_id] = record

    def found(name: str) -> list[Record]:
        records = by_task.get(name, {})
        if not records and (record := by_key.get(key_named(name))):
            return [record]
        return [records[item_id] for item_id in sorted(records)]

    by_name: dict[str, Sequence[Record]] = {name: found(name) for name in names}
    # An item that changes its state while the table is read may be seen in none
    unseen = [name for name, records in by_name.items() if not records]
    if unseen and len(unseen) <= MANY:
        by_name |= _read_each(table, unseen, projection, retry)
    return by_name
