"""Why tasks failed: the failures of a table in groups that look alike.

Two failures are alike that have the same exit code or signal, and whose stderr ends in the same
line once the task's own ids are taken out of it: `cannot open Sample7.bam` and `cannot open
Sample8.bam` are one failure that happened twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.core.text import natural_sort_key

EXAMPLES = 3
"""Task ids that a group names."""

LINE_LIMIT = 200
"""Characters of a line of stderr that are shown and compared."""

FAILED = "Execution Failed: "
"""What the status of a failed task's log entry begins with."""


@dataclass(slots=True)
class Group:
    """Failures that look alike: exit code or signal, last line of stderr, how many tasks, and the
    task ids of some.
    """

    what: str
    line: str
    count: int = 0
    examples: list[str] = field(default_factory=list)


class Failures:
    """Groups the failed tasks of the records it is given."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Group] = {}

    def add(self, record: Record) -> None:
        """Note the failed tasks of an item."""
        for name, entry in record.failed_tasks():
            what, line = reason(entry), _plain(last_line(entry), record, name)
            group = self._groups.setdefault((what, line), Group(what, line))
            group.count += 1
            examples = {*group.examples, record.item.task_id}
            group.examples = sorted(examples, key=natural_sort_key)[:EXAMPLES]

    def __iter__(self) -> Iterator[Group]:
        """The groups, the most frequent first."""
        return iter(sorted(self._groups.values(), key=lambda each: (-each.count, each.what)))

    def __len__(self) -> int:
        return len(self._groups)


def reason(entry: LogEntry) -> str:
    """The exit code or signal, such as "exit 3"."""
    return entry.status.removeprefix(FAILED) or f"exit {entry.exit_code}"


def last_line(entry: LogEntry) -> str:
    """The last line of stderr that says something."""
    lines = entry.stderr.rstrip().splitlines()
    return lines[-1].strip()[:LINE_LIMIT] if lines else ""


def _plain(line: str, record: Record, name: str) -> str:
    """The line without what is this task's alone."""
    item = record.item
    # An id inside a longer word is part of another name
    for own, stands_for in (
        (item.task_id, "taskID"),
        (str(item.item_id), "itemID"),
        (name, "Task"),
    ):
        if own:
            line = re.sub(rf"(?<!\w){re.escape(own)}(?!\w)", f"<{stands_for}>", line)
    return line
