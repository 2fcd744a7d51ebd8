"""A claim that this process holds, and how its tasks stand.

Guaranteed: the same object is seen by the threads that run, record and renew; `lost` never goes
back to False.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from anamo.entry import LogEntry
from anamo.item import Item, NestedTask, State

SINGLE = ""
"""The name of a single item's task among results."""


@dataclass(slots=True, eq=False)
class Claim:
    """One claim of one item.

    tail: bytes a stream may have in a log entry. statuses: of its tasks by name. done: how many
    ended well, failures: names and statuses of the log entries of those that
    failed under this claim.
    """

    item: Item
    tail: int
    lost: bool = False
    began: float = field(default_factory=time.monotonic)
    statuses: dict[str, str] = field(default_factory=dict)
    done: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take the statuses the item came with."""
        if self.item.is_nested:
            self.statuses = {task.name: task.status for task in self.item.nested}
        else:
            self.statuses = {SINGLE: State.TODO.value}

    def todo(self) -> Iterable[tuple[str, str]]:
        """Names and scripts of the tasks to be run, in order."""
        if self.item.script is not None:
            return [(SINGLE, self.item.script)]
        return [(task.name, task.script) for task in self.item.nested if task.status not in _ENDED]

    def note(self, name: str, entry: LogEntry) -> None:
        """A task ended."""
        self.statuses[name] = str(State.DONE if entry.succeeded else State.FAILED)
        self.done += entry.succeeded
        if not entry.succeeded:
            self.failures.append((name, entry.status))

    @property
    def ended(self) -> int:
        """How many tasks of the item have ended."""
        return sum(status in _ENDED for status in self.statuses.values())

    @property
    def complete(self) -> bool:
        """Whether all tasks of the item have ended."""
        return self.ended == len(self.statuses)

    @property
    def failed(self) -> bool:
        """Whether a task of the item has failed, under this claim or an earlier one."""
        return State.FAILED.value in self.statuses.values()

    def to_be_retried(self) -> list[NestedTask]:
        """The nested tasks with the failed ones todo again."""
        return [
            NestedTask(
                task.name,
                task.script,
                str(State.DONE if self.statuses[task.name] == State.DONE else State.TODO),
            )
            for task in self.item.nested
        ]


_ENDED = (State.DONE.value, State.FAILED.value)
