"""Samples through every step: the items that names mean, each with its tasks.

Guaranteed: each nested task is shown by name and argument, what has not run yet too; a log's
address is never wrapped, so that it can be copied.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from anamo.aws.table import WorkflowTable
from anamo.core.item import NULL, SINGLE, State
from anamo.core.log_entry import LogEntry
from anamo.core.record import ENDED, Record
from anamo.core.task import cause, each_task
from anamo.core.text import count, format_duration, printable
from anamo.operator import output
from anamo.operator.failures import last_line
from anamo.operator.hints import Hint, Hints, print_hints
from anamo.operator.selection import ByName
from anamo.operator.summary import STYLES

ITEM_FIELDS = ("table", "taskID", "itemID", "state", "attempts", "instance", "claimed", "ended")

TASK_FIELDS = (
    "task",
    "argument",
    "task_state",
    "cause",
    "exit_code",
    "seconds",
    "max_rss_mb",
    "stderr",
    "log",
    "log_range",
)
"""Fields of an item and of its tasks in JSON and TSV. What is not known is empty, a number null in
JSON; a single item's task has no name."""

NamedItems = Mapping[WorkflowTable, ByName]
"""The items of samples, by table and name."""


def item_object(table: str, record: Record) -> dict[str, Any]:
    """An item as an object for JSON; its tasks are in `tasks`."""
    item = record.item
    values = (
        table,
        item.task_id,
        item.item_id if isinstance(item.item_id, int) else str(item.item_id),
        record.state,
        item.attempts,
        *("" if value == NULL else value for value in (item.instance_id, record.locked)),
        record.since if record.state in ENDED else "",
    )
    return {
        **dict(zip(ITEM_FIELDS, values, strict=True)),
        "tasks": [_task_object(*task) for task in each_task(record)],
    }


def _task_object(name: str, argument: str, state: str, entry: LogEntry | None) -> dict[str, Any]:
    values: tuple[Any, ...] = (name, argument, state, "", None, None, None, "", "", "")
    # The entry of a task that is to run again is that of its last run
    if entry:
        values = (
            name,
            argument,
            state,
            cause(entry),
            entry.exit_code,
            entry.seconds,
            entry.max_rss_mb,
            last_line(entry),
            entry.s3,
            entry.s3_range,
        )
    return dict(zip(TASK_FIELDS, values, strict=True))


def print_samples(found: NamedItems, names: Sequence[str], form: str, hints: Hints) -> None:
    """Print samples.

    Args:
        found: Their items.
        names: The names in the order in which they were given.
        form: `table`, `json` or `tsv`.
        hints: Makes the suggested command lines.
    """
    if form == "table":
        for position, name in enumerate(names):
            if position:
                print()
            _print_sample(found, name, hints)
        return
    items = [
        item_object(table.name, record)
        for name in names
        for table, by_name in found.items()
        for record in by_name[name]
    ]
    if form == "json":
        output.print_json(items)
        return
    rows = [
        [*(item[field] for field in ITEM_FIELDS), *task.values()]
        for item in items
        for task in item["tasks"]
    ]
    cells = (["" if value is None else value for value in row] for row in rows)
    output.print_tsv([*ITEM_FIELDS, *TASK_FIELDS], cells)


def _print_sample(found: NamedItems, name: str, hints: Hints) -> None:
    """Print a sample: a line for each item, below it one for each nested task and each log."""
    show = _Lines()
    records = [record for by_name in found.values() for record in by_name[name]]
    # Its task id, where the name is an itemID
    show.line(records[0].item.task_id, "bold")
    width = max(len(table.name) for table in found)
    todo: list[Hint] = []
    for table, by_name in found.items():
        step = table.name.ljust(width)
        if not by_name[name]:
            show.line(f"  {step}  no item", "dim")
        for record in by_name[name]:
            facts = _facts(record, leased=record.leased(table.clock.surely_past()))
            show.line(f"  {step}  {record.state:6}  {facts}", STYLES.get(record.state, ""))
            _print_tasks(show, record)
            todo += _what_to_do(table.name, record, hints)
    print_hints(todo)


def _facts(record: Record, *, leased: bool) -> str:
    """What is known of an item, in words."""
    item, states = record.item, record.task_states()
    facts = []
    if item.is_nested:
        ended = record.tasks - states[State.TODO.value]
        failed = states[State.FAILED.value]
        facts.append(f"{ended:,} of {count(record.tasks, 'nested task')} ended")
        facts += [f"{failed:,} of them failed"] if failed else []
    if record.state in (State.LOCKED, *ENDED) and record.locked != NULL:
        facts.append(f"claimed {_readable(record.locked)}")
    if record.state == State.LOCKED and not leased:
        facts.append("its lease has ended")
    if record.state in ENDED and record.since:
        facts.append(f"ended {_readable(record.since)}")
    if item.instance_id != NULL:
        facts.append(f"on {item.instance_id}")
    if item.attempts:
        facts.append(count(item.attempts, "attempt"))
    return ", ".join([*facts, f"item {item.item_id}"])


def _print_tasks(show: "_Lines", record: Record) -> None:
    """Print a line for each nested task and each log; a single item's state stands above."""
    width = max((len(record.task_title(task.name)) for task in record.item.nested), default=0)
    for name, _, state, entry in each_task(record):
        words = [f"{record.task_title(name).ljust(width)}  {state:6}"] if name != SINGLE else []
        if entry and entry.seconds:
            words.append(f"{format_duration(entry.seconds):>10}" if words else _took(entry))
        if entry and not entry.succeeded:
            words.append("; ".join(filter(None, [cause(entry), last_line(entry)])))
        if words:
            show.line(f"    {'  '.join(words)}".rstrip(), STYLES.get(state, ""))
        if entry and entry.s3:
            part = f" (bytes {entry.s3_range})" if entry.s3_range else ""
            show.line(f"      {entry.s3}{part}", "dim")


def _took(entry: LogEntry) -> str:
    return f"took {format_duration(entry.seconds)}"


def _what_to_do(table: str, record: Record, hints: Hints) -> list[Hint]:
    """How to read the log of the first task that failed."""
    failed = [name for name, entry in record.failed_tasks() if entry.s3]
    if not failed:
        return []
    nested = ["--nested", failed[0]] if failed[0] != SINGLE else []
    item_id = str(record.item.item_id)
    words = [*nested, "--stderr", "--tail", "20", *(["--"] if item_id.startswith("-") else [])]
    task = record.task_title(failed[0]) or record.item.task_id
    read = hints.command("logs", table, *words, item_id)
    return [(f"read the stderr of {task} of {table}", read)]


def _readable(stamp: str) -> str:
    return stamp.replace("T", " ").removesuffix("Z")


class _Lines:
    """Prints lines that are not wrapped."""

    def __init__(self) -> None:
        self._console = output.stdout_console()

    def line(self, text: str, style: str = "") -> None:
        """Print a line, with control characters escaped."""
        self._console.print(printable(text), style=style or None, soft_wrap=True)
