"""How far steps are: a line a step, why tasks failed, and what to type next."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anamo.core.item import State
from anamo.core.text import count, printable
from anamo.operator import output
from anamo.operator.counts import STATES, TableCounts
from anamo.operator.failures import Failures, Group

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

TASK_STATES = (State.TODO.value, State.DONE.value, State.FAILED.value)

STYLES = {"done": "green", "failed": "red", "locked": "blue", "todo": "dim"}

MARKS = {"done": "#", "failed": "x", "locked": ">", "todo": "."}
"""How a bar shows a state where there is no colour."""

BAR, SHORT_BAR = 20, 6
"""Cells of a bar, and of one on a terminal with fewer than ROOMY columns."""

ROOMY = 100

STEP_WIDTH = 10
"""Columns a step's name has at least, if it needs them."""

SHOWN_GROUPS = 10
"""Groups of failures that are shown of a step."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the workflow: its counts and its failures."""

    census: TableCounts
    failures: Failures


# For scripts


def as_object(census: TableCounts) -> dict[str, Any]:
    """A step as JSON has it; states of other tools stand beside ours under their own names."""
    tasks = {state: census.tasks[state] for state in TASK_STATES}
    own = {
        "table": census.table,
        **{state: census.items[state] for state in STATES},
        "total": census.items.total(),
        "tasks": {**tasks, "total": census.tasks.total()},
        "workers": census.workers,
        "expired": census.expired,
    }
    # A state could be called as one of our fields is
    return own | {f"state:{k}" if k in own else k: n for k, n in census.other.items()}


HEADINGS = (
    "table",
    *STATES,
    "total",
    *(f"tasks_{state}" for state in TASK_STATES),
    "tasks_total",
    "workers",
    "expired",
    "other",
)
"""Fields of a line of TSV; `other` holds the states of other tools, as `paused=3,waiting=1`."""


def as_row(census: TableCounts) -> list[object]:
    """A step as a line of TSV."""
    return [
        census.table,
        *(census.items[state] for state in STATES),
        census.items.total(),
        *(census.tasks[state] for state in TASK_STATES),
        census.tasks.total(),
        census.workers,
        census.expired,
        ",".join(f"{state}={n}" for state, n in census.other.items()),
    ]


# For people


def table(tables_counts: Sequence[TableCounts], console: "Console") -> "RenderableType":
    """A line a step. Where there is little room the states of other tools stand below."""
    from rich.console import Group

    roomy = console.width >= ROOMY
    others = sorted({state for census in tables_counts for state in census.other})
    states = [*STATES, *(others if roomy else [])]
    numbers = [*states, "total", "tasks ended", "workers", "expired"]
    wide, gap = ["step", "tasks ended"], 2 if roomy else 1
    lines = output.columns("step", "", *numbers, right=numbers, wide=wide, gap=gap)
    lines.columns[0].min_width = min(max(len(each.table) for each in tables_counts), STEP_WIDTH)
    for census in tables_counts:
        ended = census.tasks["done"] + census.tasks["failed"]
        lines.add_row(
            output.text(census.table),
            _bar(census, console, roomy=roomy),
            *(_number(state, census.items[state]) for state in states),
            output.text(f"{census.items.total():,}"),
            output.text(f"{ended:,}/{census.tasks.total():,}"),
            output.text(f"{census.workers:,}"),
            _number("failed" if census.expired else "", census.expired),
        )
    below = [
        f"{each.table}: {n:,} {state}" for each in tables_counts for state, n in each.other.items()
    ]
    return lines if roomy else Group(lines, *map(output.text, below))


def _number(state: str, count: int) -> "RenderableType":
    return output.text(f"{count:,}", STYLES.get(state, "") if count else "dim")


def percent(part: int, whole: int) -> str:
    """A share; 100 % only if nothing is missing, 0 % only if there is nothing."""
    if not whole:
        return "-"
    share = 100 * part / whole
    return f"{min(max(round(share), 1), 99) if 0 < part < whole else round(share)}%"


