"""Filters a log: all of it, its stderr, or the last lines of each stream.

Guaranteed: memory stays flat whatever the log holds; at most TAIL_BYTES of last lines are kept.
"""

import re
from collections.abc import Callable, Iterable, Iterator

TAIL_BYTES = 16 << 20
"""Bytes of last lines: a stream without line breaks is one line."""

HEADER_BYTES = 1 << 20
"""Bytes within which the first heading must come; a header is only a few lines long."""

_HEADING = re.compile(rb"\n== (stdout|stderr), (\d+) bytes ==\n")

_LOCK, _NESTED = re.compile(rb"(?m)^lockID: "), re.compile(rb"(?m)^nested task: (.*)$")

HEADER, STDERR = "header", "stderr"


def sections(pieces: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Split a log into its sections.

    Args:
        pieces: The log, in pieces of any size.

    Yields:
        Pieces, each with the section it is part of: header, stdout or stderr. A heading counts as
        header, and so does all of a log without headings.
    """
    buffered = b""
    left, stream = 0, HEADER
    for piece in pieces:
        buffered += piece
        while buffered:
            if left:
                taken, buffered = buffered[:left], buffered[left:]
                left -= len(taken)
                yield stream, taken
                continue
            match = _HEADING.search(buffered)
            if not match:
                if len(buffered) > HEADER_BYTES:
                    yield HEADER, buffered
                    buffered = b""
                break
            stream, left = match[1].decode(), int(match[2])
            yield HEADER, buffered[: match.end()]
            buffered = buffered[match.end() :]
    # The line break at the end
    if buffered:
        yield HEADER, buffered


def only_tasks(pieces: Iterable[bytes], without: Callable[[str], bool]) -> Iterator[bytes]:
    """The logs of some of the tasks whose logs follow one another.

    Args:
        pieces: The logs, in pieces of any size.
        without: Whether the log of the nested task of this name is left out; "" is a single task.
    """
    shown = True
    for section, piece in sections(pieces):
        if section == HEADER and _LOCK.search(piece):
            name = _NESTED.search(piece)
            shown = not without(name[1].decode("utf-8", "replace") if name else "")
        if shown:
            yield piece


def filter_log(pieces: Iterable[bytes], *, stderr: bool, tail: int | None) -> Iterator[bytes]:
    """The part of a log to show.

    Args:
        pieces: The log, in pieces of any size.
        stderr: Only stderr, without the header.
        tail: How many last lines of each stream; None for all.
    """
    tails: dict[str, Tail] = {}
    for section, piece in sections(pieces):
        if section == HEADER:
            for each in tails.values():
                yield each.lines()
            tails.clear()
        if stderr and section != STDERR:
            continue
        if tail is None or section == HEADER:
            yield piece
        else:
            tails.setdefault(section, Tail(tail)).add(piece)
    for each in tails.values():
        yield each.lines()


class Tail:
    """Keeps the last lines of a stream."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._kept = bytearray()
        self._trimmed = 0

    def add(self, piece: bytes) -> None:
        """Add the next bytes of the stream."""
        self._kept += piece
        # Not each time: searching takes time in proportion to what is kept
        if len(self._kept) > 2 * self._trimmed + (1 << 20):
            self._trim()

    def lines(self) -> bytes:
        """The last lines."""
        self._trim()
        return bytes(self._kept)

    def _trim(self) -> None:
        start = len(self._kept) - self._kept.endswith(b"\n")
        for _ in range(self._number):
            start = self._kept.rfind(b"\n", 0, start)
            if start < 0:
                break
        begin = max(start + 1 if self._number else len(self._kept), len(self._kept) - TAIL_BYTES)
        del self._kept[:begin]
        self._trimmed = len(self._kept)
