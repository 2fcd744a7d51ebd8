"""From tables to the page's file."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2

from anamo import __version__
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.core.errors import UsageError
from anamo.core.record import Record
from anamo.core.text import natural_sort_key, printable
from anamo.operator import counts, summary
from anamo.operator.counts import STATES
from anamo.operator.html import charts
from anamo.operator.html.measure import StepData, all_spans
from anamo.operator.steps import Matrix, cell
from anamo.operator.watch import span

SECONDS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 10 * 86400, 100 * 86400]
"""Marks of the run time axis."""

MEGABYTES = [1.0, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000]
"""Marks of the memory axis."""


def write(
    path: str, tables: Sequence[WorkflowTable], region: str | None, retry: OperatorRetry
) -> int:
    """Write the page about these tables; its size in bytes.

    Raises UsageError where the file cannot be written, and what requests of `table` raise.
    """
    matrix: Matrix = {}
    steps = [_read(position, table, matrix, retry) for position, table in enumerate(tables)]
    page = render(steps, matrix, region, tables[0].clock.now()).encode()
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        part.write_bytes(page)
        # A browser that reloads the page meanwhile sees the old one or the new one
        part.replace(target)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return len(page)


def _read(position: int, table: WorkflowTable, matrix: Matrix, retry: OperatorRetry) -> StepData:
    step = StepData(position, counts.TableCounts(table.name))

    def note(record: Record) -> None:
        step.add(record, table.clock.now())
        cells = matrix.setdefault(record.item.task_id, {})
        cells.setdefault(table.name, Counter())[record.state] += 1

    step.census = counts.count_table(table, retry, note, whole=None)
    return step


def render(steps: Sequence[StepData], matrix: Matrix, region: str | None, now: float) -> str:
    """The page. now: epoch seconds."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "coordinate": lambda value: f"{value:.1f}".removesuffix(".0"),
        # A page, too, may be led astray by what turns the direction of text round
        "shown": printable,
    }
    return environment.get_template("page.html").render(
        steps=steps,
        rows=list(_rows(matrix, [step.name for step in steps])),
        overview=[_overview(step) for step in steps],
        through=_through(matrix, [step.name for step in steps]),
        states=STATES,
        times=_distribution(steps, "seconds", SECONDS, duration),
        memory=_distribution(steps, "memory", MEGABYTES, megabytes),
        timeline=charts.timeline(all_spans(steps), steps),
        failures=[_failures(step, region) for step in steps if len(step.failures)],
        moment=charts.clock(now),
        region=region,
        version=__version__,
        width=charts.TIMELINE_WIDTH,
        lane=charts.LANE,
        chart=(charts.HISTOGRAM_WIDTH, charts.HISTOGRAM_HEIGHT),
    )


def _rows(matrix: Matrix, names: Sequence[str]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A line a task id: for each step the kind of its state, for the colour, and the text."""
    none: Counter[str] = Counter()
    for task_id in sorted(matrix, key=natural_sort_key):
        cells = [matrix[task_id].get(name, none) for name in names]
        yield task_id, [(kind(states), cell(states)) for states in cells]


def kind(states: Counter[str]) -> str:
    """What a cell counts as: the state that most wants to be looked at."""
    for state in ("failed", "locked", "todo"):
        if states[state]:
            return state
    if states.keys() - set(STATES):
        return "other"
    return "done" if states else "none"


def _through(matrix: Matrix, names: Sequence[str]) -> int:
    """How many task ids are done in every step."""
    none: Counter[str] = Counter()
    return sum(
        all(kind(cells.get(name, none)) == "done" for name in names) for cells in matrix.values()
    )


def _overview(step: StepData) -> dict[str, Any]:
    """A step's bar: its states with their shares of it."""
    counted = step.census.items
    total = counted.total()
    order = ["done", "failed", "locked", "todo"]
    counts = [(state, state, counted[state]) for state in order]
    counts += [("other", state, number) for state, number in step.census.other.items()]
    parts, x = [], 0.0
    for name, state, number in counts:
        width = 1000 * number / total if total else 0.0
        parts.append({"kind": name, "state": state, "count": number, "x": x, "width": width})
        x += width
    return {
        "step": step,
        "total": total,
        "parts": parts,
        "percent": summary.percent(counted["done"], total),
        "ended": step.census.tasks["done"] + step.census.tasks["failed"],
        "hints": summary.advice(step.census, None),
    }


def _distribution(
    steps: Sequence[StepData], name: str, marks: Sequence[float], label: Callable[[float], str]
) -> dict[str, Any] | None:
    """The histograms of one measure; None without values."""
    measures = [getattr(step, name) for step in steps]
    on = charts.axis(measures, marks, label)
    if not on:
        return None
    shown = [
        {
            "step": step,
            "bars": charts.histogram(measure, on, label),
            "count": len(measure.values),
            "median": label(measure.quantile(0.5)),
            "most": label(measure.quantile(0.95)),
            "largest": label(measure.largest[0]),
            "who": measure.largest[1],
            "at": on.x(measure.quantile(0.5)),
        }
        for step, measure in zip(steps, measures, strict=True)
        if measure.values
    ]
    return {"charts": shown, "ticks": on.ticks}


def _failures(step: StepData, region: str | None) -> dict[str, Any]:
    return {
        "step": step,
        "groups": list(step.failures),
        "count": sum(group.count for group in step.failures),
        "next": summary.what_next(step.failures, step.name, region),
    }


def duration(seconds: float) -> str:
    """A run time for people, in two digits or so."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds >= 3600:
        hours, rest = divmod(seconds, 3600)
        return span(seconds) if rest else f"{hours:.0f} h"
    number, unit = (seconds, "s") if seconds < 60 else (seconds / 60, "min")
    return (
        f"{number:.1f}".removesuffix(".0") + f" {unit}" if number < 10 else f"{number:.0f} {unit}"
    )


def megabytes(value: float) -> str:
    """An amount of memory for people, from MB."""
    if value < 1000:
        return f"{value:.0f} MB"
    return f"{value / 1000:.1f}".removesuffix(".0") + " GB"
