"""The items in a state, one per line."""

from decimal import Decimal
from typing import Any

from anamo.core.item import NULL, State
from anamo.core.record import Record
from anamo.core.text import natural_sort_key
from anamo.operator import output
from anamo.operator.failures import last_line

FIELDS = (
    "table",
    "itemID",
    "taskID",
    "state",
    "tasks_ended",
    "tasks_total",
    "instance",
    "since",
    "exit_codes",
    "stderr",
)
"""Fields of an item in JSON and TSV. instance, since and stderr are empty if unknown; exit_codes
are the distinct exit codes of the failed tasks."""


def listed_item(table: str, record: Record) -> dict[str, Any]:
    """An item as an object with FIELDS, for JSON.

    Args:
        table: The table's name.
        record: The item.
    """
    item = record.item
    states = record.task_states()
    failed = [entry for _, entry in record.failed_tasks()]
    values = (
        table,
        # Another tool's may not be a whole number, and JSON has no exact fractions
        item.item_id if isinstance(item.item_id, int) else str(item.item_id),
        item.task_id,
        record.state,
        record.tasks - states[State.TODO.value],
        record.tasks,
        "" if item.instance_id == NULL else item.instance_id,
        record.since,
        sorted({entry.exit_code for entry in failed}),
        next(filter(None, map(last_line, failed)), ""),
    )
    return dict(zip(FIELDS, values, strict=True))


DROPPABLE = ("since", "instance", "tasks", "itemID", "step", "exit")
"""Columns that a narrow terminal does without, the first to go first."""


def print_items(items: list[dict[str, Any]], form: str) -> None:
    """Print items.

    Args:
        items: Results of `listed_item`; they are sorted in place.
        form: `table`, `json` or `tsv`.
    """
    items.sort(key=_sort_key)
    if form == "json":
        output.print_json(items)
        return
    if form == "tsv":
        output.print_tsv(FIELDS, ([*map(_joined, item.values())] for item in items))
        return
    several = len({item["table"] for item in items}) > 1
    headings = ["itemID", "taskID", "state", "tasks", "instance", "since", "exit", "stderr"]
    if several:
        headings.insert(0, "step")
    wrapped = ["step", "taskID", "instance", "stderr", "exit"]
    lines = output.text_table(*headings, right=["itemID", "tasks"], wrapped=wrapped)
    for item in items:
        cells = [
            item["itemID"],
            item["taskID"],
            item["state"],
            f"{item['tasks_ended']:,}/{item['tasks_total']:,}",
            item["instance"] or "-",
            output.readable_time(item["since"]) or "-",
            _joined(item["exit_codes"]) or "-",
            item["stderr"] or "-",
        ]
        if several:
            cells.insert(0, item["table"])
        lines.add_row(*map(output.escaped, cells))
    output.print_fitting(lines, DROPPABLE)


def _sort_key(item: dict[str, Any]) -> tuple[object, ...]:
    return item["table"], natural_sort_key(item["taskID"]), Decimal(item["itemID"])


def _joined(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else value
