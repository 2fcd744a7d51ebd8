"""How far each sample is: a line for each task id, a column for each step."""

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


def read_matrix(tables: Iterable[WorkflowTable], retry: OperatorRetry) -> Matrix:
    """Count the items of each task id, sorted by task id.

    Raises:
        AwsError: A request failed.
    """
    found: Matrix = defaultdict(lambda: defaultdict(Counter))
    for table in tables:
        projections = dict.fromkeys(retry(table.states_held), Projection.STEP)
        for page in parallel_query(table, projections, retry):
            for record in page.records:
                found[record.item.task_id][table.name][record.state] += 1
    return {task_id: dict(found[task_id]) for task_id in sorted(found, key=natural_sort_key)}


def cell_text(states: Counter[str]) -> str:
    """The state of the only item, or how many items are in which state; "" without items."""
    if states.total() == 1:
        return next(iter(states))
    order = {state: position for position, state in enumerate(STATES)}
    shown = sorted(states.items(), key=lambda each: (order.get(each[0], len(order)), each[0]))
    return ", ".join(f"{items:,} {state}" for state, items in shown)


def print_matrix(matrix: Matrix, tables: Sequence[str], form: str) -> None:
    """Print the matrix as `table`, `json` or `tsv`; `tables` are its columns."""
    if form == "json":
        output.print_json([_row_object(*row, tables) for row in matrix.items()])
        return
    none: Counter[str] = Counter()
    rows = (
        [task_id, *(cell_text(steps.get(name, none)) for name in tables)]
        for task_id, steps in matrix.items()
    )
    headings = ["taskID", *tables]
    if form == "tsv":
        output.print_tsv(headings, rows)
        return
    lines = output.text_table(*headings, wrapped=headings)
    for task_id, *cells in rows:
        lines.add_row(output.escaped(task_id), *map(_coloured, cells))
    output.print_fitting(lines, tables[::-1])


def _row_object(task_id: str, steps: dict[str, Counter[str]], tables: Sequence[str]) -> Any:
    return {"taskID": task_id, "steps": {name: dict(steps.get(name, {})) for name in tables}}


def _coloured(cell: str) -> "RenderableType":
    if not cell:
        return output.escaped("-", "dim")
    state = next((state for state in ("failed", *STYLES) if state in cell), "")
    return output.escaped(cell, STYLES.get(state, ""))
