"""The counts again and again, with the rate of what passed and the time to go.

On a terminal the lines stay in place; elsewhere each look is a block of lines of its own.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from anamo.operator import output, summary
from anamo.operator.counts import TableCounts

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WINDOW_SECONDS = 600.0
"""How far back the rate looks: far enough to be steady, near enough to see a fleet grow."""

SHARE = 4
"""A look is followed by a pause of at least this many times what it took, however short an interval
was asked for: at 50,000 items a look costs thousands of read units, which workers need too."""


class Pace:
    """How fast tasks end, by what was seen to pass."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, when: float, ended: int) -> None:
        """At `when`, in seconds, so many tasks had ended."""
        self._seen.append((when, ended))
        while len(self._seen) > 2 and self._seen[1][0] <= when - WINDOW_SECONDS:
            self._seen.popleft()

    def rate(self) -> float | None:
        """Tasks a second; None as long as there is nothing to compare."""
        if len(self._seen) < 2:
            return None
        (begin, first), (end, last) = self._seen[0], self._seen[-1]
        # Items that were requeued meanwhile make it negative
        return max(last - first, 0) / (end - begin) if end > begin else None

    def seconds_left(self, todo: int) -> float | None:
        """Until so many tasks have ended at this rate; None if nobody can tell."""
        rate = self.rate()
        return todo / rate if rate else None


def watch(
    look: Callable[[], Sequence[TableCounts]],
    seconds: float,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Show what `look` sees, every so many seconds, until no item is todo or locked."""
    from rich.live import Live

    paces: dict[str, Pace] = {}
    console = output.console()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            began = monotonic()
            tables_counts = look()
            took = monotonic() - began
            shown = _lines(tables_counts, paces, began, console)
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                output.show(shown)
            if not any(census.left for census in tables_counts):
                return
            sleep(max(seconds - took, SHARE * took))


def _lines(
    tables_counts: Sequence[TableCounts], paces: dict[str, Pace], now: float, console: "Console"
) -> "RenderableType":
    from rich.console import Group

    lines: list[RenderableType] = [summary.table(tables_counts, console)]
    for census in tables_counts:
        pace = paces.setdefault(census.table, Pace())
        pace.note(now, census.tasks["done"] + census.tasks["failed"])
        lines.append(output.text(f"{census.table}: {forecast(pace, census)}", "dim"))
    units = sum(census.units for census in tables_counts)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    lines.append(output.text(f"{moment} UTC, {units:,.0f} read units a look", "dim"))
    return Group(*lines)


def forecast(pace: Pace, census: TableCounts) -> str:
    """The rate and the time to go, in words."""
    if not census.left:
        return "nothing left to do"
    rate = pace.rate()
    if rate is None:
        return "measuring"
    left = pace.seconds_left(census.tasks["todo"])
    if left is None:
        return "no task has ended since the first look"
    return f"{speed(rate)}, {span(left)} to go"


def speed(rate: float) -> str:
    """Tasks by the second, minute or hour, whichever gives a number to imagine."""
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        if rate * seconds >= 1 or unit == "h":
            return f"{rate * seconds:,.1f} tasks/{unit}"
    return ""


def span(seconds: float) -> str:
    """A duration for people."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24} h"
