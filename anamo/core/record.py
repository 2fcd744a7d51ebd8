"""What a table holds of an item, results included: what operators read and workers do not.

Guaranteed: any item that another tool wrote can be read; what it lacks counts as unset.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from anamo.core.codec import Values, mapping, text, whole
from anamo.core.item import NULL, SINGLE, Item, State, task_order
from anamo.core.log_entry import LogEntry

ENDED = (State.DONE.value, State.FAILED.value)
"""States of a task that does not run again on its own."""

LAST_SECOND = 32_503_680_000
"""The year 3000: another tool may have written any date."""


@dataclass(frozen=True, slots=True)
class Record:
    """An item as it was read, with all its attributes or some.

    Attributes:
        item: What workers read of it.
        tasks: How many tasks it has, even where its Task Scripts were not read.
        locked: When it was claimed last, in UTC as ISO 8601, or "NULL".
        ended: When it ended last, likewise.
        logs: The log entries of its tasks in their order; a single item's is called SINGLE.
        failed: How many nested tasks have failed, where that is on record and all have ended.
        seen: What the table holds as `lockID`, `Log_Length` and `Ended_Tasks`, in whatever form;
            None for nothing.
    """

    item: Item
    tasks: int
    locked: str
    ended: str
    logs: Mapping[str, LogEntry]
    failed: int | None = None
    seen: tuple[Any, Any, Any] = (None, None, None)

    @classmethod
    def from_values(cls, values: Values) -> "Record":
        """The record of an item that was read."""
        item = Item.from_values(values)
        return cls(
            item=item,
            tasks=max(item.tasks, whole(values, "Nested_Tasks")),
            locked=text(values, "Lock_Date", NULL),
            ended=text(values, "Done_Date", NULL),
            logs=_logs(mapping(values, "Log"), item.s3_prefixes),
            failed=whole(values, "Failed_Tasks") or None,
            seen=(values.get("lockID"), values.get("Log_Length"), values.get("Ended_Tasks")),
        )

    @property
    def state(self) -> str:
        """The item's state; that of another tool's item may be none of `State`."""
        return self.item.state

    @property
    def unclear(self) -> bool:
        """Whether `task_states` would have to know its Task Scripts, and they were not read."""
        if self.item.is_nested or self.tasks < 2 or self.state == State.DONE:
            return False
        if self.state in (State.TODO, State.HELD):
            # A worker may have given it back with some of its tasks ended
            return self.locked != NULL
        return self.state != State.FAILED or self.failed is None

    def task_states(self) -> Counter[str]:
        """How many of its tasks are todo, done and failed. In an item that is done all are."""
        if self.item.is_nested:
            states = Counter(
                task.status if task.status in ENDED else State.TODO.value
                for task in self.item.nested
            )
            states[State.TODO.value] += self.tasks - states.total()
            return states
        if self.state == State.DONE or (self.state == State.FAILED and self.tasks == 1):
            return Counter({self.state: self.tasks})
        if self.state == State.FAILED and self.failed:
            return Counter({State.DONE.value: self.tasks - self.failed, self.state: self.failed})
        return Counter({State.TODO.value: self.tasks})

    def failed_tasks(self) -> list[tuple[str, LogEntry]]:
        """Names and log entries of the tasks that failed and do not run again on their own."""
        if not self.item.is_nested:
            names = [SINGLE] if self.state == State.FAILED else []
        else:
            names = [task.name for task in self.item.nested if task.status == State.FAILED]
        return [(name, self.logs[name]) for name in names if name in self.logs]

    def has_ended(self, name: str) -> bool:
        """Whether a task does not run again on its own; the log entry of one that does is that of
        an earlier run. A nested task that was taken out of the item has ended.
        """
        if not self.item.is_nested:
            return self.state in ENDED
        return next((each.status in ENDED for each in self.item.nested if each.name == name), True)

    def tasks_named(self, name: str) -> list[str]:
        """The nested tasks that a person means by a name, `Task_3`, an argument, `chr4`, or both as
        they are shown, `Task_3 chr4`.
        """
        tasks = [*dict.fromkeys([*(task.name for task in self.item.nested), *self.logs])]
        tasks = [task for task in tasks if task != SINGLE]
        if name in tasks:
            return [name]
        arguments = self.item.arguments
        return [
            task
            for task in tasks
            if name in (arguments.get(task), _title(task, arguments.get(task, "")))
        ]

    def task_title(self, name: str) -> str:
        """A nested task's name with what tells it from its siblings, such as "Task_3 chr4"."""
        return _title(name, self.item.arguments.get(name, ""))

    def task_titles(self) -> dict[str, str]:
        """The titles of all nested tasks, by name. Finding one title reads all Task Scripts, so for
        many tasks this is what to ask.
        """
        return {name: _title(name, argument) for name, argument in self.item.arguments.items()}

    def leased(self, now: float) -> bool:
        """Whether a worker holds it and its lease has not ended; `now` is in epoch seconds."""
        lease = self.item.lease_expires
        return self.state == State.LOCKED and lease is not None and lease >= now

    def claim_span(self, now: float) -> tuple[float, float] | None:
        """When its last claim began and ended, or `now` while that is alive; in epoch seconds. None
        where that is not known: the item is waiting, its worker has died, or a date is not a
        timestamp.
        """
        begin, end = _epoch(self.locked), _epoch(self.ended)
        if self.leased(now):
            end = now
        elif self.state not in ENDED:
            return None
        return None if begin is None or end is None or end < begin else (begin, end)

    @property
    def since(self) -> str:
        """When it entered its state, in UTC as ISO 8601; empty where that is not known."""
        when = NULL
        if self.state == State.LOCKED:
            when = self.locked
        elif self.state in ENDED:
            when = self.ended
        return "" if when == NULL else when


def _title(name: str, argument: str) -> str:
    return f"{name} {argument}" if name and argument else name or argument


def _epoch(stamp: str) -> float | None:
    """The epoch seconds of an ISO 8601 timestamp, in UTC unless it has a time zone; None if it is
    not one, or of another era.
    """
    try:
        when = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
        seconds = (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < LAST_SECOND else None


def _logs(entries: Values, prefixes: Sequence[str]) -> dict[str, LogEntry]:
    """The Log of a single item is an entry; that of a nested item maps its tasks to entries."""
    if not entries:
        return {}
    if isinstance(entries.get("Status"), str):
        return {SINGLE: LogEntry.from_values(entries, prefixes)}
    return {
        name: LogEntry.from_values(entries[name], prefixes)
        for name in sorted(entries, key=task_order)
        if isinstance(entries[name], dict)
    }
