"""A claim that this process holds, and the progress of its tasks.

Guaranteed: the threads that run, record and renew share one object for each claim; `lost`, once
True, stays True. Not guaranteed: that a claim which is lost is marked at once.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from anamo.aws.table import WorkflowTable
from anamo.core.item import SINGLE, Item, State
from anamo.core.log_entry import LogEntry
from anamo.core.record import ENDED
from anamo.worker.task_process import TaskProcess


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an item's tasks.

    Attributes:
        statuses: The tasks' statuses by name.
    """

    statuses: Mapping[str, str]

    @property
    def ended(self) -> int:
        """How many tasks have ended."""
        return sum(status in ENDED for status in self.statuses.values())

    @property
    def done(self) -> int:
        """How many tasks have succeeded."""
        return sum(status == State.DONE for status in self.statuses.values())

    @property
    def complete(self) -> bool:
        """Whether all tasks have ended."""
        return self.ended == len(self.statuses)

    @property
    def failed_tasks(self) -> tuple[str, ...]:
        """The names of the tasks that have failed, under this claim or an earlier one, in order."""
        return tuple(name for name, status in self.statuses.items() if status == State.FAILED)


@dataclass(slots=True, eq=False)
class Claim:
    """One claim of one item.

    Attributes:
        item: The item as it was when it was claimed.
        tail: Bytes that a stream may have in a log entry.
        table: The item's table.
        lost: Whether this claim no longer holds the item: another worker does, or it has ended.
        began: When the claim was won, by the monotonic clock.
        progress: The tasks' statuses as recorded in the table.
        done: How many tasks succeeded under this claim.
        failures: Names and statuses of the tasks that failed under this claim.
        host_error: Why this host could not run all its tasks, or not log them, else empty.
        final_state: The state in which the item was ended early, else empty.
        running: Its running tasks by name; the main thread changes it.
        so_far: The address of their output so far, once that is in S3.
        ending: Whether the end of its item is about to be written.
    """

    item: Item
    tail: int
    table: WorkflowTable
    lost: bool = False
    began: float = field(default_factory=time.monotonic)
    progress: Progress = field(init=False)
    done: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    host_error: str = ""
    final_state: str = ""
    running: dict[str, TaskProcess] = field(default_factory=dict)
    so_far: str = ""
    ending: bool = False

    def __post_init__(self) -> None:
        """Take the statuses from the item."""
        nested = {task.name: task.status for task in self.item.nested}
        self.progress = Progress(nested if self.item.is_nested else {SINGLE: State.TODO.value})

    def todo(self) -> list[tuple[str, str]]:
        """Names and scripts of the tasks that have not ended, in order."""
        if self.item.script is not None:
            return [(SINGLE, self.item.script)]
        return [(task.name, task.script) for task in self.item.nested if task.status not in ENDED]

    def with_results(self, results: Mapping[str, LogEntry]) -> Progress:
        """The progress once these results are recorded."""
        ended = {
            name: (State.DONE if entry.succeeded else State.FAILED).value
            for name, entry in results.items()
        }
        return Progress({**self.progress.statuses, **ended})

    def note(self, results: Mapping[str, LogEntry]) -> None:
        """Add results that have been recorded."""
        self.progress = self.with_results(results)
        failures = [(name, entry.status) for name, entry in results.items() if not entry.succeeded]
        self.done += len(results) - len(failures)
        self.failures += failures
