"""A task as a row: of a data frame, or of a file for R or a spreadsheet.

Guaranteed: an item gives a row for each of its tasks, whichever tool wrote it; what is not known is
None or empty.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from anamo.core.item import NULL, SINGLE
from anamo.core.log_entry import FAILED, LogEntry
from anamo.core.record import ENDED, Record

_KILLED = re.compile(r"killed by signal (\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Task:
    """One task of an item. Of a task that is to run again, cause to tags are those of its last run.

    Attributes:
        table: The table's name.
        taskID: The user's name for the item, such as a sample's.
        itemID: The item's key; as text where another tool made one that is not a whole number.
        task: `Task_0` and so on; empty in an item of one task.
        argument: What tells a nested task from the others of its item, such as "chr4".
        script: Its command line, as it was imported.
        state: The item's: todo, locked, done, failed, held, or another tool's.
        task_state: The task's own: todo, done or failed; in an item of one task, the item's.
        cause: Why it failed, such as "exit 3"; else empty.
        exit_code: As a shell has it: 128 and the signal's number for a task that a signal killed.
        signal: The number of that signal.
        seconds: Run time.
        max_rss_mb: Peak memory in 10^6 bytes.
        attempts: Claims of the item that were not given back in good order.
        instance: Who claimed the item last: an AWS Batch job, an EC2 instance or a host.
        claimed: When that was, in UTC as ISO 8601.
        ended: When the item ended, likewise.
        log: The s3:// address of its log.
        log_range: First and last byte of its part there.
        tags: What it printed as `PyAnamo:`, a tab and KEY=VALUE. The values of a key that it
            printed several times have "; " between them, as have the lines without "=", of key "".
    """

    table: str
    taskID: str  # noqa: N815  # as tables and files have it
    itemID: int | str  # noqa: N815
    task: str
    argument: str
    script: str
    state: str
    task_state: str
    cause: str = ""
    exit_code: int | None = None
    signal: int | None = None
    seconds: float | None = None
    max_rss_mb: float | None = None
    attempts: int = 0
    instance: str = ""
    claimed: str = ""
    ended: str = ""
    log: str = ""
    log_range: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Its fields by name, with a field `tag_KEY` for each tag instead of `tags`."""
        values = {name: getattr(self, name) for name in COLUMNS}
        return values | {f"tag_{key}" if key else "tag": tag for key, tag in self.tags.items()}


COLUMNS = tuple(each.name for each in fields(Task) if each.name != "tags")
"""The fields of every row, in their order."""


def tasks_of(table: str, record: Record) -> Iterator[Task]:
    """The tasks of an item, in their order."""
    item = record.item
    scripts = {task.name: task.script for task in item.nested} or {SINGLE: item.script or ""}
    for name, argument, state, entry in each_task(record):
        yield Task(
            table=table,
            taskID=item.task_id,
            itemID=item.item_id if isinstance(item.item_id, int) else str(item.item_id),
            task=name,
            argument=argument,
            script=scripts[name],
            state=record.state,
            task_state=state,
            attempts=item.attempts,
            instance=_known(item.instance_id),
            claimed=_known(record.locked),
            ended=record.since if record.state in ENDED else "",
            **(_outcome(entry) if entry else {}),
        )


def each_task(record: Record) -> Iterator[tuple[str, str, str, LogEntry | None]]:
    """Name, argument, state and log entry of each task."""
    arguments = record.item.arguments
    for task in record.item.nested:
        yield task.name, arguments.get(task.name, ""), task.status, record.logs.get(task.name)
    if not record.item.is_nested:
        yield SINGLE, "", record.state, record.logs.get(SINGLE)


def cause(entry: LogEntry) -> str:
    """Why a task failed; empty for one that did not."""
    if entry.succeeded:
        return ""
    return entry.status.removeprefix(FAILED) or f"exit {entry.exit_code}"


def _outcome(entry: LogEntry) -> dict[str, Any]:
    why = cause(entry)
    killed = _KILLED.fullmatch(why)
    # An entry has 0 for what was not measured: of an item that was given up, or of another tool
    ran = entry.succeeded or entry.exit_code or entry.seconds or entry.max_rss_mb
    return {
        "cause": why,
        "exit_code": entry.exit_code if ran else None,
        "signal": int(killed[1]) if killed else None,
        "seconds": entry.seconds or None,
        "max_rss_mb": entry.max_rss_mb or None,
        "log": entry.s3,
        "log_range": entry.s3_range,
        "tags": _tags(entry),
    }


def _tags(entry: LogEntry) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in entry.tags:
        key, equals, value = tag.partition("=")
        key, value = (key.strip(), value.strip()) if equals else ("", tag.strip())
        found[key] = f"{found[key]}; {value}" if key in found else value
    return found


def _known(value: str) -> str:
    return "" if value == NULL else value
