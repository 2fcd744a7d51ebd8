"""Writes logs to stdout.

Guaranteed: the bytes that the task wrote, except on a terminal, where control characters are
escaped so that it does not obey them.
"""

import codecs
import sys
from collections.abc import Iterable, Iterator

from anamo.core.text import printable, printable_lines


class LogWriter:
    """Writes bytes to stdout; escapes control characters if it is a terminal."""

    def __init__(self) -> None:
        self._escape = sys.stdout.isatty()
        self._last = b"\n"
        self._heading = ""

    def __call__(self, pieces: Iterable[bytes], heading: str) -> None:
        """Write pieces, below a line with the heading if there is one and it is a new one."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in self._with_heading(pieces, heading):
            if self._escape:
                sys.stdout.write(printable_lines(decoder.decode(piece)))
            else:
                sys.stdout.buffer.write(piece)
            self._last = piece[-1:] or self._last
        sys.stdout.flush()

    def _with_heading(self, pieces: Iterable[bytes], heading: str) -> Iterator[bytes]:
        source = iter(pieces)
        # Read before the heading: a log that is gone gets none, one that is empty does
        first = next(source, b"")
        if heading and heading != self._heading:
            self._heading = heading
            end = b"" if self._last == b"\n" else b"\n"
            yield end + f"==> {printable(heading)} <==\n".encode()
        yield first
        yield from source
