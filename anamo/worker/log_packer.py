"""Packs complete logs: one object for the tasks that are recorded together, a gzip member per task.

Guaranteed: `zcat` reads an object whole, and the bytes of one member alone; memory stays flat
whatever a task prints; nothing is left on disk; the sizes in a member are those of what follows.
Not guaranteed: that output written after a task ended, by processes it left behind, is in its log,
nor what such a process truncates.

A member holds a header, then stdout, then stderr, each after an empty line and a line that says how
many bytes of it follow, and a last line break.
"""

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO

from anamo.aws.log_store import CHUNK, IN_MEMORY, Packed
from anamo.core.log_entry import LogEntry
from anamo.worker.task_process import Outcome

LEVEL = 3
"""zlib's level: nearly as small as the default on text, in a third of the time."""

TAG_WINDOW = 4096
"""Bytes of a line that may hold a tag."""

_TAG = re.compile(rb"(?:\A|(?<=\n))PyAnamo:\t([^\n]*)(\n)?")

Spool = SpooledTemporaryFile[bytes]


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that ended, and the header of its log.

    Attributes:
        outcome: How it ended.
        header: Names and values, in order.
    """

    outcome: Outcome
    header: Mapping[str, str]


@contextmanager
def pack(key: str, address: str, tasks: Sequence[Ended], limit: int) -> Iterator[Packed]:
    """Compress the tasks' logs into one object, whose body exists until the context ends.

    Args:
        key: Its S3 key.
        address: Its s3:// address.
        tasks: The tasks, whose output files are read and left open.
        limit: Bytes that a stream may have in a log entry.

    Raises:
        OSError: There is no space for the object.
    """
    with SpooledTemporaryFile(IN_MEMORY, prefix="pyanamo-") as spool:
        entries = tuple(_write_member(spool, address, task, limit) for task in tasks)
        yield Packed(key, _body(spool), entries)


def _body(spool: Spool) -> bytes | Path:
    if spool.tell() <= IN_MEMORY:
        spool.seek(0)
        return spool.read()
    spool.flush()
    # It is an unnamed file by now; an upload in parts takes a path, and would close a file object
    return Path(f"/proc/self/fd/{spool.fileno()}")


def _write_member(spool: Spool, address: str, task: Ended, limit: int) -> LogEntry:
    """Write a task's member, and return its log entry."""
    outcome, first = task.outcome, spool.tell()
    try:
        return _member(spool, address, task, (outcome.stdout, outcome.stderr), limit)
    except _Shortened:
        # A process that the task left behind empties its output: what it holds now is logged, from
        # copies, which nobody else can open
        spool.seek(first)
        spool.truncate()
        with _copy(outcome.stdout) as stdout, _copy(outcome.stderr) as stderr:
            return _member(spool, address, task, (stdout, stderr), limit)


@contextmanager
def _copy(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """An unnamed copy of a file, as long as its context."""
    with TemporaryFile(prefix="pyanamo-", buffering=0) as copy:
        position, size = 0, os.fstat(file.fileno()).st_size
        while chunk := os.pread(file.fileno(), min(CHUNK, size - position), position):
            position += copy.write(chunk)
        yield copy


def _member(
    spool: Spool, address: str, task: Ended, output: tuple[IO[bytes], IO[bytes]], limit: int
) -> LogEntry:
    outcome, first = task.outcome, spool.tell()
    stdout, stderr = (_Stream(file, limit) for file in output)
    sections = (("stdout", stdout.size, stdout), ("stderr", stderr.size, stderr))
    for part in gzip_member(task.header, sections):
        spool.write(part)
    return LogEntry(
        status=outcome.status,
        stdout=stdout.tail(),
        stderr=stderr.tail(),
        exit_code=outcome.exit_code,
        seconds=outcome.seconds,
        max_rss_mb=outcome.max_rss_mb,
        s3=address,
        s3_range=f"{first}-{spool.tell() - 1}",
        tags=stdout.tags(),
        lines=stdout.lines + stderr.lines,
    )


def gzip_member(
    header: Mapping[str, str], streams: Iterable[tuple[str, int, Iterable[bytes]]]
) -> Iterator[bytes]:
    """The log of one task, compressed.

    Args:
        header: Names and values, in order.
        streams: Name, size and content of each.
    """
    gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    lines = "".join(f"{name}: {_one_line(value)}\n" for name, value in header.items())
    yield gzip.compress(lines.encode("utf-8", "replace"))
    for name, size, chunks in streams:
        yield gzip.compress(f"\n== {name}, {size} bytes ==\n".encode())
        yield from map(gzip.compress, chunks)
    yield gzip.compress(b"\n") + gzip.flush()


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


class _Shortened(Exception):
    """A file of a task's output got shorter while it was read."""


class _Stream:
    """One stream of a task's output: iterate over it once, then ask for lines, tags and tail."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._descriptor = file.fileno()
        self._limit = limit
        self.size = os.fstat(self._descriptor).st_size
        self.lines = 0
        self._tags: dict[int, bytes] = {}
        self._window = b""
        self._tail = b""

    def __iter__(self) -> Iterator[bytes]:
        position = 0
        while position < self.size:
            chunk = os.pread(self._descriptor, min(CHUNK, self.size - position), position)
            if not chunk:
                raise _Shortened
            self._note(chunk, position)
            position += len(chunk)
            yield chunk
        if self.size:
            self.lines += self._window[-1:] != b"\n"

    def _note(self, chunk: bytes, position: int) -> None:
        self.lines += chunk.count(b"\n")
        # A tag may begin in the chunk before
        window, begin = self._window + chunk, position - len(self._window)
        if b"PyAnamo:\t" in window:
            for match in _TAG.finditer(window):
                cut = begin > 0 and match.start() == 0
                if not cut and len(self._tags) < self._limit:
                    self._tags[begin + match.start()] = match[1][: self._limit]
        self._window = window[-TAG_WINDOW:]
        self._tail = (self._tail + chunk[-self._limit :])[-self._limit :] if self._limit else b""

    def tags(self) -> tuple[str, ...]:
        """The texts after `PyAnamo:<TAB>` at the start of lines, as many as the limit allows."""
        room, tags = self._limit, []
        for _, tag in sorted(self._tags.items()):
            text = _decoded(tag, self._limit)
            room -= len(text.encode()) + 1
            if room < 0:
                break
            tags.append(text)
        return tuple(tags)

    def tail(self) -> str:
        """Its end, in at most `limit` bytes of UTF-8."""
        return _decoded(self._tail, self._limit)


def _decoded(data: bytes, limit: int) -> str:
    """The end of the text, at most `limit` bytes: each undecodable byte takes three."""
    text = data.decode("utf-8", "replace")
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[-limit:].decode("utf-8", "ignore")
