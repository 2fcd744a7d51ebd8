"""Geometry of the page's charts: numbers in, rectangles and ticks out; the template draws them.

Lengths are in the units of each chart's viewBox.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from anamo.operator.html.measure import Measure, Span, StepData

BINS = 48
"""Bars of a histogram."""

HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT = 480.0, 64.0

TIMELINE_WIDTH = 1000.0

LANE = 7.0
"""Height of a bar in the timeline; what an instance runs at once stands in lanes."""

LANES = 12
"""Most lanes of an instance; what does not fit is drawn over the last."""

INSTANCES = 60
"""Most instances in the timeline: those that ran most."""

MANY = 1500
"""Bars beyond which neighbours of the same kind are drawn as one."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle. kind: of its colour. title: what it is, on hovering."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Values on a logarithmic scale, from `low` to `high`."""

    low: float
    high: float
    ticks: Sequence[Tick]

    def x(self, value: float) -> float:
        """Where a value stands."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return min(max(share, 0.0), 1.0) * HISTOGRAM_WIDTH


def axis(
    measures: Sequence[Measure], marks: Sequence[float], label: Callable[[float], str]
) -> Axis | None:
    """The axis all measures share, so that steps compare; None without values. It begins and ends
    at one of the `marks`.
    """
    values = [value for measure in measures for value in measure.values]
    if not values:
        return None
    below = max(bisect_right(marks, min(values)) - 1, 0)
    above = min(bisect_right(marks, max(values)), len(marks) - 1)
    shown = marks[below : above + 1] if above > below else marks[below - 1 : above + 1]
    made = Axis(shown[0], shown[-1], ())
    return Axis(made.low, made.high, _ticks(shown, made, label))


def _ticks(marks: Sequence[float], on: Axis, label: Callable[[float], str]) -> list[Tick]:
    """The marks that have room for a label."""
    ticks: list[Tick] = []
    for mark in marks:
        x = on.x(mark)
        if not ticks or x - ticks[-1].x >= 56:
            ticks.append(Tick(x, label(mark)))
    return ticks


def histogram(measure: Measure, on: Axis, label: Callable[[float], str]) -> list[Bar]:
    """A bar for each part of the axis, as high as there are values in it."""
    counts = [0] * BINS
    for value in measure.values:
        counts[min(int(on.x(value) / HISTOGRAM_WIDTH * BINS), BINS - 1)] += 1
    width, most = HISTOGRAM_WIDTH / BINS, max(counts) or 1
    edge = [on.low * (on.high / on.low) ** (k / BINS) for k in range(BINS + 1)]
    bars = []
    for k, count in enumerate(counts):
        if count:
            # Some height for the rarest too: outliers are what one looks for
            height = max(count / most * HISTOGRAM_HEIGHT, 1.5)
            title = f"{label(edge[k])} to {label(edge[k + 1])}: {count:,} tasks"
            y = HISTOGRAM_HEIGHT - height
            bars.append(Bar(k * width, y, width - 1, height, "", title))
    return bars


@dataclass(frozen=True, slots=True)
class Row:
    """An instance in the timeline: `y` of its lanes, their height, how many items it held."""

    instance: str
    y: float
    height: float
    items: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Which instance held what; `hidden` instances are left out."""

    rows: Sequence[Row]
    bars: Sequence[Bar]
    ticks: Sequence[Tick]
    height: float
    hidden: int


def timeline(spans: Sequence[Span], steps: Sequence[StepData]) -> Timeline | None:
    """The timeline of spans that are ordered by time; None without any."""
    if not spans:
        return None
    begin = min(span.begin for span in spans)
    scale = TIMELINE_WIDTH / max(max(span.end for span in spans) - begin, 1.0)
    by_instance: dict[str, list[Span]] = {}
    for span in spans:
        by_instance.setdefault(span.instance, []).append(span)
    busiest = sorted(by_instance, key=lambda name: -len(by_instance[name]))[:INSTANCES]
    rows: list[Row] = []
    bars: list[Bar] = []
    y = 0.0
    for instance in (name for name in by_instance if name in set(busiest)):
        lanes = _lanes(by_instance[instance])
        for k, lane in enumerate(lanes):
            groups = _joined(lane, 1.5 / scale) if len(spans) > MANY else [[one] for one in lane]
            bars += [_bar(each, begin, scale, y + k * LANE, steps) for each in groups]
        height = len(lanes) * LANE
        rows.append(Row(instance, y, height, len(by_instance[instance])))
        y += max(height, 13.0) + 5.0
    ticks = _moments(begin, begin + TIMELINE_WIDTH / scale, scale)
    return Timeline(rows, bars, ticks, y, len(by_instance) - len(busiest))


def _lanes(spans: Sequence[Span]) -> list[list[Span]]:
    """Spans that follow one another, in as few lanes as they need."""
    lanes: list[list[Span]] = []
    for span in spans:
        free = next((lane for lane in lanes if lane[-1].end <= span.begin), None)
        if free is None and len(lanes) < LANES:
            free = []
            lanes.append(free)
        (free if free is not None else lanes[-1]).append(span)
    return lanes


def _joined(lane: Sequence[Span], gap: float) -> list[list[Span]]:
    """Neighbours of one kind that are less than `gap` seconds apart, together."""
    groups: list[list[Span]] = []
    for span in lane:
        last = groups[-1][-1] if groups else None
        alike = last and (last.step, last.failed) == (span.step, span.failed)
        if last and alike and span.begin - last.end < gap:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _bar(
    group: Sequence[Span], begin: float, scale: float, y: float, steps: Sequence[StepData]
) -> Bar:
    first, end = group[0], max(span.end for span in group)
    what = first.task_id if len(group) == 1 else f"{len(group):,} items"
    failed = ", failed" if first.failed else ""
    title = f"{steps[first.step].name}: {what}{failed}, {clock(first.begin)} to {clock(end)}"
    kind = "failed" if first.failed else f"step{first.step % 8}"
    x = (first.begin - begin) * scale
    return Bar(x, y, max((end - first.begin) * scale - 0.3, 0.8), LANE - 1, kind, title)


STRIDES = [60 * n for n in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200)]
"""Seconds between ticks of a time axis."""


def _moments(begin: float, end: float, scale: float) -> list[Tick]:
    """Ticks at round times."""
    stride = next((each for each in STRIDES if (end - begin) / each <= 9), (end - begin) / 9)
    first = math.ceil(begin / stride) * stride
    times = [first + k * stride for k in range(int((end - first) // stride) + 1)]
    form = "%H:%M" if stride < 43200 else "%d %b"
    return [Tick((each - begin) * scale, _utc(each).strftime(form)) for each in times]


def clock(when: float) -> str:
    """Day and time in UTC."""
    return _utc(when).strftime("%d %b %H:%M:%S")


def _utc(when: float) -> datetime:
    return datetime.fromtimestamp(when, timezone.utc)
