"""The progress of steps, one per line, and why their tasks failed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anamo.core.item import State
from anamo.core.text import count, percent, printable
from anamo.operator import output
from anamo.operator.counts import SHOWN_STATES, TableCounts
from anamo.operator.failures import FailureGroup, Failures
from anamo.operator.hints import Hints, print_hints
from anamo.operator.pace import overall

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

TASK_STATES = (State.TODO.value, State.DONE.value, State.FAILED.value)

STYLES = {"done": "green", "failed": "red", "locked": "blue", "todo": "dim"}

MARKS = {"done": "#", "failed": "x", "locked": ">", "todo": "."}
"""The character for each state in a bar without colour."""

BAR, SHORT_BAR = 20, 6
"""Characters of a bar, and of one on a terminal with fewer than ROOMY columns."""

ROOMY = 100

STEP_WIDTH = 10
"""Minimum width of the column of step names, if they are that long."""

DROPPABLE = ("instances", "", "tasks ended", "expired", "total")
"""Columns that a narrow terminal does without, the first to go first; the bar has no heading."""

SHOWN_GROUPS = 10
"""Groups of failures that are shown for a step at most."""


# For scripts


def counts_object(counts: TableCounts) -> dict[str, Any]:
    """Counts as an object for JSON; states of other tools stand beside PyAnamo's own."""
    tasks = {state: counts.tasks[state] for state in TASK_STATES}
    own = {
        "table": counts.table,
        **{state: counts.items[state] for state in SHOWN_STATES},
        "held": counts.items[State.HELD.value],
        "total": counts.items.total(),
        "tasks": {**tasks, "total": counts.tasks.total()},
        "workers": counts.workers,
        "expired": counts.expired,
    }
    other = {state: n for state, n in counts.other.items() if state != State.HELD}
    # Another tool's state may have the name of one of these fields
    return own | {f"state:{k}" if k in own else k: n for k, n in other.items()}


def counts_row(counts: TableCounts) -> dict[str, object]:
    """Counts as a line of TSV, by heading; further states as `held=3,waiting=1`."""
    return {
        "table": counts.table,
        **{state: counts.items[state] for state in SHOWN_STATES},
        "total": counts.items.total(),
        **{f"tasks_{state}": counts.tasks[state] for state in TASK_STATES},
        "tasks_total": counts.tasks.total(),
        "workers": counts.workers,
        "expired": counts.expired,
        "other": ",".join(f"{state}={n}" for state, n in counts.other.items()),
    }


# For people


def counts_table(steps: Sequence[TableCounts], console: "Console") -> "RenderableType":
    """A line for each step. On a narrow console the states of other tools are listed below.

    Args:
        steps: At least one.
        console: Where it is to be printed.
    """
    from rich.console import Group

    roomy = console.width >= ROOMY
    others = sorted({state for counts in steps for state in counts.other})
    states = [*SHOWN_STATES, *(others if roomy else [])]
    numbers = [*states, "total", "tasks ended", "instances", "expired"]
    wrapped, gap = ["step", "tasks ended"], 2 if roomy else 1
    lines = output.text_table("step", "", *numbers, right=numbers, wrapped=wrapped, gap=gap)
    lines.columns[0].min_width = min(max(len(each.table) for each in steps), STEP_WIDTH)
    for counts in steps:
        lines.add_row(
            output.escaped(counts.table),
            _bar(counts, console, roomy=roomy),
            *(_number(state, counts.items[state]) for state in states),
            output.escaped(f"{counts.items.total():,}"),
            output.escaped(f"{counts.tasks_ended:,}/{counts.tasks.total():,}"),
            output.escaped(f"{counts.workers:,}"),
            _number("failed" if counts.expired else "", counts.expired),
        )
    lines, _ = output.fit(lines, console, DROPPABLE)
    below = [f"{each.table}: {n:,} {state}" for each in steps for state, n in each.other.items()]
    return lines if roomy else Group(lines, *map(output.escaped, below))


def _number(state: str, number: int) -> "RenderableType":
    return output.escaped(f"{number:,}", STYLES.get(state, "") if number else "dim")


def _bar(counts: TableCounts, console: "Console", *, roomy: bool) -> "RenderableType":
    from rich.text import Text

    coloured = console.is_terminal and not console.no_color
    bar = Text()
    for state, length in bar_lengths(counts, BAR if roomy else SHORT_BAR).items():
        mark = ("\u2501" if state != "todo" else "\u2500") if coloured else MARKS[state]
        bar.append(mark * length, STYLES[state] if coloured else "")
    share = percent(counts.pace.items_ended, counts.items.total())
    return bar.append(f" {share:>4}") if roomy else bar


def bar_lengths(counts: TableCounts, length: int) -> dict[str, int]:
    """The number of a bar's characters that each state gets; at least one if it has any items.

    Args:
        counts: The items in each state.
        length: The characters of the bar.
    """
    items = {state: counts.items[state] for state in MARKS}
    # States of other tools are not known to be an end
    items["todo"] += sum(counts.other.values())
    total = sum(items.values())
    if not total:
        return {"todo": length}
    lengths = {state: max(n * length // total, 1) if n else 0 for state, n in items.items()}
    largest = max(items, key=lambda state: items[state])
    lengths[largest] += length - sum(lengths.values())
    return lengths


def pace_lines(steps: Sequence[TableCounts]) -> list[str]:
    """The pace of each step in words, and that of all if there are several."""
    paces = [counts.pace for counts in steps]
    which = "all steps: " if len(paces) > 1 else ""
    return [*map(str, paces), which + overall(paces)]


def print_steps(steps: Sequence[tuple[TableCounts, Failures]], hints: Hints) -> None:
    """Print the steps, their failures, and hints about what to do next.

    Args:
        steps: The counts of each step, and why its tasks failed.
        hints: Makes the suggested command lines.
    """
    every = [counts for counts, _ in steps]
    output.print_rich(counts_table(every, output.stdout_console()))
    for line in pace_lines(every):
        output.print_rich(output.escaped(line))
    earlier = None
    for counts, failures in steps:
        print_failures(failures, counts.table, hints)
        print_hints(hints.after_counting(counts, earlier))
        earlier = counts.table
    print_hints(hints.start_workers(every))


def print_failures(failures: Failures, table: str, hints: Hints) -> None:
    """Print why tasks of a table failed, the most frequent cause first, and what to do next.

    Args:
        failures: The groups of failures; nothing is printed where there is none.
        table: The table's name.
        hints: Makes the suggested command lines.
    """
    if not len(failures):
        return
    total = count(failures.tasks, "failed task")
    output.print_rich(f"\n{printable(table)}: {total}, by cause")
    output.print_fitting(_failure_table(list(failures)), ["examples", "cause"])
    print_hints(hints.after_failures(failures, table))


def _failure_table(groups: Sequence[FailureGroup]) -> "Table":
    headings = ["tasks", "cause", "last line of stderr", "examples"]
    lines = output.text_table(*headings, right=headings[:1], wrapped=headings[2:])
    for group in groups[:SHOWN_GROUPS]:
        lines.add_row(
            output.escaped(f"{group.tasks:,}"),
            output.escaped(group.cause, "red"),
            output.escaped(group.line or "(nothing)", "" if group.line else "dim"),
            output.escaped(", ".join(group.examples)),
        )
    rest = groups[SHOWN_GROUPS:]
    if rest:
        lines.add_row(
            output.escaped(f"{sum(group.tasks for group in rest):,}"),
            output.escaped(f"{len(rest):,} more"),
        )
    return lines
