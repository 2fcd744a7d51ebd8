"""Why tasks failed: similar failures of a table, grouped.

Two failures are similar if they have the same exit code or signal, and their stderr ends in the
same line once what differs from task to task is left out of it: the task's own ids and argument,
numbers and paths. `cannot open Sample7.chr1.bam` and `cannot open Sample8.chr2.bam` are one failure
that happened twice; so are `exceeded 512 MB` and `exceeded 640 MB`. What is the same in all tasks
of a group is shown as it is.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.core.task import cause
from anamo.core.text import natural_sort_key

EXAMPLES = 3
"""How many task ids of a group are named."""

LINE_LIMIT = 200
"""Characters of a line of stderr that are shown and compared."""

_VARYING = re.compile(
    r"(?P<number>0[xX][0-9a-fA-F]+"
    r"|(?<![0-9A-Za-z])(?=[0-9a-f-]*[0-9])[0-9a-f]{8}[0-9a-f-]*(?![0-9A-Za-z])"
    r"|[0-9]+(?:[-.:,T][0-9]+)*Z?)"
    r"|(?P<path>[^\s'\"`(){}<>,:;=|\[\]]*/[^\s'\"`(){}<>,:;=|\[\]]*[^\s'\"`(){}<>,:;=|\[\].])"
)
"""Numbers, dates and hexadecimal ids, and paths."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A part of a line that may differ from task to task: what it is, and its text; None where it
    does differ.
    """

    kind: str
    text: str | None


@dataclass(slots=True)
class FailureGroup:
    """Similar failures.

    Attributes:
        cause: The exit code or signal, such as "exit 3".
        tasks: How many tasks failed this way.
        example_with_log: The task id of one that has a log in S3; "" if none has.
        examples: Task ids of some of them.
    """

    cause: str
    _fixed: tuple[str, ...]
    _slots: list[_Slot]
    tasks: int = 0
    example_with_log: str = ""
    examples: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The last line of stderr, with the names of what differs in place of it."""
        line = self._fixed[0]
        for slot, fixed in zip(self._slots, self._fixed[1:], strict=True):
            line += (f"<{slot.kind}>" if slot.text is None else slot.text) + fixed
        return line

    def add(self, task_id: str, slots: list[_Slot]) -> None:
        """Add a task."""
        self.tasks += 1
        if task_id not in self.examples:
            self.examples = sorted([*self.examples, task_id], key=natural_sort_key)[:EXAMPLES]
        if slots != self._slots:
            self._slots = [*map(_common, self._slots, slots)]


class Failures:
    """Groups the failed tasks of records; iterates over the groups, the most frequent first."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, tuple[str, ...]], FailureGroup] = {}

    def add(self, record: Record) -> list[FailureGroup]:
        """Add the failed tasks of an item; returns the group of each."""
        found: list[FailureGroup] = []
        failed = record.failed_tasks()
        arguments = record.item.arguments if failed else {}
        for name, entry in failed:
            why = cause(entry)
            own = _own_words(record, name, arguments.get(name, ""))
            fixed, slots = _parts(last_line(entry), own)
            group = self._groups.setdefault((why, fixed), FailureGroup(why, fixed, slots))
            group.add(record.item.task_id, slots)
            if entry.s3 and not group.example_with_log:
                group.example_with_log = record.item.task_id
            found.append(group)
        return found

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


def _common(one: _Slot, other: _Slot) -> _Slot:
    """What the same slot of two lines shows."""
    kind = one.kind if one.kind in (other.kind, "argument") else other.kind
    return _Slot(kind, one.text if one.text == other.text else None)


def _parts(line: str, own: Mapping[str, str]) -> tuple[tuple[str, ...], list[_Slot]]:
    """A line as what is the same in similar lines, and the slots between.

    Args:
        line: The line.
        own: The words that are the task's own, with the kind of each.
    """
    fixed, slots = [""], []
    for kind, text in _pieces(line, {word: kind for word, kind in own.items() if word in line}):
        if kind:
            slots.append(_Slot(kind, text))
            fixed.append("")
        else:
            fixed[-1] += text
    return tuple(fixed), slots


def _own_words(record: Record, name: str, argument: str) -> dict[str, str]:
    """The words that are a task's own, with the kind of each."""
    item = record.item
    own = {str(item.item_id): "itemID", name: "Task"}
    for word in argument.split():
        # A single small letter is a word of any line
        if not re.fullmatch("[a-z]", word):
            own[word] = "argument"
    own[item.task_id] = "taskID"
    return {word: kind for word, kind in own.items() if word}


def _pieces(line: str, own: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A line in pieces, each with the kind of slot that it is, or "" for none."""
    # An id inside a longer word is part of another name; the longest is tried first
    words = "|".join(map(re.escape, sorted(own, key=len, reverse=True)))
    parts = re.split(rf"(?<![0-9A-Za-z])({words})(?![0-9A-Za-z])", line) if words else [line]
    for position, part in enumerate(parts):
        if position % 2:
            yield own[part], part
            continue
        end = 0
        for match in _VARYING.finditer(part):
            yield "", part[end : match.start()]
            yield match.lastgroup or "", match[0]
            end = match.end()
        yield "", part[end:]
