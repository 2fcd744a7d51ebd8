"""Renders the report, from what was collected about the steps."""

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2

from anamo import __version__
from anamo.core.text import format_duration, format_rate, percent, printable
from anamo.operator import pace
from anamo.operator.hints import Hints
from anamo.operator.html import charts, item_row
from anamo.operator.html.report_data import ReportData
from anamo.operator.html.step_data import StepData

SECONDS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 10 * 86400, 100 * 86400]
"""Marks of the run time axis."""

MEGABYTES = [1.0, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000]
"""Marks of the memory axis."""

SHOWN_GROUPS = 20
"""How many causes of failures are shown for a step."""


def render(
    steps: Sequence[StepData],
    hints: Hints,
    now: float,
    refresh: float | None = None,
    *,
    all_steps: bool = True,
) -> str:
    """The report about steps, as HTML.

    Args:
        steps: At least one.
        hints: Makes the suggested command lines.
        now: Epoch seconds.
        refresh: After how many seconds the browser reloads it; None for never.
        all_steps: Whether the steps are all that were asked for.
    """
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
    samples = ReportData(steps)
    return environment.get_template("report.html").render(
        steps=[
            _step(k, step, hints, steps[k - 1].name if k else None) for k, step in enumerate(steps)
        ],
        samples=samples,
        states=samples.counts(),
        every="every step" + ("" if all_steps else " of the tables shown"),
        overall=_overall(steps),
        times=_histograms(steps, "seconds", SECONDS, format_run_time),
        memory=_histograms(steps, "memory", MEGABYTES, format_megabytes),
        hints=hints.start_workers([step.counts for step in steps]),
        failures=[_failures(k, step, hints) for k, step in enumerate(steps) if len(step.failures)],
        moment=format_time(now),
        refresh=refresh,
        region=hints.region,
        version=__version__,
        data=samples.to_json(hints, now, refresh),
    )


Facts = list[tuple[str, str]]
"""Names and values."""


def _overall(steps: Sequence[StepData]) -> Facts:
    """The progress of all steps together."""
    paces = [step.counts.pace for step in steps]
    ended, tasks = sum(each.tasks_ended for each in paces), sum(each.tasks for each in paces)
    rates = [each.rate for each in paces if each.left and each.rate]
    left = pace.seconds_to_go(paces)
    facts = [("tasks ended", f"{ended:,} of {tasks:,} ({percent(ended, tasks)})")]
    if any(each.left for each in paces):
        active = any(each.left and not each.stands_still for each in paces)
        no_rate = "none yet: nothing has finished" if active else "no worker is active"
        facts.append(("rate at this time", format_rate(sum(rates)) if rates else no_rate))
        facts.append(("time left", "unknown" if left is None else format_duration(left)))
    facts.append(("machine-hours so far", f"{pace.machine_hours(paces):,.1f}"))
    begins = [each.first for each in paces if each.first is not None]
    ends = [each.last for each in paces if each.last is not None]
    if begins and ends:
        facts.append(("wall time", format_duration(max(ends) - min(begins))))
    return facts


def _step(position: int, step: StepData, hints: Hints, earlier: str | None) -> dict[str, Any]:
    """What the report says of a step: its bar, divided among the kinds of items, and its facts;
    `earlier` is the step before.
    """
    kinds = step.kind_counts()
    parts = [
        {"kind": kind if kind in item_row.KINDS else "other", "word": kind, "count": number}
        for kind, number in kinds.items()
    ]
    return {
        "step": step,
        "position": position,
        "parts": parts,
        "percent": percent(kinds["done"], step.counts.items.total()),
        "facts": _facts(step),
        "forecast": str(step.counts.pace).removeprefix(f"{step.name}: "),
        "hints": hints.after_counting(step.counts, earlier),
    }


def _facts(step: StepData) -> Facts:
    counts, made = step.counts, step.counts.pace
    facts = []
    if made.first is not None and made.last is not None:
        facts.append(("start", format_time(made.first)))
        unended = "not yet" if made.stands_still else "running"
        facts.append(("end", unended if counts.left else format_time(made.last)))
        facts.append(("wall time", format_duration(made.last - made.first)))
        facts.append(("machine-hours", f"{pace.machine_hours([made]):,.1f}"))
    facts.append(("tasks ended", f"{counts.tasks_ended:,} of {counts.tasks.total():,}"))
    facts.append(("attempts", f"{step.attempts:,}"))
    if counts.workers:
        facts.append(("instances at work", f"{counts.workers:,}"))
    return facts


def _histograms(
    steps: Sequence[StepData], name: str, marks: Sequence[float], label: Callable[[float], str]
) -> dict[str, Any] | None:
    """The histograms of one metric, one for each step that has values; None if none has."""
    metrics = [getattr(step, name) for step in steps]
    shared = charts.shared_axis(metrics, marks, label)
    if not shared:
        return None
    axis, ticks = shared
    drawn = []
    for step, metric in zip(steps, metrics, strict=True):
        if not metric.values:
            continue
        bars, most = charts.histogram(metric, axis, label)
        drawn.append(
            {
                "name": step.name,
                "bars": bars,
                "most": most,
                "count": len(metric.values),
                "median": label(metric.quantile(0.5)),
                "median_x": axis.x(metric.quantile(0.5)),
                "quantile95": label(metric.quantile(0.95)),
                "largest": label(metric.largest[0]),
                "largest_of": metric.largest[1],
            }
        )
    return {"charts": drawn, "ticks": ticks}


def _failures(position: int, step: StepData, hints: Hints) -> dict[str, Any]:
    groups = list(step.failures)
    return {
        "step": step,
        "position": position,
        "tasks": step.failures.tasks,
        "groups": groups[:SHOWN_GROUPS],
        "rest": groups[SHOWN_GROUPS:],
        "hints": hints.after_failures(step.failures, step.name),
    }


def format_time(when: float) -> str:
    """Day and time in UTC, from epoch seconds."""
    return datetime.fromtimestamp(when, timezone.utc).strftime("%d %b %H:%M:%S")


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
