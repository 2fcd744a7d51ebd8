"""Items that an import leaves behind: a line was corrected, and the item of the old line is still
in the table, under the same task id with another command.

Guaranteed: an old item is removed by the transaction that adds the new ones of its task id, and
only if no worker holds it. Not guaranteed: that every old item is found, since the index that lists
them lags behind the table.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from anamo.aws.dynamodb import TRANSACTION_LIMIT
from anamo.aws.retry import Retry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.aws.table_writes import TRANSACTION_BYTES
from anamo.core.codec import ItemId
from anamo.core.item import Item, State, new_values
from anamo.core.item_size import size_of
from anamo.core.record import Record
from anamo.core.transitions import REMOVE
from anamo.importer.threads import Threads

LOOKED_UP = 1000
"""New items whose task ids an import looks up; each takes half a read unit for each state."""


@dataclass(slots=True)
class Replaced:
    """The result of replacing the items of some task ids.

    Attributes:
        task_ids: The task ids; an import has nothing more to do for them.
        removed: How many old items were removed.
        new: How many items were added.
        existing: The states of the task file's items that were there already.
        left: Why task ids were left as they are, a message each.
    """

    task_ids: set[str] = field(default_factory=set)
    removed: int = 0
    new: int = 0
    existing: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)

    def add(self, other: "Replaced") -> None:
        """Add the result for other task ids."""
        self.task_ids |= other.task_ids
        self.removed += other.removed
        self.new += other.new
        self.existing += other.existing
        self.left += other.left


class Replacement:
    """Finds and replaces the old items of one table.

    Args:
        table: The table.
        items: All items of the task file, by itemID.
        retry: Sends the requests.
        threads: Look up and replace several task ids at once.
    """

    def __init__(
        self,
        table: WorkflowTable,
        items: Mapping[ItemId, Item],
        retry: Retry,
        threads: Threads,
    ) -> None:
        self._table = table
        self._threads = threads
        self._items = items
        self._of_task = defaultdict[str, list[Item]](list)
        for item in items.values():
            self._of_task[item.task_id].append(item)
        self._retry = retry

    def states(self) -> list[str]:
        """The states that items of the table are in."""
        return [state.value for state in State if self._retry(partial(self._has, state.value))]

    def _has(self, state: str) -> bool:
        return self._table.last(state) is not None

    def old(self, items: Iterable[Item], states: Sequence[str]) -> dict[str, list[Record]]:
        """Items of the table that have these task ids, but are not in the task file; by task id.

        Args:
            items: Items of the task file.
            states: The states to look in.
        """
        task_ids = list(dict.fromkeys(item.task_id for item in items)) if states else []
        with self._threads.pool() as pool:
            found = list(pool.map(partial(self._old_of_task, states=states), task_ids))
        return {name: records for name, records in zip(task_ids, found, strict=True) if records}

    def _old_of_task(self, task_id: str, states: Sequence[str]) -> list[Record]:
        # By itemID: an item that changes its state meanwhile is listed twice
        found: dict[ItemId, Record] = {}
        for state in states:
            for record in self._table.of_task(task_id, state, Projection.STEP, self._retry):
                if record.item.item_id not in self._items:
                    found[record.item.item_id] = record
        return list(found.values())

    def replace(self, old: Mapping[str, Sequence[Record]]) -> Replaced:
        """Take old items away and add the new ones of their task ids."""
        replaced = Replaced()
        with self._threads.pool() as pool:
            for part in pool.map(self._replace, old, old.values()):
                replaced.add(part)
        return replaced

    def _replace(self, task_id: str, listed: Sequence[Record]) -> Replaced:
        old = self._read([record.item for record in listed], Projection.WITHOUT_LOGS)
        if not old:
            return Replaced()
        there = self._read(self._of_task[task_id], Projection.STEP)
        known = {record.item.item_id for record in there}
        new = [item for item in self._of_task[task_id] if item.item_id not in known]
        if any(record.state == State.HELD for record in old):
            # Who held the old item has not said that the new one may be claimed
            new = [replace(item, state=State.HELD.value) for item in new]
        why = self._obstacle(old, new)
        if not why and not self._retry(self._table.replacement(old, new)):
            why = "the old item has changed in the meantime (try again)"
        states = Counter(record.state for record in there)
        if why:
            return Replaced({task_id}, existing=states, left=[f"{task_id}: {why}"])
        return Replaced({task_id}, len(old), len(new), states)

    def _read(self, items: Sequence[Item], projection: Projection) -> list[Record]:
        item_ids = [item.item_id for item in items]
        return self._table.read(item_ids, projection, retry=self._retry)

    def _obstacle(self, old: Sequence[Record], new: Sequence[Item]) -> str:
        """Why items cannot be replaced; empty if they can."""
        if len(old) + len(new) > TRANSACTION_LIMIT:
            return f"the task id has more than {TRANSACTION_LIMIT} items: remove the old ones first"
        if sum(size_of(new_values(item)) for item in new) > TRANSACTION_BYTES:
            most = f"{TRANSACTION_BYTES // 10**6} MB"
            return f"the task id has more than {most} of new items: remove the old ones first"
        for record in old:
            if record.leased(self._table.clock.now()):
                holder = record.item.instance_id
                return f"item {record.item.item_id} is locked by {holder} (try again later)"
            if record.state not in REMOVE.sources:
                return f"item {record.item.item_id} is {record.state}"
        return ""
