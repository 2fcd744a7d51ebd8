"""What the report keeps of an item: a row of numbers and, while there is room, its details.

A row is a list in JSON, [sample, kind, host, age, seconds, attempts, tasks, done, failed, cause,
details], age being the seconds since its last claim; its end is cut off where it holds nothing but
DEFAULTS. The details are [itemID, script, host error, log objects, tasks], and a task is [name,
argument, kind, exit code, seconds, MB, log object, cause, last lines, tags], both cut off likewise.
`report.js` and `detail.js` read them.

Guaranteed: a row takes some 30 bytes, whatever the item holds. Not guaranteed: that all items have
details, since a report of 5,000 samples must open at once: items that failed come first, then those
that run or have begun, then the others.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anamo.core.item import NULL, Item, State
from anamo.core.log_entry import FAILED, LogEntry
from anamo.core.record import Record
from anamo.core.text import printable, printable_lines

DONE, BROKEN, RUNNING, WAITING, HELD, LOST = range(6)
"""Kinds of an item: `todo` is waiting; `locked` is running, and LOST once its lease has ended."""

KINDS = ("done", "failed", "running", "waiting", "held", "waiting")
"""Their words in the report. Further kinds are states of other tools, under their own names."""

SHOWN = ("done", "failed", "running", "held", "waiting")
"""These words in the order in which they are shown."""

DEFAULTS: tuple[Any, ...] = (None, WAITING, -1, None, 0, 0, 1, 0, 0, -1)
"""What the members of a row are if they are left out."""

DETAIL_SIZE = 1_150_000
"""Characters of all details together, and of those of one priority."""

MOST_LINES = 12
"""Lines of a failed task's output at most."""

MOST_TEXT, LEAST_TEXT = 1_500, 160
"""Characters of them at most, and once those of a table take more than TEXT_SIZE."""

TEXT_SIZE = 300_000

SAMPLE, ARGUMENT = "\ue000", "\ue001"
"""Stand in a script for what differs from item to item, so that each script is kept once."""


@dataclass(slots=True)
class ItemRow:
    """An item.

    Attributes:
        task_id: Its task id.
        kind: One of the kinds above, or `len(KINDS)` and more for states of other tools.
        instance: The instance that claimed it last; empty if none did.
        worker: Which worker process on it: begins the claim's token.
        claim_span: When its last claim began and ended, or the time now; None where that is not
            known.
        attempts: Its claims so far.
        states: How many of its tasks there are, and are done and failed.
        cause: The position of its first failure's group; -1 if none failed.
        priority: 0 for the details that are needed most.
        details: Its details as JSON; empty if there was no room.
        script: Which of the scripts they name; -1 without details.
    """

    task_id: str
    kind: int
    instance: str
    worker: str
    claim_span: tuple[float, float] | None
    attempts: int
    states: tuple[int, int, int]
    cause: int
    priority: int
    details: str = ""
    script: int = -1

    def to_json(self, sample: int, host: int, now: float, *, detailed: bool) -> str:
        """The row, with the positions of its sample and of its host."""
        span = DEFAULTS[3:5]
        if self.claim_span:
            span = (round(now - self.claim_span[0]), round(self.claim_span[1] - self.claim_span[0]))
        values = [sample, self.kind, host, *span, self.attempts, *self.states, self.cause]
        if detailed and self.details:
            return f"{to_json(values)[:-1]},{self.details}]"
        return to_json(without_end(values, DEFAULTS))


