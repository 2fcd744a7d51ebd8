"""Geometry of the report's histograms: numbers in, rectangles and ticks out; the template draws
them. Lengths are percentages of a chart's width and height.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anamo.core.text import count
from anamo.operator.html.step_data import Metric

BINS = 48
"""Bars of a histogram."""

MIN_HEIGHT = 2.5
"""Height of the lowest bar: outliers must be visible."""

LABEL_WIDTH = 13
"""Distance between two labels of an axis at least."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar that stands on the axis, with its tooltip."""

    x: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class LogAxis:
    """A logarithmic scale from `low` to `high`."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """The position of a value."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return min(max(share, 0.0), 1.0) * 100


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
    # All values may be below the first mark
    above = min(max(bisect_right(marks, max(values)), 1), len(marks) - 1)
    shown = marks[below : above + 1] if above > below else marks[below - 1 : above + 1]
    axis = LogAxis(shown[0], shown[-1])
    ticks: list[Tick] = []
    for mark in shown:
        x = axis.x(mark)
        if not ticks or x - ticks[-1].x >= LABEL_WIDTH:
            ticks.append(Tick(x, label(mark)))
    return axis, ticks


def histogram(
    metric: Metric, axis: LogAxis, label: Callable[[float], str]
) -> tuple[list[Bar], int]:
    """A bar for each of the axis's BINS intervals that has values.

    Args:
        metric: The values.
        axis: Their axis.
        label: Writes a value with its unit.

    Returns:
        The bars, and the number of tasks that a bar of full height stands for.
    """
    numbers = [0] * BINS
    for value in metric.values:
        numbers[min(int(axis.x(value) / 100 * BINS), BINS - 1)] += 1
    width, most = 100 / BINS, max(numbers) or 1
    edges = [axis.low * (axis.high / axis.low) ** (k / BINS) for k in range(BINS + 1)]
    bars = []
    for k, number in enumerate(numbers):
        if number:
            title = f"{label(edges[k])} to {label(edges[k + 1])}: {count(number, 'task')}"
            height = max(number / most * 100, MIN_HEIGHT)
            bars.append(Bar(k * width, width * 0.88, height, title))
    return bars, most
