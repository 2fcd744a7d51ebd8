"""Signals to the parent process.

Guaranteed: from construction on signals that stop set a flag and nothing else, as PID 1 too, where
a signal without handler would be ignored.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

STOPPING = (
    signal.SIGTERM,
    signal.SIGINT,
    # The end of the terminal or connection it was started from, unless nohup has it ignored
    *([signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []),
)

TWIN_SECONDS = 0.5
"""A signal that comes again so soon is the same one: timeout(1) and init programs of containers
send it to the process and then to its whole group."""


class Interrupted(Exception):
    """A signal told the process to end before it had begun its work."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Signals:
    """What was received: `first` is the first signal's number or None, `count` how many came, twins
    not counted.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.count = 0
        self._came = 0.0
        self._pipe, alarm = os.pipe()
        os.set_blocking(self._pipe, False)
        os.set_blocking(alarm, False)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        for number in STOPPING:
            signal.signal(number, lambda number, frame: self._note(number))
        # So that the end of an adopted process ends a wait
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _note(self, number: int) -> None:
        if self.first == number and monotonic() < self._came + TWIN_SECONDS:
            return
        self._came = monotonic()
        self.count += 1
        self.first = self.first or number

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._pipe

    def clear(self) -> None:
        """Not readable any more until the next one comes."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._pipe, 4096)

    def check(self) -> None:
        """Raises Interrupted if one told the process to end."""
        if self.first is not None:
            raise Interrupted(self.first)

    def sleep(self, seconds: float) -> None:
        """Wait; raises Interrupted as soon as a signal tells the process to end."""
        until = monotonic() + seconds
        self.check()
        while (left := until - monotonic()) > 0:
            select.select([self._pipe], [], [], left)
            self.clear()
            self.check()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the signals that stop, so that none is lost between a fork and the child's handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
