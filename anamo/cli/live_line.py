"""What the operator sees while a worker works.

The parent process draws it whenever it has received messages, and has no thread of its own for it,
since it forks. Messages are printed above the live line.
"""

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from anamo.cli.console import Messages
from anamo.core.errors import AwsError
from anamo.core.item import State
from anamo.core.text import count, format_duration, printable
from anamo.worker.in_flight_claims import Run
from anamo.worker.left import Left
from anamo.worker.messages import ItemEnded
from anamo.worker.progress import Screen, item_line

DRAW_SECONDS = 0.1
"""Shortest time between two drawings: each takes a millisecond, and may come with every claim."""

COUNT_SECONDS = 60.0
"""Between two counts of what is left, where that takes few read units."""

COUNT_UNITS = 2.0
"""Read units that counting takes in a second at most, or 0.001 USD an hour: large tables are
counted less often."""

LAST_ITEMS = 50
"""How many of the items that ended last say how long one takes."""


class LiveLine:
    """On a terminal: one line that changes. It shows how many items are done, failed, running here
    and left in the tables, the remaining and the elapsed time, and what has run longest.

    What is left is counted at intervals; in between, what this worker claims is subtracted. The
    remaining time assumes as many items at once as had a live lease in the last count, and as much
    time for each as for those that ended here last. Items that are done get no line of their own.
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
        self._left = Left(0, exact=False)
        # What this worker has taken since the count: ended claims, and running ones then
        self._ended = self._running = self._running_then = 0
        self._count_due = math.inf
        self._began = monotonic()
        self._seconds: deque[float] = deque(maxlen=LAST_ITEMS)
        self._done = self._failed = 0
        self._draw_at = 0.0
        self._shown = ""

    @contextmanager
    def _while_there(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # The terminal is gone; rich would keep all that it could not write, and retry
            self._console.quiet = True

    def _print(self, line: str) -> None:
        from rich.text import Text

        with self._while_there():
            self._console.print(Text(line), soft_wrap=True)

    def takes_count(self) -> bool:
        """Whether it is time to count what is left, which counts as requested then."""
        if monotonic() < self._count_due:
            return False
        # If no count comes, another is requested
        self._count_later()
        return True

    def _count_later(self) -> None:
        pause = max(COUNT_SECONDS, self._left.units / COUNT_UNITS)
        self._count_due = monotonic() + pause

    def counted(self, left: Left) -> None:
        """What is left has been counted."""
        self._left = left
        self._ended, self._running_then = 0, self._running
        self._count_later()

    def start(self, count_left: Callable[[], Left]) -> None:
        """Show the line from now on."""
        # What cannot be counted now is counted later: it is no reason not to work
        self.counted(self._left)
        with suppress(AwsError):
            self.counted(count_left())
        with self._while_there():
            self._live.start()
            # Whoever kills this process should not be left without a cursor
            self._console.show_cursor()

    def ended(self, item: ItemEnded) -> None:
        """A claim ended."""
        self._done += item.state == State.DONE
        self._failed += item.state == State.FAILED
        if item.state in (State.DONE, State.FAILED):
            self._seconds.append(item.seconds)
        self._ended += item.state != State.TODO
        if item.state != State.DONE:
            self.say(item_line(item, with_table=self._with_table))

    def draw(self, running: int, longest: Run | None) -> None:
        """Show the present state."""
        from rich.text import Text

        with self._while_there():
            sys.stderr.flush()
        if running and monotonic() < self._draw_at:
            return
        self._draw_at = monotonic() + DRAW_SECONDS
        self._running = running
        line = self._text(longest)
        if line != self._shown:
            self._shown = line
            with self._while_there():
                self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)

    def _text(self, longest: Run | None) -> str:
        taken = self._ended + self._running - self._running_then
        left, more = max(self._left.todo - taken, 0), "" if self._left.exact else "+"
        parts = [
            f"{count(self._done, 'item')} done",
            f"{self._failed:,} failed",
            f"{self._running:,} running",
            f"{left:,}{more} left",
        ]
        if self._seconds and (left or self._running):
            seconds = sum(self._seconds) / len(self._seconds)
            concurrency = max(self._left.running, self._running, 1)
            rest = max(seconds - longest.seconds, 0.0) if longest else 0.0
            parts.append(f"{format_duration(left * seconds / concurrency + rest)}{more} to go")
        parts.append(f"{format_duration(monotonic() - self._began)} so far")
        if longest:
            parts.append(f"{printable(longest.task_id)} for {format_duration(longest.seconds)}")
        return " · ".join(parts)

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
        self.say = say
        self._with_table = with_table
        self._quiet = quiet

    def takes_count(self) -> bool:
        """Nothing is counted."""
        return False

    def start(self, count_left: Callable[[], Left]) -> None:
        """Nothing is counted."""

    def counted(self, left: Left) -> None:
        """Nothing is counted."""

    def ended(self, item: ItemEnded) -> None:
        """A claim ended."""
        if not self._quiet:
            self.say(item_line(item, with_table=self._with_table))

    def draw(self, running: int, longest: Run | None) -> None:  # noqa: ARG002
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
