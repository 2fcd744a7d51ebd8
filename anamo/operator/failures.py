"""Why tasks failed: similar failures of a table, grouped.

Two failures are similar if they have the same exit code or signal, and their stderr ends in the
same line once the task's own ids are replaced in it: `cannot open Sample7.bam` and `cannot open
Sample8.bam` are one failure that happened twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.core.text import natural_sort_key

EXAMPLES = 3
"""How many task ids of a group are named."""

LINE_LIMIT = 200
"""Characters of a line of stderr that are shown and compared."""

FAILED = "Execution Failed: "
"""The prefix of a failed task's log status."""


@dataclass(slots=True)
class FailureGroup:
    """Similar failures.

    Attributes:
        cause: The exit code or signal, such as "exit 3".
        line: The last line of stderr, with the task's own ids replaced.
        tasks: How many tasks failed this way.
        examples: Task ids of some of them.
    """

    cause: str
    line: str
    tasks: int = 0
    examples: list[str] = field(default_factory=list)


class Failures:
    """Groups the failed tasks of records; iterates over the groups, the most frequent first."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], FailureGroup] = {}

    def add(self, record: Record) -> None:
        """Add the failed tasks of an item."""
        for name, entry in record.failed_tasks():
            cause = entry.status.removeprefix(FAILED) or f"exit {entry.exit_code}"
            line = _without_ids(last_line(entry), record, name)
            group = self._groups.setdefault((cause, line), FailureGroup(cause, line))
            group.tasks += 1
            examples = {*group.examples, record.item.task_id}
            group.examples = sorted(examples, key=natural_sort_key)[:EXAMPLES]

    @property
    def tasks(self) -> int:
        """How many tasks failed."""
        return sum(group.tasks for group in self._groups.values())

    def __iter__(self) -> Iterator[FailureGroup]:
        return iter(sorted(self._groups.values(), key=lambda each: (-each.tasks, each.cause)))

    def __len__(self) -> int:
        return len(self._groups)


def last_line(entry: LogEntry) -> str:
    """The last line of stderr that is not blank."""
    lines = entry.stderr.rstrip().splitlines()
    return lines[-1].strip()[:LINE_LIMIT] if lines else ""


def _without_ids(line: str, record: Record, name: str) -> str:
    item = record.item
    ids = {"taskID": item.task_id, "itemID": str(item.item_id), "Task": name}
    for placeholder, value in ids.items():
        if value:
            # An id inside a longer word is part of another name
            line = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", f"<{placeholder}>", line)
    return line
