"""Samples through every step: the items that names mean, each with its tasks.

Guaranteed: each nested task is shown by name and argument, even if it has not run yet; a log's
address is never wrapped, so that it can be copied.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anamo.aws.table import WorkflowTable
from anamo.core.item import NULL, SINGLE, State
from anamo.core.record import ENDED, Record
from anamo.core.task import cause, each_task, tasks_of
from anamo.core.text import count, format_duration
from anamo.operator import output
from anamo.operator.failures import last_line
from anamo.operator.hints import Hint, Hints, print_hints
from anamo.operator.selection import ByName
from anamo.operator.summary import STYLES

if TYPE_CHECKING:
    from rich.console import Console

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


def sample_item(table: str, record: Record) -> dict[str, Any]:
    """An item as an object for JSON; its tasks are in `tasks`."""
    rows = [task.row() for task in tasks_of(table, record)]
    for row, (*_, entry) in zip(rows, each_task(record), strict=True):
        row["stderr"] = last_line(entry) if entry else ""
    tasks = [{field: row[field] for field in TASK_FIELDS} for row in rows]
    return {field: rows[0][field] for field in ITEM_FIELDS} | {"tasks": tasks}


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
        sample_item(table.name, record)
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
    output.print_tsv([*ITEM_FIELDS, *TASK_FIELDS], rows)


def _print_sample(found: NamedItems, name: str, hints: Hints) -> None:
    """Print a sample: a line for each item, below it one for each nested task and each log."""
    console = output.stdout_console()
    records = [record for by_name in found.values() for record in by_name[name]]
    # Its task id, where the name is an itemID
    output.print_unwrapped(console, records[0].item.task_id, "bold")
    width = max(len(table.name) for table in found)
    todo: list[Hint] = []
    for table, by_name in found.items():
        step = table.name.ljust(width)
        if not by_name[name]:
            output.print_unwrapped(console, f"  {step}  no item", "dim")
        for record in by_name[name]:
            facts = _facts(record, leased=record.leased(table.clock.surely_past()))
            line = f"  {step}  {record.state:6}  {facts}"
            output.print_unwrapped(console, line, STYLES.get(record.state, ""))
            _print_tasks(console, record)
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
        facts += [f"{failed:,} failed"] if failed else []
    if record.state in (State.LOCKED, *ENDED) and record.locked != NULL:
        facts.append(f"claimed {output.readable_time(record.locked)}")
    if record.state == State.LOCKED and not leased:
        facts.append("its lease has ended")
    if record.state in ENDED and record.since:
        facts.append(f"ended {output.readable_time(record.since)}")
    if item.instance_id != NULL:
        facts.append(f"on {item.instance_id}")
    if item.attempts:
        facts.append(count(item.attempts, "attempt"))
    return ", ".join([*facts, f"item {item.item_id}"])


def _print_tasks(console: "Console", record: Record) -> None:
    """Print a line for each nested task and each log; a single item's state stands above."""
    titles = record.task_titles()
    width = max(map(len, titles.values()), default=0)
    for name, _, state, entry in each_task(record):
        words = [f"{titles.get(name, name).ljust(width)}  {state:6}"] if name != SINGLE else []
        if entry and entry.seconds:
            took = format_duration(entry.seconds)
            words.append(f"{took:>10}" if words else f"took {took}")
        if entry and not entry.succeeded:
            words.append("; ".join(filter(None, [cause(entry), last_line(entry)])))
        if words:
            line = f"    {'  '.join(words)}".rstrip()
            output.print_unwrapped(console, line, STYLES.get(state, ""))
        if entry and entry.s3:
            part = f" (bytes {entry.s3_range})" if entry.s3_range else ""
            output.print_unwrapped(console, f"      {entry.s3}{part}", "dim")


def _what_to_do(table: str, record: Record, hints: Hints) -> list[Hint]:
    """How to read the log of the first task that failed."""
    failed = [name for name, entry in record.failed_tasks() if entry.s3]
    if not failed:
        return []
    nested = ["--nested", failed[0]] if failed[0] != SINGLE else []
    item_id = str(record.item.item_id)
    words = [*nested, "--stderr", "--tail", "20", *(["--"] if item_id.startswith("-") else [])]
    task = record.task_title(failed[0]) or record.item.task_id
    read = hints.command("logs", [table], *words, item_id)
    return [(f"read the stderr of {task} of {table}", read)]