def _bar(census: TableCounts, console: "Console", *, roomy: bool) -> "RenderableType":
    from rich.text import Text

    coloured = console.is_terminal and not console.no_color
    drawn = Text()
    for state, cells in shares(census, BAR if roomy else SHORT_BAR).items():
        mark = ("\u2501" if state != "todo" else "\u2500") if coloured else MARKS[state]
        drawn.append(mark * cells, STYLES[state] if coloured else "")
    share = percent(census.items["done"], census.items.total())
    return drawn.append(f" {share:>4}") if roomy else drawn


def shares(census: TableCounts, cells: int) -> dict[str, int]:
    """How many cells of a bar each state has; one at least where there is anything."""
    counts = {state: census.items[state] for state in MARKS}
    # What other tools call something else has not ended
    counts["todo"] += sum(census.other.values())
    total = sum(counts.values())
    if not total:
        return {"todo": cells}
    parts = {state: max(n * cells // total, 1) if n else 0 for state, n in counts.items()}
    largest = max(counts, key=lambda state: counts[state])
    parts[largest] += cells - sum(parts.values())
    return parts


def show(steps: Sequence[Step], region: str | None) -> None:
    """Print the steps, their failures and what to type next."""
    output.show(table([step.census for step in steps], output.console()))
    for step in steps:
        show_failures(step.failures, step.census.table, region)
        say_next(advice(step.census, region))


def show_failures(found: Failures, name: str, region: str | None) -> None:
    """Print why tasks of a table failed, the most frequent cause first, and what to do."""
    if not len(found):
        return
    total = sum(group.count for group in found)
    output.show(f"\n{printable(name)}: {count(total, 'failed task')}, by cause")
    output.show(groups(list(found)))
    say_next(what_next(found, name, region))


def say_next(hints: Sequence[tuple[str, str]]) -> None:
    """Print reasons with the command lines to type."""
    console = output.console()
    for reason, typed in hints:
        console.print(f"  {printable(reason)}:", style="dim")
        # Never wrapped: it is to be copied
        console.print(f"    {printable(typed)}", soft_wrap=True)


def groups(found: Sequence[Group]) -> "RenderableType":
    """A line a group of failures, the most frequent first."""
    headings = ["tasks", "cause", "last line of stderr", "for instance"]
    lines = output.columns(*headings, right=headings[:1], wide=headings[2:])
    for group in found[:SHOWN_GROUPS]:
        lines.add_row(
            output.text(f"{group.count:,}"),
            output.text(group.what, "red"),
            output.text(group.line or "(nothing)", "" if group.line else "dim"),
            output.text(", ".join(group.examples)),
        )
    rest = found[SHOWN_GROUPS:]
    if rest:
        lines.add_row(
            output.text(f"{sum(group.count for group in rest):,}"),
            output.text(f"{len(rest):,} more"),
        )
    return lines


# What to type next


def command(name: str, table_name: str, region: str | None, *words: str) -> str:
    """A command line that can be pasted into a shell, whatever the table holds."""
    where = ["-r", region] if region else []
    return shlex.join(["python", "pyanamo.py", name, "-t", table_name, *where, *words])


def what_next(found: Failures, name: str, region: str | None) -> list[tuple[str, str]]:
    """What to do about failed tasks of a table: reasons and command lines."""
    example = next(iter(found)).examples[0]
    # An id that a terminal would obey, or argparse take for a flag, cannot be pasted
    pasted = printable(example) == example and not example.startswith("-")
    chosen = [example] if pasted else []
    options = ["--state", "failed", "--stderr", "--tail", "20"]
    read = command("logs", name, region, *chosen, *options)
    again = command("requeue", name, region, "--state", "failed")
    return [
        ("read what one of them said", read),
        ("run them again, once the cause is put right", again),
    ]


def advice(census: TableCounts, region: str | None) -> list[tuple[str, str]]:
    """What else to do: reasons and command lines."""
    hints = []
    if census.expired:
        reason = (
            f"{count(census.expired, 'locked item')} without a live lease; workers take over what "
            "had one, or free all"
        )
        hints.append((reason, command("requeue", census.table, region, "--state", "locked")))
    if census.left and not census.workers:
        where = ["-r", region] if region else []
        words = ["python", "pyanamo.py", "-t", census.table, "-b", "BUCKET", *where]
        hints.append((f"nothing works on {census.table} now; start a worker", shlex.join(words)))
    return hints
