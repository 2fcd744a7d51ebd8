"""The counts at intervals, with the pace of each step.

On a terminal the lines are updated in place; otherwise each refresh prints a new block of lines.
"""

import sys
import time
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from anamo.operator import output, summary
from anamo.operator.counts import TableCounts

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PAUSE_FACTOR = 4
"""A refresh is followed by a pause of at least this many times its duration, whatever the interval:
at 50,000 items a refresh costs thousands of read units, which workers need too."""


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

    console = output.stdout_console()
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            began = monotonic()
            tables = count_tables()
            took = monotonic() - began
            shown = _lines(tables, console)
            if console.is_terminal:
                live.update(shown, refresh=True)
            else:
                output.print_rich(shown)
                sys.stdout.flush()
            if not any(counts.left for counts in tables):
                return
            sleep(max(seconds - took, PAUSE_FACTOR * took))


def _lines(tables: Sequence[TableCounts], console: "Console") -> "RenderableType":
    from rich.console import Group

    paces = summary.pace_lines(tables)
    units = sum(counts.units for counts in tables)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    last = f"{moment} UTC, {units:,.0f} read units per refresh"
    lines = (output.escaped(line, "dim") for line in [*paces, last])
    return Group(summary.counts_table(tables, console), *lines)
