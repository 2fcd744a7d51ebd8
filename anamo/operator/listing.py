"""The items in a state, a line each."""

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
"""Fields of an item in JSON and TSV. instance, since and stderr are empty where nothing is known;
exit_codes are those of the tasks that failed, each once."""


def as_object(table: str, record: Record) -> dict[str, Any]:
    """An item as JSON has it."""
    item = record.item
    states = record.task_states()
    failed = [entry for _, entry in record.failed_tasks()]
    values = (
        table,
        item.item_id,
        item.task_id,
        record.state,
        record.tasks - states[State.TODO.value],
        record.tasks,
        "" if item.instance_id == NULL else item.instance_id,
        record.since,
        sorted({entry.exit_code for entry in failed}),
        next((last_line(entry) for entry in failed if last_line(entry)), ""),
    )
    return dict(zip(FIELDS, values, strict=True))


def show(items: list[dict[str, Any]], form: str) -> None:
    """Print items, as `as_object` gives them, as `table`, `json` or `tsv`."""
    items.sort(key=_order)
    if form == "json":
        output.as_json(items)
        return
    if form == "tsv":
        output.as_tsv(FIELDS, ([*map(_flat, item.values())] for item in items))
        return
    several = len({item["table"] for item in items}) > 1
    headings = ["itemID", "taskID", "state", "tasks", "instance", "since", "exit", "stderr"]
    if several:
        headings.insert(0, "step")
    wide = ["step", "taskID", "instance", "stderr", "exit"]
    lines = output.columns(*headings, right=["itemID", "tasks"], wide=wide)
    for item in items:
        cells = [
            item["itemID"],
            item["taskID"],
            item["state"],
            f"{item['tasks_ended']:,}/{item['tasks_total']:,}",
            item["instance"] or "-",
            _moment(item["since"]),
            _flat(item["exit_codes"]) or "-",
            item["stderr"] or "-",
        ]
        if several:
            cells.insert(0, item["table"])
        lines.add_row(*(output.text(each) for each in cells))
    output.show(lines)


def _order(item: dict[str, Any]) -> tuple[object, ...]:
    return item["table"], natural_sort_key(item["taskID"]), item["itemID"]


def _flat(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _moment(stamp: str) -> str:
    """A time for people, without the letters that ISO 8601 puts between its parts."""
    return stamp.replace("T", " ").removesuffix("Z") or "-"
