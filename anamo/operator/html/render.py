"""Reads tables and writes the report's file."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import jinja2

from anamo import __version__
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.core.errors import UsageError
from anamo.core.record import Record
from anamo.core.text import format_duration, natural_sort_key, percent, printable
from anamo.operator.counts import STATES, TableCounts, count_table
from anamo.operator.hints import Hints
from anamo.operator.html import charts
from anamo.operator.html.step_data import StepData, all_spans
from anamo.operator.steps import Matrix, cell_text

SECONDS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 10 * 86400, 100 * 86400]
"""Marks of the run time axis."""

MEGABYTES = [1.0, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000]
"""Marks of the memory axis."""


def write_report(
    path: str, tables: Sequence[WorkflowTable], hints: Hints, retry: OperatorRetry
) -> int:
    """Read the tables and write a report about them.

    Args:
        path: The file; if there is one, it is replaced.
        tables: The tables, in the order of the workflow's steps.
        hints: Makes the suggested command lines.
        retry: Sends the requests.

    Returns:
        The file's size in bytes.

    Raises:
        UsageError: The file cannot be written.
        AwsError: A request failed.
    """
    matrix: Matrix = {}
    steps = [_read_step(position, table, matrix, retry) for position, table in enumerate(tables)]
    report = _render(steps, matrix, hints, tables[0].clock.now()).encode()
    try:
        _replace(Path(path), report)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return len(report)


def _replace(target: Path, content: bytes) -> None:
    """Make the file anew, all at once: a browser that reloads it meanwhile gets the old report or
    the new one.

    In a folder that others may write to, nobody can lead the writes elsewhere by a link: the part
    is opened with O_EXCL, under a name that cannot be guessed. Until it is whole, it is the user's
    alone; then it has the permissions of any other new file.
    """
    with NamedTemporaryFile(dir=target.parent, prefix=".pyanamo-", delete=False) as part:
        try:
            part.write(content)
            part.flush()
            os.fchmod(part.fileno(), 0o666 & ~_umask())
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink()
            raise


def _umask() -> int:
    """The process's umask, which can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _read_step(
    position: int, table: WorkflowTable, matrix: Matrix, retry: OperatorRetry
) -> StepData:
    step = StepData(position, TableCounts(table.name))

    def note(record: Record) -> None:
        step.add(record, table.clock.surely_past())
        cells = matrix.setdefault(record.item.task_id, {})
        cells.setdefault(table.name, Counter())[record.state] += 1

    step.counts = count_table(table, retry, note, whole=None)
    return step


def _render(steps: Sequence[StepData], matrix: Matrix, hints: Hints, now: float) -> str:
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
        # Characters that reverse the direction of text mislead readers of a browser too
        "printable": printable,
    }
    rows = list(_rows(matrix, [step.name for step in steps]))
    return environment.get_template("report.html").render(
        steps=steps,
        rows=rows,
        overview=[_overview(step) for step in steps],
        done=sum(all(kind == "done" for kind, _ in cells) for _, cells in rows),
        times=_histograms(steps, "seconds", SECONDS, format_run_time),
        memory=_histograms(steps, "memory", MEGABYTES, format_megabytes),
        timeline=charts.draw_timeline(all_spans(steps), steps),
        failures=[_failures(step, hints) for step in steps if len(step.failures)],
        moment=charts.format_time(now),
        region=hints.region,
        version=__version__,
        width=charts.TIMELINE_WIDTH,
        chart=(charts.HISTOGRAM_WIDTH, charts.HISTOGRAM_HEIGHT),
    )


def _rows(matrix: Matrix, names: Sequence[str]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each task id with a cell for each step: its kind, which gives the colour, and its text."""
    none: Counter[str] = Counter()
    for task_id in sorted(matrix, key=natural_sort_key):
        cells = [matrix[task_id].get(name, none) for name in names]
        yield task_id, [(_cell_kind(states), cell_text(states)) for states in cells]


def _cell_kind(states: Counter[str]) -> str:
    """The state in a cell that most needs attention."""
    for state in ("failed", "locked", "todo"):
        if states[state]:
            return state
    if states.keys() - set(STATES):
        return "other"
    return "done" if states else "none"


def _overview(step: StepData) -> dict[str, Any]:
    """A step's bar, divided among the states."""
    items = step.counts.items
    total = items.total()
    states = [(state, state, items[state]) for state in ("done", "failed", "locked", "todo")]
    states += [("other", state, number) for state, number in step.counts.other.items()]
    parts, x = [], 0.0
    for kind, state, number in states:
        width = 1000 * number / total if total else 0.0
        parts.append({"kind": kind, "state": state, "count": number, "x": x, "width": width})
        x += width
    return {"step": step, "parts": parts, "percent": percent(items["done"], total)}


def _histograms(
    steps: Sequence[StepData], name: str, marks: Sequence[float], label: Callable[[float], str]
) -> dict[str, Any] | None:
    """The histograms of one metric, one for each step that has values; None if none has."""
    metrics = [getattr(step, name) for step in steps]
    shared = charts.shared_axis(metrics, marks, label)
    if not shared:
        return None
    axis, ticks = shared
    shown = [
        {
            "step": step,
            "bars": charts.histogram(metric, axis, label),
            "count": len(metric.values),
            "median": label(metric.quantile(0.5)),
            "quantile95": label(metric.quantile(0.95)),
            "largest": label(metric.largest[0]),
            "largest_of": metric.largest[1],
            "median_x": axis.x(metric.quantile(0.5)),
        }
        for step, metric in zip(steps, metrics, strict=True)
        if metric.values
    ]
    return {"charts": shown, "ticks": ticks}


def _failures(step: StepData, hints: Hints) -> dict[str, Any]:
    return {
        "step": step,
        "groups": list(step.failures),
        "tasks": step.failures.tasks,
        "hints": hints.after_failures(step.failures, step.name),
    }


def format_run_time(seconds: float) -> str:
    """A run time, in about two digits."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds >= 3600:
        hours, rest = divmod(seconds, 3600)
        return format_duration(seconds) if rest else f"{hours:.0f} h"
    number, unit = (seconds, "s") if seconds < 60 else (seconds / 60, "min")
    digits = f"{number:.1f}".removesuffix(".0") if number < 10 else f"{number:.0f}"
    return f"{digits} {unit}"


def format_megabytes(value: float) -> str:
    """An amount of memory, from MB."""
    if value < 1000:
        return f"{value:.0f} MB"
    return f"{value / 1000:.1f}".removesuffix(".0") + " GB"
