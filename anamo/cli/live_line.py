"""What a worker on a terminal shows of its work: one line that changes.

The parent process draws it between two looks at its worker processes, and has no thread of its own
for it: it forks. Messages, which the worker processes print too, take the line's place; it is drawn
anew below them.
"""

import math
import os
from collections.abc import Callable
from typing import TextIO

from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Part, Projection
from anamo.core.item import State
from anamo.core.text import count
from anamo.worker.messages import ItemEnded

PAGES = 10
"""Pages of todo items that are counted before the work begins: each takes 128 read units."""

CLEAR = "\r\x1b[K"
"""To the begin of the line, and nothing on it."""


def todo(table: WorkflowTable) -> tuple[int, bool]:
    """How many items are todo; False if there are more. Raises what a request of `table` raises."""
    found, rest = 0, Part(State.TODO.value)
    for _ in range(PAGES):
        page = table.page(rest, Projection.COUNTS)
        found += len(page.records)
        if page.rest is None:
            return found, True
        rest = page.rest
    return found, False


class LiveLine:
    """Items done, failed, running here, and left.

    left: items that were todo at first, `exact` or at least that many. From then on those that
    this worker takes are subtracted; what other workers take is not known here. say: prints the
    line of an item that did not end well. refresh: seconds between two drawings at most.
    """

    refresh = 1.0

    def __init__(
        self, stream: TextIO, left: int, exact: bool, say: Callable[[ItemEnded], object]
    ) -> None:
        self._stream = stream
        self._left = left
        self._exact = exact
        self._say = say
        self._done = self._failed = 0
        self._shown = ""

    def ended(self, message: ItemEnded) -> None:
        """A claim ended."""
        self._done += message.state == State.DONE
        self._failed += message.state == State.FAILED
        self._left -= message.state != State.TODO
        if message.state != State.DONE:
            self._say(message)
            self._shown = ""

    def draw(self, running: int) -> None:
        """Show how it stands now, with so many items claimed."""
        left = f"{max(self._left - running, 0):,}{'' if self._exact else '+'} left"
        line = (
            f"{count(self._done, 'item')} done · {self._failed:,} failed · "
            f"{running:,} running · {left}"
        )
        if line != self._shown:
            self._shown = line
            # The cursor stays at the begin, where a message may follow
            self._write(f"{CLEAR}{line[: self._columns() - 1]}\r")

    def close(self) -> None:
        """Take the line away."""
        self._write(CLEAR)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80


class Lines:
    """The same where there is no terminal: a line for each claim that ended, printed by `say`."""

    refresh = math.inf

    def __init__(self, say: Callable[[ItemEnded], object]) -> None:
        self._say = say

    def ended(self, message: ItemEnded) -> None:
        """A claim ended."""
        self._say(message)

    def draw(self, running: int) -> None:
        """Nothing is drawn."""

    def close(self) -> None:
        """Nothing is taken away."""
