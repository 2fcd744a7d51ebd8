"""Shows how many items have been dealt with: a bar on a terminal, otherwise a line now and then."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

LINE_SECONDS = 10.0
"""Between two lines if there is no terminal; a cron job's mail should stay short."""

DRAW_SECONDS = 0.1
"""Between two drawings of the bar."""


@contextmanager
def progress_bar(
    name: str, total: int, say: Callable[[str], object]
) -> Iterator[Callable[[int], object]]:
    """Show progress on stderr.

    Args:
        name: The table's name.
        total: How many items there are.
        say: Prints a message; called if there is no terminal.

    Returns:
        A context manager, which gives a function to call with each number of items dealt with, by
        one thread at a time.
    """
    if not sys.stderr.isatty():
        yield _lines(name, total, say)
        return
    # Imported here: rich takes 0.1 s, which scripts do not need
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    # It is drawn here when there is something new, and not by a thread
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task(name, total=total)
        drawn = -math.inf

        def advance(items: int) -> None:
            nonlocal drawn
            progress.update(task, advance=items)
            if monotonic() >= drawn + DRAW_SECONDS:
                progress.refresh()
                drawn = monotonic()

        progress.refresh()
        yield advance


def _lines(name: str, total: int, say: Callable[[str], object]) -> Callable[[int], object]:
    done = 0
    next_line = monotonic() + LINE_SECONDS

    def advance(items: int) -> None:
        nonlocal done, next_line
        done += items
        if monotonic() >= next_line:
            next_line = monotonic() + LINE_SECONDS
            say(f"table {name}: {done:,} of {total:,} items")

    return advance
