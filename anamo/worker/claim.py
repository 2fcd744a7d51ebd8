"""A claim that this process holds, and how its tasks stand.

Guaranteed: the same object is seen by the threads that run, record and renew; `lost` never goes
back to False.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from anamo.core.item import SINGLE, Item, NestedTask, State
from anamo.core.log_entry import LogEntry


@dataclass(frozen=True, slots=True)
class Progress:
    """How the tasks of an item stand: their statuses by name."""

    statuses: Mapping[str, str]

    @property
    def ended(self) -> int:
        """How many tasks have ended."""
        return sum(status in _ENDED for status in self.statuses.values())

    @property
    def done(self) -> int:
        """How many tasks have ended well."""
        return sum(status == State.DONE for status in self.statuses.values())

    @property
    def complete(self) -> bool:
        """Whether all tasks have ended."""
        return self.ended == len(self.statuses)

    @property
    def failed(self) -> bool:
        """Whether a task has failed, under this claim or an earlier one."""
        return State.FAILED.value in self.statuses.values()


@dataclass(slots=True, eq=False)
class Claim:
    """One claim of one item.

    tail: bytes a stream may have in a log entry. progress: what the table says. done: how many
    tasks ended well under this claim, failures: names and statuses of those that did not. settled:
    the state the item was brought to before its tasks had ended, else empty.
    """

    item: Item
    tail: int
    lost: bool = False
    began: float = field(default_factory=time.monotonic)
    progress: Progress = field(init=False)
    done: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    final_state: str = ""

    def __post_init__(self) -> None:
        """Take the statuses the item came with."""
        nested = {task.name: task.status for task in self.item.nested}
        self.progress = Progress(nested if self.item.is_nested else {SINGLE: State.TODO.value})

    def todo(self) -> list[tuple[str, str]]:
        """Names and scripts of the tasks to be run, in order."""
        if self.item.script is not None:
            return [(SINGLE, self.item.script)]
        return [(task.name, task.script) for task in self.item.nested if task.status not in _ENDED]

    def with_results(self, results: Mapping[str, LogEntry]) -> Progress:
        """What the table will say once these results are written."""
        ended = {
            name: str(State.DONE if entry.succeeded else State.FAILED)
            for name, entry in results.items()
        }
        return Progress({**self.progress.statuses, **ended})

    def note(self, results: Mapping[str, LogEntry]) -> None:
        """These results are written."""
        self.progress = self.with_results(results)
        failures = [(name, entry.status) for name, entry in results.items() if not entry.succeeded]
        self.done += len(results) - len(failures)
        self.failures += failures

    def to_be_retried(self, progress: Progress) -> list[NestedTask]:
        """The nested tasks with those that failed todo again."""
        return [
            replace(task, status=str(State.TODO))
            if progress.statuses[task.name] == State.FAILED
            else replace(task, status=progress.statuses[task.name])
            for task in self.item.nested
        ]


_ENDED = (State.DONE.value, State.FAILED.value)
