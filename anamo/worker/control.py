"""What a worker process learns from its parent and by signals, and where its main thread waits.

Guaranteed: a signal, a message from the parent, the end of a task and a call of `wake` each end a
wait at once; signal handlers set a flag and do nothing else.
"""

import math
import select
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Lock
from time import monotonic
from typing import Any

from anamo.worker.messages import CountLeft, ForceStop, StartNoMore, StopRequest
from anamo.worker.signals import Alarm
from anamo.worker.turns import Turn

DRAIN_SECONDS = 2.0
"""Seconds from the end of the grace until requests are no longer retried."""

LEAVE_SECONDS = 1.0
"""Seconds from then until a log that is still being packed or uploaded is left behind. Its item
must be released before the parent kills this process."""


LONGEST_WAIT = 86_400.0
"""Seconds that one call waits at most: poll(2) takes no more than 24 days."""


class Control:
    """Whether and why this process should stop, and its connection to the parent.

    Made by the main thread; it handles signals from then on.

    Args:
        parent: The connection to the parent process.
        grace: Seconds that tasks have to end after a signal.

    Attributes:
        own_signal: The signal that was sent to this process, else None. A signal to its whole
            group, as a terminal sends it, is one too.
        force_stop: Whether to kill tasks without waiting for the rest of the grace.
        start_no_more: Whether no further task should be started.
        count_left: Called when the parent wants to know what is left; it must return at once.
        turn: Whether it is this process's turn to search the tables.
    """

    def __init__(self, parent: "Connection[Any, Any]", grace: float) -> None:
        self.own_signal: int | None = None
        self.force_stop = False
        self.start_no_more = False
        self.count_left: Callable[[], object] = lambda: None
        self.turn = Turn(self.send)
        self._parent = parent
        self._grace = grace
        self._end_by = math.inf
        self._sending = Lock()
        self._alarm = Alarm(self._stop_by_signal)
        self._poll = select.poll()
        self._poll.register(self._alarm, select.POLLIN)
        self._poll.register(self._parent, select.POLLIN)

    def _stop_by_signal(self, number: int) -> None:
        self.own_signal = self.own_signal or number
        self._stop()

    def _stop(self) -> None:
        if not self.stopping:
            self._end_by = monotonic() + self._grace + DRAIN_SECONDS

    @property
    def stopping(self) -> bool:
        """Whether the process should end."""
        return self._end_by < math.inf

    @property
    def out_of_time(self) -> bool:
        """Whether waiting for AWS must end, so that the process ends before it is killed."""
        return monotonic() >= self._end_by

    @property
    def leave_at(self) -> float | None:
        """When to leave behind what cannot be waited for, by the monotonic clock; None while the
        process need not end.
        """
        return self._end_by + LEAVE_SECONDS if self.stopping else None

    def wake(self) -> None:
        """End the main thread's wait; any thread may call it."""
        self._alarm.ring()

    def wait(self, until: float | None) -> None:
        """Wait for something to happen, at most until a time of the monotonic clock. It may return
        before that.
        """
        timeout = None if until is None else 1000 * min(max(until - monotonic(), 0), LONGEST_WAIT)
        for descriptor, _ in self._poll.poll(timeout):
            if descriptor == self._alarm.fileno():
                self._alarm.clear()
            else:
                self._receive()

    def check(self) -> None:
        """Take what has happened so far into account, without waiting."""
        self.wait(0)

    def sleep(self, seconds: float, condition: Callable[[], bool] = lambda: True) -> None:
        """Wait while `condition()` holds and the process should not end, at most `seconds`."""
        until = monotonic() + seconds
        while condition() and not self.stopping and monotonic() < until:
            self.wait(until)

    def sleep_on(self, seconds: float) -> None:
        """Wait, also while the process should end, until it is out of time; at most `seconds`."""
        until = monotonic() + seconds
        while not self.out_of_time and monotonic() < until:
            self.wait(min(until, self._end_by))

    def _receive(self) -> None:
        try:
            message = self._parent.recv()
        except (EOFError, OSError):
            # The parent died: nobody can be notified of this process's work any more
            self._poll.unregister(self._parent.fileno())
            self._stop()
            return
        if isinstance(message, StopRequest):
            self._stop()
        elif isinstance(message, ForceStop):
            self.force_stop = True
            self._end_by = min(self._end_by, monotonic())
        elif isinstance(message, StartNoMore):
            self.start_no_more = True
        elif isinstance(message, CountLeft):
            self.count_left()
        else:
            self.turn.note(message)

    def send(self, message: object) -> bool:
        """Send a message to the parent; any thread may call it.

        Returns:
            False if the parent is dead.
        """
        try:
            with self._sending:
                self._parent.send(message)
        except OSError:
            return False
        return True
