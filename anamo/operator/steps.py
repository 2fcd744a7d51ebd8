"""The progress of each sample: a line for each task id, a column for each step."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from anamo.core.errors import UsageError
from anamo.core.item import State
from anamo.core.record import Record
from anamo.core.text import count, natural_sort_key
from anamo.operator import output
from anamo.operator.counts import SHOWN_STATES
from anamo.operator.summary import STYLES

if TYPE_CHECKING:
    from rich.console import RenderableType

Matrix = dict[str, dict[str, Counter[str]]]
"""How many items a task id has in each state, by task id and table."""


def matrix_of(records: Iterable[tuple[str, Record]]) -> Matrix:
    """Count the items of each task id, sorted by task id; records come with their table."""
    found: Matrix = defaultdict(lambda: defaultdict(Counter))
    for table, record in records:
        found[record.item.task_id][table][record.state] += 1
    return {task_id: dict(found[task_id]) for task_id in sorted(found, key=natural_sort_key)}


NONE = "none"
"""What stands for a step in which a task id has no item, in conditions."""

Condition = tuple[str, str]
"""A step and a state."""


def parse_conditions(texts: Sequence[str], tables: Sequence[str]) -> list[Condition]:
    """The conditions that are written as "Align=done,Call=todo".

    Args:
        texts: One for each --where.
        tables: Names of the steps that are shown.

    Raises:
        UsageError: A condition is not of that form, or names a step that is not shown.
    """
    found = []
    for text in ",".join(texts).split(","):
        table, equals, state = (part.strip() for part in text.partition("="))
        if not equals or not table or not state:
            raise UsageError(f"--where: {text!r} is not like Align=done,Call=todo")
        if table not in tables:
            raise UsageError(f"--where: no table {table} among those of -t: {', '.join(tables)}")
        found.append((table, state))
    return found


def matching(matrix: Matrix, conditions: Sequence[Condition]) -> Matrix:
    """The task ids that meet all conditions.

    Args:
        matrix: All task ids.
        conditions: A step is `done` where all its items are, `none` where it has no item, and in
            another state where at least one item is.

    Raises:
        UsageError: A state is neither one of PyAnamo's nor that of any item.
    """
    seen = {state for steps in matrix.values() for states in steps.values() for state in states}
    known = [*map(str, State), NONE, *sorted(seen - {*map(str, State)})]
    for _, state in conditions:
        if state not in known:
            raise UsageError(f"--where: no item is in state {state}; states: {', '.join(known)}")
    return {
        task_id: steps
        for task_id, steps in matrix.items()
        if all(_meets(steps.get(table, Counter()), state) for table, state in conditions)
    }


def _meets(states: Counter[str], state: str) -> bool:
    if state == NONE:
        return not states
    return set(states) == {state} if state == State.DONE else state in states


IMPORTED_DONE = "done (imported steps only)"
"""A sample whose items are all done, and that has none in some step."""


class Samples:
    """The states of the samples of a workflow, that is, of its task ids.

    Args:
        steps: How many steps it has.
    """

    def __init__(self, steps: int) -> None:
        self._every = (1 << steps) - 1
        self._open, self._failed = 1 << steps, 2 << steps
        # One number for each, since there may be a hundred thousand: a bit for each step that has
        # items of it, one for an item that is not done, one for an item that failed
        self._bits: dict[str, int] = defaultdict(int)

    def note(self, step: int, task_id: str, state: str) -> None:
        """Note the state of an item of a step, or of several items.

        Args:
            step: The step's position, from 0.
            task_id: The task id of the item.
            state: Its state.
        """
        self._bits[task_id] |= 1 << step
        if state != State.DONE:
            self._bits[task_id] |= self._open
        if state == State.FAILED:
            self._bits[task_id] |= self._failed

    def sentence(self, *, all_steps: bool = True) -> str:
        """How many are done in every step, failed in one, and so on; "" without samples.

        Args:
            all_steps: Whether the steps are all that were asked for.
        """
        found = Counter(map(self._standing, self._bits.values()))
        total, done = found.total(), found["done"]
        if not total:
            return ""
        several = self._every > 1
        where = " in every step" if several else ""
        if self._is_split:
            done += found.pop(IMPORTED_DONE, 0)
            where = ", each in its one table"
        elif not all_steps:
            where += " of the tables shown" if several else " in the table shown"
        verb = "is" if 1 in (done, total) else "are"
        others = ("failed", "unfinished", IMPORTED_DONE)
        more = "".join(f"; {found[each]:,} {each}" for each in others if found[each])
        return f"{done:,} of {count(total, 'sample')} {verb} done{where}{more}"

    @property
    def _is_split(self) -> bool:
        """Whether the tables are parts of one step: no two have items of the same sample."""
        tables = {bits & self._every for bits in self._bits.values()}
        return len(tables) > 1 and all(each.bit_count() == 1 for each in tables)

    def _standing(self, bits: int) -> str:
        if bits & self._failed:
            return "failed"
        if bits & self._open:
            return "unfinished"
        return "done" if bits == self._every else IMPORTED_DONE


def matrix_samples(matrix: Matrix, tables: Sequence[str]) -> Samples:
    """The samples of a matrix."""
    samples = Samples(len(tables))
    for task_id, steps in matrix.items():
        for step, table in enumerate(tables):
            for state in steps.get(table, ()):
                samples.note(step, task_id, state)
    return samples


def cell_text(states: Counter[str]) -> str:
    """The state of the only item, or how many items are in which state; "" without items."""
    if states.total() == 1:
        return next(iter(states))
    order = {state: position for position, state in enumerate(SHOWN_STATES)}
    shown = sorted(states.items(), key=lambda each: (order.get(each[0], len(order)), each[0]))
    return ", ".join(f"{items:,} {state}" for state, items in shown)


def print_matrix(matrix: Matrix, tables: Sequence[str], form: str) -> None:
    """Print a matrix.

    Args:
        matrix: The task ids.
        tables: The columns, in the order of the workflow's steps.
        form: `table`, `json` or `tsv`.
    """
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
