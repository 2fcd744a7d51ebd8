"""Items and tasks one after another: what `pyanamo.py export` and `anamo.workflow` iterate over.

Guaranteed: an item is given once, and a table of any size takes no more memory than some pages and
the itemIDs. Not guaranteed: a consistent snapshot, see `table_scan`.
"""

from collections.abc import Callable, Iterator
from functools import partial

from anamo.aws.retry import OperatorRetry
from anamo.aws.table_reads import Projection
from anamo.core.codec import ItemId
from anamo.core.item import NULL
from anamo.core.record import Record
from anamo.core.task import Task, tasks_of
from anamo.operator.selection import selected_items
from anamo.operator.table_scan import whole_items
from anamo.operator.target import Target


def records(
    target: Target, state: str | None, retry: OperatorRetry, say: Callable[[str], object]
) -> Iterator[tuple[str, Record]]:
    """The items, whole, each with the name of its table; in no particular order within a table.

    Args:
        target: Tables and names; without names, all items.
        state: Items in this state only; None for any.
        retry: Sends the requests.
        say: Called with messages about names that a table lacks, or items in another state.

    Yields:
        Without names and a state, every item that is in a table when reading begins, once, in a
        state that it has meanwhile: the table itself is read. With them an index is asked, which
        may miss an item that changes its state meanwhile.

    Raises:
        UsageError: A name or the state is unknown; before the first item is yielded.
        AwsError: A table cannot be read, or a request failed.
    """
    target.check()
    if target.names or state:
        yield from _selected(target, state, retry, say)
        return
    for table in target.tables:
        for record in whole_items(table, retry):
            # Without a state it is no item of a workflow
            if record.state != NULL:
                yield table.name, record


def _selected(
    target: Target, state: str | None, retry: OperatorRetry, say: Callable[[str], object]
) -> Iterator[tuple[str, Record]]:
    """The items that were named, or are in a state."""
    states = [state] if state else []
    # While it is read, an item that changes its state may be listed in both
    seen: set[tuple[str, ItemId]] = set()
    for table, listed in selected_items(
        target, states, Projection.WHOLE, retry, say, lambda message: say(f"{message}; left out")
    ):
        record: Record | None = listed
        if not listed.item.is_nested and not listed.item.script:
            # It has changed its state since an index listed it that does not hold it whole
            item_ids = [listed.item.item_id]
            record = next(iter(retry(partial(table.read, item_ids, Projection.WHOLE))), None)
        if record is None or (state and record.state != state):
            continue
        if (key := (table.name, record.item.item_id)) not in seen:
            seen.add(key)
            yield table.name, record


def tasks(
    target: Target, state: str | None, retry: OperatorRetry, say: Callable[[str], object]
) -> Iterator[Task]:
    """The tasks of these items; arguments and errors are those of `records`."""
    for table, record in records(target, state, retry, say):
        yield from tasks_of(table, record)
