"""The signals that stop a process of the worker, and those to the parent process.

Guaranteed: once `Signals` is made, a signal that stops the process sets a flag and does nothing
else, also in a process with PID 1, where a signal without a handler would be ignored.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

STOPPING = (
    signal.SIGTERM,
    signal.SIGINT,
    # The terminal or connection it was started from is gone; nohup has the signal ignored
    *([signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []),
)

REPEAT_SECONDS = 0.5
"""A signal that is repeated so soon counts once: timeout(1) and init programs of containers send it
to the process and then to its whole group."""


def stopping(number: int, grace: float) -> str:
    """The message at a signal: what the worker does, and what another signal would do."""
    name = signal.Signals(number).name
    again = "Ctrl-C again" if number == signal.SIGINT else "a second signal"
    return f"{name}: stopping the tasks, which have {grace:g} s to end; {again} kills them"


class Interrupted(Exception):
    """A signal stopped the process before its work began; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Alarm:
    """A descriptor that is readable once a signal came or `ring` was called. Made by the main
    thread; it handles signals from then on.

    Args:
        on_stop: Called with the number of each signal that stops the process.
    """

    def __init__(self, on_stop: Callable[[int], object]) -> None:
        self._pipe, self._bell = os.pipe()
        os.set_blocking(self._pipe, False)
        os.set_blocking(self._bell, False)
        signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        for number in STOPPING:
            signal.signal(number, lambda number, frame: on_stop(number))
        # Without a handler, the end of a child or of an adopted process would not end a wait
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        # Whatever started this process may have had them blocked, and exec leaves that as it is;
        # a worker process is forked with them blocked, so that none is lost before this
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*STOPPING, signal.SIGCHLD})

    def fileno(self) -> int:
        """The descriptor."""
        return self._pipe

    def ring(self) -> None:
        """Make the descriptor readable; any thread may call it."""
        with suppress(BlockingIOError):
            os.write(self._bell, b"\0")

    def clear(self) -> None:
        """Make the descriptor unreadable until the next signal or call of `ring`."""
        with suppress(BlockingIOError):
            os.read(self._pipe, 4096)


class Signals:
    """The signals that this process received. Made by the main thread.

    Attributes:
        first: Number of the first signal that stops, else None.
        count: How many came; see REPEAT_SECONDS.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.count = 0
        self._came = 0.0
        self._alarm = Alarm(self._note)

    def _note(self, number: int) -> None:
        if self.first == number and monotonic() < self._came + REPEAT_SECONDS:
            return
        self._came = monotonic()
        self.count += 1
        self.first = self.first or number

    def fileno(self) -> int:
        """A descriptor that is readable once a signal came."""
        return self._alarm.fileno()

    def clear(self) -> None:
        """Make the descriptor unreadable until the next signal comes."""
        self._alarm.clear()

    def check(self) -> None:
        """Check that no signal came that stops the process.

        Raises:
            Interrupted: One came.
        """
        if self.first is not None:
            raise Interrupted(self.first)

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds; raise Interrupted as soon as a signal that stops comes."""
        until = monotonic() + seconds
        self.check()
        while (left := until - monotonic()) > 0:
            select.select([self._alarm], [], [], left)
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
