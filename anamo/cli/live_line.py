"""What the operator sees while a worker works.

The parent process draws between two looks at its worker processes, and has no thread of its own for
it, since it forks. Messages are printed above the live line.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from anamo.cli.console import Messages
from anamo.core.item import State
from anamo.core.text import count
from anamo.worker.messages import ItemEnded
from anamo.worker.progress import Screen, item_line

DRAW_SECONDS = 0.1
"""Shortest time between two drawings: each takes a millisecond, and may come with every claim."""


class LiveLine:
    """On a terminal: one line that changes, with the items done, failed, running here, and left.

    Items that are left are those that were todo at first, less those that this worker took; what
    other workers take is not known here. Items that are done are only counted.
    """

    refresh = 1.0

    def __init__(self, program: str, *, with_table: bool = False) -> None:
        # Here and not above: it takes a tenth of a second, which scripts need not wait for
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self.say = Messages(program, self._print)
        self._with_table = with_table
        self._left = 0
        self._exact = True
        self._done = self._failed = 0
        self._draw_at = 0.0
        self._shown = ""

    @contextmanager
    def _while_there(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # The terminal is gone; rich would keep all that it could not write, and try again
            self._console.quiet = True

    def _print(self, line: str) -> None:
        from rich.text import Text

        with self._while_there():
            self._console.print(Text(line), soft_wrap=True)

    def start(self, todo: Callable[[], tuple[int, bool]]) -> None:
        """Show the line from now on."""
        self._left, self._exact = todo()
        with self._while_there():
            self._live.start()
            # Whoever kills this process should not be left without a cursor
            self._console.show_cursor()

    def ended(self, item: ItemEnded) -> None:
        """A claim ended."""
        self._done += item.state == State.DONE
        self._failed += item.state == State.FAILED
        self._left -= item.state != State.TODO
        if item.state != State.DONE:
            self.say(item_line(item, with_table=self._with_table))

    def draw(self, running: int) -> None:
        """Show the present state, with so many items claimed."""
        from rich.text import Text

        with self._while_there():
            sys.stderr.flush()
        if running and monotonic() < self._draw_at:
            return
        self._draw_at = monotonic() + DRAW_SECONDS
        left = f"{max(self._left - running, 0):,}{'' if self._exact else '+'} left"
        line = (
            f"{count(self._done, 'item')} done · {self._failed:,} failed · "
            f"{running:,} running · {left}"
        )
        if line != self._shown:
            self._shown = line
            with self._while_there():
                self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)

    def close(self) -> None:
        """Take the line away."""
        with self._while_there():
            self._live.stop()


class ItemLines:
    """Where there is no terminal: a line for each claim that ended, or none if `quiet`."""

    refresh = math.inf

    def __init__(
        self, say: Callable[[str], object], *, quiet: bool, with_table: bool = False
    ) -> None:
        self._say = say
        self._with_table = with_table
        self._quiet = quiet

    def say(self, message: str) -> None:
        """Print a message."""
        self._say(message)

    def start(self, todo: Callable[[], tuple[int, bool]]) -> None:
        """Nothing is counted."""

    def ended(self, item: ItemEnded) -> None:
        """A claim ended."""
        if not self._quiet:
            self.say(item_line(item, with_table=self._with_table))

    def draw(self, running: int) -> None:  # noqa: ARG002
        """Print what could not be printed before; nothing is drawn."""
        with suppress(OSError):
            sys.stderr.flush()

    def close(self) -> None:
        """Nothing is taken away."""


def screen(program: str, *, quiet: bool, with_table: bool = False) -> Screen:
    """What fits stderr: a live line on a terminal, else a line for each item, which names its
    table if `with_table`.
    """
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return ItemLines(Messages(program), quiet=quiet, with_table=with_table)
    return LiveLine(program, with_table=with_table)
