"""Where each sample is: a line a task id, a column a step."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.text import natural_sort_key
from anamo.operator import output
from anamo.operator.counts import STATES
from anamo.operator.summary import STYLES
from anamo.operator.table_scan import parallel_query

if TYPE_CHECKING:
    from rich.console import RenderableType

Matrix = dict[str, dict[str, Counter[str]]]
"""How many items a task id has in each state, by task id and table."""


def read(tables: Iterable[WorkflowTable], retry: OperatorRetry) -> Matrix:
    """Read where each task id is.

    Raises what a request of `table` raises.
    """
    found: Matrix = defaultdict(lambda: defaultdict(Counter))
    for table in tables:
        states = dict.fromkeys(retry(table.states_held), Projection.STEP)
        for page in parallel_query(table, states, retry):
            for record in page.records:
                found[record.item.task_id][table.name][record.state] += 1
    return {task_id: dict(found[task_id]) for task_id in sorted(found, key=natural_sort_key)}


def cell(states: Counter[str]) -> str:
    """What stands in a cell: a state, or how many items are in which; empty without items."""
    if states.total() == 1:
        return next(iter(states))
    order = {state: position for position, state in enumerate(STATES)}
    shown = sorted(states.items(), key=lambda each: (order.get(each[0], len(order)), each[0]))
    return ", ".join(f"{count:,} {state}" for state, count in shown)


def show(matrix: Matrix, tables: Sequence[str], form: str) -> None:
    """Print the matrix as `table`, `json` or `tsv`."""
    none: Counter[str] = Counter()
    if form == "json":
        output.as_json([as_object(task_id, steps, tables) for task_id, steps in matrix.items()])
        return
    rows = (
        [task_id, *(cell(steps.get(name, none)) for name in tables)]
        for task_id, steps in matrix.items()
    )
    if form == "tsv":
        output.as_tsv(["taskID", *tables], rows)
        return
    lines = output.columns("taskID", *tables, wide=["taskID", *tables])
    for task_id, *cells in rows:
        lines.add_row(output.text(task_id), *map(_styled, cells))
    output.show(lines)


def as_object(task_id: str, steps: dict[str, Counter[str]], tables: Sequence[str]) -> Any:
    """A task id as JSON has it: for each table how many items are in which state."""
    return {"taskID": task_id, "steps": {name: dict(steps.get(name, {})) for name in tables}}


def _styled(states: str) -> "RenderableType":
    if not states:
        return output.text("-", "dim")
    ended = next((state for state in ("failed", *STYLES) if state in states), "")
    return output.text(states, STYLES.get(ended, ""))
