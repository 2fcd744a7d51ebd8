"""Writes logs to stdout.

Guaranteed: the bytes that the task wrote, except on a terminal, where control characters are
escaped so that it does not obey them.
"""

import codecs
import io
import sys
from collections.abc import Iterable

from anamo.core.text import printable, printable_lines


class LogWriter:
    """Writes bytes to stdout; escapes control characters if it is a terminal."""

    def __init__(self) -> None:
        self._escape = sys.stdout.isatty()
        self._decoders: dict[str, io.IncrementalNewlineDecoder] = {}
        self._last = b"\n"
        self._heading = ""

    def __call__(self, pieces: Iterable[bytes], heading: str) -> None:
        """Write pieces of a log, below a line with its heading unless that stands there already.

        Args:
            pieces: What comes next of the log. On a terminal, half a character at their end waits
                for the next pieces.
            heading: Identifies the log; "" where there is only one.
        """
        source = iter(pieces)
        # Read before the heading: a log that is gone gets none, one that is empty does
        first = next(source, b"")
        self._begin(heading)
        self._write(first, heading)
        for piece in source:
            self._write(piece, heading)
        sys.stdout.flush()

    def whole(self, pieces: Iterable[bytes], heading: str) -> None:
        """Write all of a log."""
        self(pieces, heading)
        self.end(heading)

    def end(self, heading: str) -> None:
        """Say that a log has ended: half a character that is its last is written now."""
        decoder = self._decoders.pop(heading, None)
        if decoder and (rest := decoder.decode(b"", final=True)):
            self._begin(heading)
            sys.stdout.write(printable_lines(rest))
            sys.stdout.flush()

    def _begin(self, heading: str) -> None:
        """Write a heading, unless it is that of what was written last."""
        if not heading or heading == self._heading:
            return
        self._heading = heading
        end = "" if self._last == b"\n" else "\n"
        line = f"{end}==> {printable(heading)} <==\n"
        if self._escape:
            sys.stdout.write(line)
        else:
            sys.stdout.buffer.write(line.encode())
        self._last = b"\n"

    def _write(self, piece: bytes, heading: str) -> None:
        if self._escape:
            sys.stdout.write(printable_lines(self._decoder(heading).decode(piece)))
        else:
            sys.stdout.buffer.write(piece)
        self._last = piece[-1:] or self._last

    def _decoder(self, heading: str) -> io.IncrementalNewlineDecoder:
        """What decodes a log: it keeps half a character, and a CR, until the next piece."""
        if heading not in self._decoders:
            utf8 = codecs.getincrementaldecoder("utf-8")("replace")
            self._decoders[heading] = io.IncrementalNewlineDecoder(utf8, translate=False)
        return self._decoders[heading]
