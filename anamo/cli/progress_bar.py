"""How far an import is: a bar on a terminal, a line now and then elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal; a cron job's mail should stay short."""


@contextmanager
def import_bar(
    name: str, total: int, say: Callable[[str], object]
) -> Iterator[Callable[[int], object]]:
    """Gives what is to be called with each number of items dealt with, by one thread at a time."""
    if not sys.stderr.isatty():
        yield _lines(name, total, say)
        return
    # Here and not above: it takes a tenth of a second, which scripts need not wait for
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
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda items: progress.advance(task, items)


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