def to_json(value: object) -> str:
    """JSON without blanks, which is safe within an HTML script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def without_end(values: Sequence[Any], defaults: Sequence[Any]) -> list[Any]:
    """The values without those at the end that are as the defaults are."""
    kept = len(values)
    while kept and values[kept - 1] == defaults[kept - 1]:
        kept -= 1
    return list(values[:kept])


TASK_DEFAULTS: tuple[Any, ...] = ("", "", None, 0, 0, 0, -1, "", "", ())


@dataclass(slots=True)
class Details:
    """Makes the details of a table's items.

    Attributes:
        scripts: The scripts, each once, with SAMPLE and ARGUMENT in it.
        folder: Where most of the table's logs are, as an s3:// address.
        sizes: Characters of the details made so far, by priority.
        lines: Characters of last lines among them.
    """

    scripts: dict[str, int] = field(default_factory=dict)
    folder: str = ""
    sizes: list[int] = field(default_factory=lambda: [0, 0, 0])
    lines: int = 0

    def of(self, record: Record, priority: int) -> tuple[str, int]:
        """The details of an item, and which script they name; empty once there is no more room for
        its priority.
        """
        if self.sizes[priority] > DETAIL_SIZE:
            return "", -1
        item, arguments, objects = record.item, record.item.arguments, dict[str, int]()
        template, known = _template(item, arguments), len(self.scripts)
        script = self.scripts.setdefault(template, known)
        if script == known:
            self.sizes[priority] += len(template)
        tasks = [without_end(e, TASK_DEFAULTS) for e in self._tasks(record, arguments, objects)]
        whole = isinstance(item.item_id, int) and 0 <= item.item_id < 1 << 53
        values = [
            item.item_id if whole else str(item.item_id),
            script,
            printable(item.host_error),
            list(objects),
            # As long as none has ended, there is nothing to tell of them but their number
            tasks if any(each[2:] for each in tasks) else [],
        ]
        made = to_json(without_end(values, (None, None, "", [], [])))
        self.sizes[priority] += len(made)
        return made, script

    def _tasks(
        self, record: Record, arguments: Mapping[str, str], objects: dict[str, int]
    ) -> list[list[Any]]:
        item = record.item
        found: list[list[Any]] = []
        statuses = {task.name: task.status for task in item.nested} or {"": record.state}
        for position, (name, status) in enumerate(statuses.items()):
            short = position if name == f"Task_{position}" else printable(name)
            task = [short, printable(arguments.get(name, ""))]
            entry = record.logs.get(name)
            if entry and status in (State.DONE, State.FAILED):
                task += self._ended(item, entry, objects, failed=status == State.FAILED)
            found.append(task)
        return found

    def _ended(
        self, item: Item, entry: LogEntry, objects: dict[str, int], *, failed: bool
    ) -> list[Any]:
        address = self._address(item, entry.s3)
        seconds = round(entry.seconds, 1) if entry.seconds < 10 else round(entry.seconds)
        return [
            BROKEN if failed else DONE,
            entry.exit_code,
            seconds,
            round(entry.max_rss_mb),
            objects.setdefault(address, len(objects)) if address else -1,
            printable(entry.status.removeprefix(FAILED)) if failed else "",
            self._last_lines(entry) if failed else "",
            list(map(printable, entry.tags)) or (),
        ]

    def _address(self, item: Item, address: str) -> str:
        """An s3:// address, most of it cut off where it can be put together again: `~` stands for
        what is usual.
        """
        if not address.startswith("s3://"):
            return ""
        folder, usual, rest = address.partition(f"/{item.task_id}/{item.item_id}-")
        self.folder = self.folder or (folder if usual else "")
        if usual and folder == self.folder and rest.endswith(".log.gz"):
            return "~" + printable(rest.removesuffix(".log.gz"))
        return printable(address)

    def _last_lines(self, entry: LogEntry) -> str:
        """The last lines of stderr behind a 2, or if it is empty those of stdout behind a 1."""
        stream, text = ("2", entry.stderr) if entry.stderr.strip() else ("1", entry.stdout)
        shown = "\n".join(map(printable, text.rstrip().splitlines()[-MOST_LINES:]))
        shown = shown[-(MOST_TEXT if self.lines < TEXT_SIZE else LEAST_TEXT) :]
        self.lines += len(shown)
        return stream + shown if shown else ""


def _template(item: Item, arguments: Mapping[str, str]) -> str:
    """The command line, with SAMPLE for the task id and ARGUMENT for what differs between nested
    tasks; without ARGUMENT where it is not in one place.
    """
    script = item.scripts[0] if item.scripts else ""
    argument = arguments.get(item.nested[0].name, "") if item.nested else ""
    if argument:
        before, found, after = script.rpartition(argument)
        script = f"{before}{ARGUMENT}{after}" if found else script
    script = script.replace(item.task_id, SAMPLE) if item.task_id not in ("", NULL) else script
    return printable_lines(script)[:2000]
