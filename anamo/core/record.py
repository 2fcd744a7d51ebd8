"""What a table holds of an item, results included: what operators read and workers do not.

Guaranteed: an item that another tool wrote is read as far as it says something; what it lacks
counts as unset.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from anamo.core.item import NULL, Attributes, Item, State, from_attributes, task_order
from anamo.core.log_entry import LogEntry
from anamo.worker.claim import SINGLE

ENDED = (State.DONE.value, State.FAILED.value)
"""States of a task that will not run."""


@dataclass(frozen=True, slots=True)
class Record:
    """An item as it was read.

    tasks: how many it holds, even where its Task Scripts were not read. locked, ended: when it was
    claimed last and when it ended last, in UTC as ISO 8601, or "NULL". logs: the entries of its
    tasks in their order; a single item's is called "".
    """

    item: Item
    tasks: int
    locked: str
    ended: str
    logs: Mapping[str, LogEntry]

    @property
    def state(self) -> str:
        """The item's state; another tool's may be none of `State`."""
        return self.item.state

    def task_states(self) -> Counter[str]:
        """How many of its tasks are todo, done and failed. In an item that has ended all have."""
        if self.item.is_nested:
            states = Counter(
                task.status if task.status in ENDED else State.TODO.value
                for task in self.item.nested
            )
            states[State.TODO.value] += self.tasks - states.total()
            return states
        if self.state == State.DONE or (self.state == State.FAILED and self.tasks == 1):
            return Counter({self.state: self.tasks})
        return Counter({State.TODO.value: self.tasks})

    def failed_tasks(self) -> list[tuple[str, LogEntry]]:
        """Names and log entries of the tasks that failed and will not run again by themselves."""
        if not self.item.is_nested:
            names = [SINGLE] if self.state == State.FAILED else []
        else:
            names = [task.name for task in self.item.nested if task.status == State.FAILED]
        return [(name, self.logs[name]) for name in names if name in self.logs]

    def leased(self, now: float) -> bool:
        """Whether a worker holds it by a lease that has not ended; `now` in epoch seconds."""
        lease = self.item.lease_expires
        return self.state == State.LOCKED and lease is not None and lease >= now

    @property
    def since(self) -> str:
        """Since when it is in its state, in UTC as ISO 8601; empty where nothing says so."""
        stamp = {State.LOCKED: self.locked, State.DONE: self.ended, State.FAILED: self.ended}
        when = next((date for state, date in stamp.items() if state == self.state), NULL)
        return "" if when == NULL else when


def record_from(image: Attributes) -> Record:
    """The record of what DynamoDB returned, all attributes or some."""
    item = from_attributes(image)
    held = image.get("Nested_Tasks", {}).get("N")
    return Record(
        item=item,
        tasks=max(item.tasks, int(float(held))) if held else item.tasks,
        locked=str(image.get("Lock_Date", {}).get("S", NULL)),
        ended=str(image.get("Done_Date", {}).get("S", NULL)),
        logs=_logs(image.get("Log", {}).get("M", {})),
    )


def _logs(entries: Attributes) -> dict[str, LogEntry]:
    """A single item's Log is an entry, a nested one's holds an entry a task."""
    if "S" in entries.get("Status", {}):
        return {SINGLE: LogEntry.from_attribute({"M": entries})}
    return {
        name: LogEntry.from_attribute(entries[name])
        for name in sorted(entries, key=task_order)
        if "M" in entries[name]
    }
