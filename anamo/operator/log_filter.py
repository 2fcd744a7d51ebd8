"""What is shown of a log: all of it, its stderr, or the last lines.

Guaranteed: memory stays flat whatever the log holds; of last lines at most TAIL_BYTES are kept.
"""

import re
from collections.abc import Iterable, Iterator

TAIL_BYTES = 16 << 20
"""Bytes of last lines: a stream without line breaks is one line."""

HEADER_BYTES = 1 << 20
"""Bytes in which the first heading must come; a header is some lines long."""

_HEADING = re.compile(rb"\n== (stdout|stderr), (\d+) bytes ==\n")

HEADER, STDOUT, STDERR = "header", "stdout", "stderr"


def sections(pieces: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """A log's pieces, each with what it is part of: the header, stdout or stderr. A heading counts
    as header. A log without headings is all header.
    """
    source = iter(pieces)
    held = b""
    left, stream = 0, HEADER
    for piece in source:
        held += piece
        while held:
            if left:
                taken, held = held[:left], held[left:]
                left -= len(taken)
                yield stream, taken
                continue
            match = _HEADING.search(held)
            if not match:
                if len(held) > HEADER_BYTES:
                    yield HEADER, held
                    held = b""
                break
            stream, left = match[1].decode(), int(match[2])
            yield HEADER, held[: match.end()]
            held = held[match.end() :]
    # The line break at the end
    if held:
        yield HEADER, held


def filter_log(pieces: Iterable[bytes], *, stderr: bool, tail: int | None) -> Iterator[bytes]:
    """What to show of a log: `stderr` alone, the last `tail` lines of each stream, or all of it."""
    ends: dict[str, Tail] = {}
    for section, piece in sections(pieces):
        if section == HEADER:
            for end in ends.values():
                yield from end.take()
            ends.clear()
        if stderr and section != STDERR:
            continue
        if tail is None or section == HEADER:
            yield piece
        else:
            ends.setdefault(section, Tail(tail)).add(piece)
    for end in ends.values():
        yield from end.take()


class Tail:
    """The last lines of what it is given."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._kept = bytearray()
        self._trimmed = 0

    def add(self, piece: bytes) -> None:
        """Take further bytes."""
        self._kept += piece
        # Not each time: looking for the lines takes as long as what is kept is large
        if len(self._kept) > 2 * self._trimmed + (1 << 20):
            self._trim()

    def take(self) -> Iterator[bytes]:
        """The last lines."""
        self._trim()
        if self._kept:
            yield bytes(self._kept)

    def _trim(self) -> None:
        end = len(self._kept) - self._kept.endswith(b"\n")
        start = end
        for _ in range(self._lines):
            start = self._kept.rfind(b"\n", 0, start)
            if start < 0:
                break
        begin = max(start + 1 if self._lines else len(self._kept), len(self._kept) - TAIL_BYTES)
        del self._kept[:begin]
        self._trimmed = len(self._kept)
