"""The counts at intervals, with the rate at which tasks end and the time left.

On a terminal the lines are updated in place; otherwise each refresh prints a new block of lines.
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
"""The period that the rate is measured over: long enough to be steady, short enough to show that a
fleet grows."""

PAUSE_FACTOR = 4
"""A refresh is followed by a pause of at least this many times its duration, whatever the interval:
at 50,000 items a refresh costs thousands of read units, which workers need too."""


class Pace:
    """How fast tasks end, measured over the last WINDOW_SECONDS."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, when: float, ended: int) -> None:
        """Note how many tasks had ended at `when`, in monotonic seconds."""
        self._seen.append((when, ended))
        while len(self._seen) > 2 and self._seen[1][0] <= when - WINDOW_SECONDS:
            self._seen.popleft()

    def rate(self) -> float | None:
        """Tasks per second; None before the second refresh."""
        if len(self._seen) < 2:
            return None
        (begin, first), (end, last) = self._seen[0], self._seen[-1]
        # Requeued items would make it negative
        return max(last - first, 0) / (end - begin) if end > begin else None

    def seconds_left(self, todo: int) -> float | None:
        """Seconds until `todo` tasks have ended at this rate; None if none end or it is unknown."""
        rate = self.rate()
        return todo / rate if rate else None


def watch_counts(
    count_tables: Callable[[], Sequence[TableCounts]],
    seconds: float,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Show counts repeatedly, until no item is todo or locked.

    Args:
        count_tables: Counts the tables.
        seconds: From the start of one refresh to the next; longer if counting takes long.
        sleep: Waits for some seconds.
    """
    from rich.live import Live

    paces: dict[str, Pace] = {}
    console = output.stdout_console()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            began = monotonic()
            tables = count_tables()
            took = monotonic() - began
            shown = _lines(tables, paces, began, console)
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                output.print_rich(shown)
            if not any(counts.left for counts in tables):
                return
            sleep(max(seconds - took, PAUSE_FACTOR * took))


def _lines(
    tables: Sequence[TableCounts], paces: dict[str, Pace], now: float, console: "Console"
) -> "RenderableType":
    from rich.console import Group

    lines: list[RenderableType] = [summary.counts_table(tables, console)]
    for counts in tables:
        pace = paces.setdefault(counts.table, Pace())
        pace.note(now, counts.tasks_ended)
        lines.append(output.escaped(f"{counts.table}: {_forecast(pace, counts)}", "dim"))
    units = sum(counts.units for counts in tables)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    lines.append(output.escaped(f"{moment} UTC, {units:,.0f} read units per refresh", "dim"))
    return Group(*lines)


def _forecast(pace: Pace, counts: TableCounts) -> str:
    """The rate and the time left, in words."""
    if not counts.left:
        return "nothing left to do"
    rate = pace.rate()
    if rate is None:
        return "measuring"
    left = pace.seconds_left(counts.tasks["todo"])
    if left is None:
        return "no task has ended since the first refresh"
    return f"{format_rate(rate)}, {format_duration(left)} to go"


def format_rate(rate: float) -> str:
    """Tasks per second, minute or hour: the first of them that gives at least one."""
    unit, seconds = next(
        (each for each in (("s", 1), ("min", 60)) if rate * each[1] >= 1), ("h", 3600)
    )
    return f"{rate * seconds:,.1f} tasks/{unit}"


def format_duration(seconds: float) -> str:
    """A duration such as "2 h 30 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24} h"
