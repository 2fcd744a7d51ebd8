"""The standard streams of the scripts.

Guaranteed: a stream that the caller closed is there all the same, and leads nowhere; printing
a message never makes a worker wait. Not guaranteed: that all messages are shown where nobody reads
them.
"""

import io
import os
import select
import stat
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

KEPT = 64 * 1024
"""Bytes that wait for a reader before messages are dropped."""

DRAIN_SECONDS = 2.0
"""How long a worker that ends waits for a reader of its last messages."""


def reserve() -> None:
    """Open what the caller closed of descriptors 0 to 2, so that no file takes their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A task id may hold any character, whatever the locale can encode
        sys.stdout.reconfigure(errors="backslashreplace")


def flush_stdout() -> None:
    """Write what stdout holds back.

    Raises:
        OSError: It cannot be written; it is dropped.
    """
    try:
        sys.stdout.flush()
    except OSError:
        discard_stdout()
        raise


def discard_stdout() -> None:
    """Let stdout lead nowhere from now on, so that flushing it cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def non_blocking_stderr(program: str) -> Iterator[None]:
    """A context in which writing to stderr never waits; `program` stands before messages."""
    reserve()
    before = sys.stderr
    if not _is_descriptor(before, 2):
        yield
        return
    stream = NonBlockingStream(program, 2)
    sys.stderr = stream
    try:
        yield
    finally:
        stream.drain(DRAIN_SECONDS)
        sys.stderr = before


def _is_descriptor(stream: Any, number: int) -> bool:
    # Something else may have taken the stream's place, which has no descriptor
    with suppress(AttributeError, OSError):
        return bool(stream.fileno() == number)
    return False


class NonBlockingStream(io.TextIOBase):
    """A text stream whose writes never wait for whoever reads it.

    What cannot be written at once is kept for later. What comes when KEPT bytes are kept is dropped
    and counted, and the count is printed once there is room.

    Args:
        program: Stands before the count.
        descriptor: Where the text goes.
    """

    encoding = "utf-8"

    def __init__(self, program: str, descriptor: int) -> None:
        super().__init__()
        self._program = program
        self._descriptor = descriptor
        self._out = _non_blocking(descriptor)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLOUT)
        self._process = os.getpid()
        self._begun = ""
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._dropped = 0

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it leads to a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Write text; what does not end a line may wait for `flush`."""
        self._begun += text
        if text.endswith("\n"):
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Write as much as can be written without waiting."""
        if self._process != os.getpid():
            # A forked process: what its parent has kept is the parent's to print
            self._process = os.getpid()
            self._forget()
        self._write_kept()
        if self._begun:
            self._keep(self._begun)
            self._begun = ""
            self._write_kept()

    def drain(self, seconds: float) -> None:
        """Write what has been kept, waiting the given number of seconds at most."""
        until = monotonic() + seconds
        self.flush()
        while self._kept and (left := until - monotonic()) > 0:
            self._poll.poll(left * 1000)
            self._write_kept()

    def _keep(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        # Once a message has been dropped, all are until the count has been printed in their place
        if self._dropped or self._size + len(data) > KEPT:
            self._dropped += 1
            return
        self._kept.append(data)
        self._size += len(data)

    def _write_kept(self) -> None:
        while (self._kept or self._dropped) and self._poll.poll(0):
            if not self._kept:
                dropped, self._dropped = self._dropped, 0
                lost = "message was" if dropped == 1 else "messages were"
                self._keep(f"{self._program}: {dropped:,} {lost} dropped: nobody read stderr\n")
            # A pipe that is ready takes so much without waiting
            data = self._kept[0]
            try:
                written = os.write(self._out, data[: select.PIPE_BUF])
            except BlockingIOError:
                return
            except OSError:
                # The reader is gone for good, or the disk is full
                self._forget()
                return
            self._size -= written
            if written < len(data):
                self._kept[0] = data[written:]
            else:
                self._kept.popleft()

    def _forget(self) -> None:
        self._kept.clear()
        self._size = self._dropped = 0


def _non_blocking(descriptor: int) -> int:
    """The descriptor opened again such that writing does not wait, where that is possible.

    Setting O_NONBLOCK on the descriptor itself would set it for all processes that share it.
    """
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            return os.open(f"/proc/self/fd/{descriptor}", flags)
    return descriptor
