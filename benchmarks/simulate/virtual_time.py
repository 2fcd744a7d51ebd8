"""Virtual time: blocking code of ten thousand workers in one thread, each in a greenlet.

Guaranteed: one runs at a time, in the order of the times at which they wake; equal times in the
order in which they went to sleep. So a run depends on its seeds alone.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from greenlet import getcurrent, greenlet

from anamo.worker import loop

CLOCKS = (
    # tenacity asks it how long a request has been tried
    "time.monotonic",
    f"{loop.__name__}.monotonic",
)
"""Clocks that no parameter replaces."""


class VirtualTime:
    """A clock that stands still while anything runs, and what is to happen at its later times."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._scheduler: greenlet = getcurrent()
        self._stopped = False

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.now

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Have something called at a time."""
        heapq.heappush(self._due, (when, next(self._order), call))

    def start(self, job: Callable[[], object], after: float = 0.0) -> None:
        """Have a job run, which may sleep."""
        self.at(self.now + after, greenlet(job, self._scheduler).switch)

    def sleep(self, seconds: float) -> None:
        """Let others run for so many seconds; called by a job."""
        self.at(self.now + max(seconds, 0.0), getcurrent().switch)
        self._scheduler.switch()

    def stop(self) -> None:
        """End `run` as soon as the job that calls this sleeps or ends."""
        self._stopped = True

    def run(self) -> None:
        """Run all jobs to their ends, or until `stop`. Raises what a job raises."""
        self._scheduler = getcurrent()
        while self._due and not self._stopped:
            self.now, _, call = heapq.heappop(self._due)
            call()

    @contextmanager
    def replacing_clocks(self) -> Iterator[None]:
        """A context in which code that knows no other clock goes by this one."""
        with ExitStack() as stack:
            for name in CLOCKS:
                stack.enter_context(patch(name, self.monotonic))
            yield


class Event:
    """What one job waits for and others set, as threads do with theirs."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._set = False
        self._waiting: greenlet | None = None
        self._turn = 0

    def set(self) -> None:
        """Wake the one that waits, or who waits next."""
        self._set = True
        if self._waiting:
            self._wake(self._turn)

    def wait(self, until: float = math.inf) -> None:
        """Wait for it, at most until a time; it is no longer set afterwards."""
        if self._waiting:
            raise RuntimeError("two jobs wait for one event")
        if not self._set and until > self._time.now:
            self._waiting = getcurrent()
            self._turn += 1
            turn = self._turn
            if until < math.inf:
                self._time.at(until, lambda: self._wake(turn, now=True))
            # The scheduler is the parent of each job
            parent = self._waiting.parent
            assert parent
            parent.switch()
        self._set = False

    def _wake(self, turn: int, *, now: bool = False) -> None:
        if turn != self._turn or not self._waiting:
            return
        waiting, self._waiting = self._waiting, None
        if now:
            waiting.switch()
        else:
            self._time.at(self._time.now, waiting.switch)
