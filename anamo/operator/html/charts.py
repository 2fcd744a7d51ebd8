"""Geometry of the report's charts: numbers in, rectangles and ticks out; the template draws them.

Lengths are in the units of each chart's viewBox.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from anamo.core.text import count
from anamo.operator.html.step_data import Metric, Span, StepData

BINS = 48
"""Bars of a histogram."""

HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT = 480.0, 64.0

MIN_HEIGHT = 1.5
"""Height of the lowest bar: outliers must be visible."""

LABEL_WIDTH = 56
"""Distance between two labels of an axis at least."""

TIMELINE_WIDTH = 1000.0

LANE = 7.0
"""Height of a bar in the timeline; items that an instance holds at once are in separate lanes."""

MAX_LANES = 12
"""Lanes of an instance; what does not fit is drawn over the last."""

MAX_INSTANCES = 60
"""Instances in the timeline: those that ran the most items."""

MAX_BARS = 1500
"""With more spans than this, neighbours of the same kind are drawn as one bar."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle.

    Attributes:
        x: Its left edge.
        y: Its top edge.
        width: Its width.
        height: Its height.
        kind: The CSS class that gives its colour.
        title: Its tooltip.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class LogAxis:
    """A logarithmic scale from `low` to `high`."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """The position of a value."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return min(max(share, 0.0), 1.0) * HISTOGRAM_WIDTH


def shared_axis(
    metrics: Sequence[Metric], marks: Sequence[float], label: Callable[[float], str]
) -> tuple[LogAxis, list[Tick]] | None:
    """The axis of the histograms of several metrics, so that steps can be compared.

    Args:
        metrics: One for each step.
        marks: Round values; the axis begins and ends at one of them.
        label: Formats a value.

    Returns:
        The axis and its ticks; None without values.
    """
    values = [value for metric in metrics for value in metric.values]
    if not values:
        return None
    below = max(bisect_right(marks, min(values)) - 1, 0)
    above = min(bisect_right(marks, max(values)), len(marks) - 1)
    shown = marks[below : above + 1] if above > below else marks[below - 1 : above + 1]
    axis = LogAxis(shown[0], shown[-1])
    ticks: list[Tick] = []
    for mark in shown:
        x = axis.x(mark)
        if not ticks or x - ticks[-1].x >= LABEL_WIDTH:
            ticks.append(Tick(x, label(mark)))
    return axis, ticks


def histogram(metric: Metric, axis: LogAxis, label: Callable[[float], str]) -> list[Bar]:
    """A bar for each of the axis's BINS intervals that has values."""
    numbers = [0] * BINS
    for value in metric.values:
        numbers[min(int(axis.x(value) / HISTOGRAM_WIDTH * BINS), BINS - 1)] += 1
    width, most = HISTOGRAM_WIDTH / BINS, max(numbers) or 1
    edges = [axis.low * (axis.high / axis.low) ** (k / BINS) for k in range(BINS + 1)]
    bars = []
    for k, number in enumerate(numbers):
        if number:
            height = max(number / most * HISTOGRAM_HEIGHT, MIN_HEIGHT)
            title = f"{label(edges[k])} to {label(edges[k + 1])}: {count(number, 'task')}"
            y = HISTOGRAM_HEIGHT - height
            bars.append(Bar(k * width, y, width - 1, height, "", title))
    return bars


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """An instance in the timeline.

    Attributes:
        instance: The instance.
        y: The top edge of its lanes.
        height: The height of its lanes together.
        items: How many items it held.
    """

    instance: str
    y: float
    height: float
    items: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Which instance held which items when.

    Attributes:
        rows: The instances shown.
        bars: The spans, or groups of them.
        ticks: The ticks of the time axis.
        height: The height of the chart.
        hidden: How many instances are left out.
    """

    rows: Sequence[TimelineRow]
    bars: Sequence[Bar]
    ticks: Sequence[Tick]
    height: float
    hidden: int


def draw_timeline(spans: Sequence[Span], steps: Sequence[StepData]) -> Timeline | None:
    """The timeline of spans, which are sorted by time; None without any."""
    if not spans:
        return None
    begin = min(span.begin for span in spans)
    scale = TIMELINE_WIDTH / max(max(span.end for span in spans) - begin, 1.0)
    by_instance: dict[str, list[Span]] = {}
    for span in spans:
        by_instance.setdefault(span.instance, []).append(span)
    busiest = set(sorted(by_instance, key=lambda name: -len(by_instance[name]))[:MAX_INSTANCES])
    rows: list[TimelineRow] = []
    bars: list[Bar] = []
    y = 0.0
    for instance in (name for name in by_instance if name in busiest):
        lanes = _lanes(by_instance[instance])
        for k, lane in enumerate(lanes):
            groups = (
                _joined(lane, 1.5 / scale) if len(spans) > MAX_BARS else [[one] for one in lane]
            )
            bars += [_timeline_bar(each, begin, scale, y + k * LANE, steps) for each in groups]
        height = len(lanes) * LANE
        rows.append(TimelineRow(instance, y, height, len(by_instance[instance])))
        y += max(height, 13.0) + 5.0
    ticks = _time_ticks(begin, begin + TIMELINE_WIDTH / scale, scale)
    return Timeline(rows, bars, ticks, y, len(by_instance) - len(busiest))


def _lanes(spans: Sequence[Span]) -> list[list[Span]]:
    """Distribute spans over as few lanes as possible so that those in a lane do not overlap."""
    lanes: list[list[Span]] = []
    for span in spans:
        free = next((lane for lane in lanes if lane[-1].end <= span.begin), None)
        if free is None and len(lanes) < MAX_LANES:
            free = []
            lanes.append(free)
        (free if free is not None else lanes[-1]).append(span)
    return lanes


def _joined(lane: Sequence[Span], gap: float) -> list[list[Span]]:
    """Group neighbours of the same kind that are less than `gap` seconds apart."""
    groups: list[list[Span]] = []
    for span in lane:
        last = groups[-1][-1] if groups else None
        alike = last and (last.step, last.failed) == (span.step, span.failed)
        if last and alike and span.begin - last.end < gap:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _timeline_bar(
    group: Sequence[Span], begin: float, scale: float, y: float, steps: Sequence[StepData]
) -> Bar:
    first, end = group[0], max(span.end for span in group)
    items = first.task_id if len(group) == 1 else f"{len(group):,} items"
    failed = ", failed" if first.failed else ""
    period = f"{format_time(first.begin)} to {format_time(end)}"
    title = f"{steps[first.step].name}: {items}{failed}, {period}"
    kind = "failed" if first.failed else f"step{first.step % 8}"
    x = (first.begin - begin) * scale
    return Bar(x, y, max((end - first.begin) * scale - 0.3, 0.8), LANE - 1, kind, title)


STRIDES = [60 * n for n in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200)]
"""Seconds between ticks of a time axis."""


def _time_ticks(begin: float, end: float, scale: float) -> list[Tick]:
    """Ticks at round times."""
    stride = next((each for each in STRIDES if (end - begin) / each <= 9), (end - begin) / 9)
    first = math.ceil(begin / stride) * stride
    times = [first + k * stride for k in range(int((end - first) // stride) + 1)]
    form = "%H:%M" if stride < 43200 else "%d %b"
    return [Tick((each - begin) * scale, _utc(each).strftime(form)) for each in times]


def format_time(when: float) -> str:
    """Day and time in UTC, from epoch seconds."""
    return _utc(when).strftime("%d %b %H:%M:%S")


def _utc(when: float) -> datetime:
    return datetime.fromtimestamp(when, timezone.utc)
