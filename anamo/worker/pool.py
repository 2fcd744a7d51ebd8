"""The processes of -i: starts them, watches them, passes signals on, adds up what they did.

Guaranteed: the worker processes end when this one ends, however it ends; one that dies is replaced,
a bounded number of times, and its replacement stays until the claims it inherits are taken over;
tasks that a dead process left running are killed. This process claims and runs nothing, prints all
messages, and has one thread, so that it can fork at any time.
"""

import gc
import logging
import multiprocessing
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

from anamo.worker.in_flight_claims import ReportedClaims
from anamo.worker.messages import Finished, ForceStop, ItemEnded, Said, StartNoMore, StopRequest
from anamo.worker.orphans import become_subreaper, kill_tasks, reap_adopted
from anamo.worker.progress import Screen, WorkerTotals
from anamo.worker.signals import Signals, signals_blocked, stopping

REPLACEMENTS = 5
"""How many processes are replaced, for each of -i, before their deaths count as the machine's
fault: a task that uses up the memory kills one process a lease."""

LIMITS_SECONDS = 5.0
"""How often the limits are checked; the Spot notice comes two minutes ahead."""

KILL_SECONDS = 5.0
"""From the end of the grace to the kill of a process that hangs: AWS Batch kills 30 s after
SIGTERM, and the default grace is 20 s."""

logger = logging.getLogger(__name__)

Work = Callable[["Connection[Any, Any]", Mapping[int, str]], None]
"""What a process does, given its connection to this one and the claims it inherits, as lockIDs by
itemID."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When to start no further task.

    Attributes:
        grace: Seconds that tasks have to end after a signal.
        until: Time of the monotonic clock after which no task is started.
        failures: Items in a row that may fail.
        notice: Says why this machine is about to be taken away, else None.
    """

    grace: float
    until: float | None = None
    failures: int | None = None
    notice: Callable[[], str | None] = lambda: None


@dataclass(slots=True, eq=False)
class _Child:
    """One of the processes, and what can be known of it once it is dead."""

    process: BaseProcess
    connection: "Connection[Any, Any]"
    inherited: Mapping[int, str]
    claims: ReportedClaims = field(default_factory=ReportedClaims)
    finished: bool = False


class Pool:
    """Runs `work` in so many processes until all have ended.

    Args:
        work: What each of them does.
        processes: How many.
        signals: The signals that this process receives.
        limits: When to start no further task.
        screen: Told of claims that ended, and drawn whenever something may have changed.
    """

    def __init__(
        self, work: Work, processes: int, signals: Signals, limits: Limits, screen: Screen
    ) -> None:
        self._work = work
        self._processes = processes
        self._signals = signals
        self._limits = limits
        self._screen = screen
        self._context = multiprocessing.get_context("fork")
        self._children: list[_Child] = []
        self._replaced = 0
        self._failures_in_a_row = 0
        self._signals_passed_on = 0
        self._kill_at: float | None = None
        self._check_limits_at = 0.0
        self._limit_reached = False
        self._totals = WorkerTotals()

    def run(self) -> WorkerTotals:
        """Start the processes, and return when the last has ended."""
        become_subreaper()
        # What is there now stays shared by all processes: collecting it would copy its pages
        gc.collect()
        gc.freeze()
        for _ in range(self._processes):
            if not self._start({}):
                break
        while self._children:
            self._pass_signals_on()
            self._kill_when_due()
            self._apply_limits()
            self._screen.draw(sum(len(child.claims) for child in self._children))
            sentinels = [child.process.sentinel for child in self._children]
            wait([self._signals.fileno(), *self._connections(), *sentinels], self._timeout())
            self._signals.clear()
            for child in list(self._children):
                self._receive(child)
                if not child.process.is_alive():
                    self._reap(child)
            reap_adopted({child.process.pid or 0 for child in self._children})
        self._screen.draw(0)
        self._totals.stopped = self._ending
        return self._totals

    @property
    def _ending(self) -> bool:
        """Whether no further task is started."""
        return self._limit_reached or self._signals.first is not None

    def _connections(self) -> list["Connection[Any, Any]"]:
        return [c.connection for c in self._children if not c.connection.closed]

    # Processes

    def _start(self, inherited: Mapping[int, str]) -> bool:
        """Start a process; False where the machine has none to give, which is said at the end."""
        try:
            mine, theirs = self._context.Pipe()
            others = [*self._connections(), mine]
            given = (self._work, theirs, others, inherited)
            process = self._context.Process(target=_begin, args=given)
            with signals_blocked():
                process.start()
        except OSError as error:
            self._totals.errors.append(
                f"{len(self._children)} of {self._processes} worker processes could be started: "
                f"{error}"
            )
            return False
        theirs.close()
        self._children.append(_Child(process, mine, inherited))
        return True

    def _reap(self, child: _Child) -> None:
        """Replace a process that ended, if it died."""
        # What it wrote before its death, its last claim perhaps
        self._receive(child)
        child.process.join()
        child.connection.close()
        self._children.remove(child)
        held = child.claims.lock_ids()
        if child.finished:
            self._totals.left.update(held.values())
            return
        cause = _cause_of_death(child.process.exitcode)
        kill_tasks(set(held.values()))
        if self._ending or self._replaced >= REPLACEMENTS * self._processes:
            self._totals.left.update(held.values())
            self._totals.errors.append(
                f"a worker process {cause}; {len(held)} of its items will be taken over by the "
                "next worker, once their leases have ended"
            )
            return
        self._replaced += 1
        logger.warning("a worker process %s; starting another in its place", cause)
        self._start({**child.inherited, **held})

    # Messages

    def _receive(self, child: _Child) -> None:
        try:
            while not child.connection.closed and child.connection.poll():
                self._take(child, child.connection.recv())
        except (EOFError, OSError):
            child.connection.close()

    def _take(self, child: _Child, message: object) -> None:
        child.claims.note(message)
        if isinstance(message, Said):
            self._screen.say(message.text)
        elif isinstance(message, ItemEnded):
            self._totals.add(message)
            self._screen.ended(message)
            if message.failures:
                self._failures_in_a_row += 1
            elif message.done:
                self._failures_in_a_row = 0
        elif isinstance(message, Finished):
            self._totals.add(message)
            child.finished = True

    def _send_all(self, message: object) -> None:
        for connection in self._connections():
            with suppress(OSError):
                connection.send(message)

    def _pass_signals_on(self) -> None:
        if self._signals.first is None or self._signals.count == self._signals_passed_on:
            return
        if self._kill_at is None:
            self._screen.say(stopping(self._signals.first, self._limits.grace))
            self._send_all(StopRequest(self._signals.first))
            self._kill_at = monotonic() + self._limits.grace + KILL_SECONDS
        if self._signals.count > 1:
            self._send_all(ForceStop())
            self._kill_at = min(self._kill_at, monotonic() + KILL_SECONDS)
        self._signals_passed_on = self._signals.count

    def _kill_when_due(self) -> None:
        if self._kill_at is not None and monotonic() >= self._kill_at:
            for child in self._children:
                child.process.kill()

    # Limits

    def _timeout(self) -> float:
        """Seconds until something is due at the latest."""
        now = monotonic()
        due = [time - now for time in (self._limits.until, self._kill_at) if time is not None]
        return min([LIMITS_SECONDS, self._screen.refresh, *(left for left in due if left > 0)])

    def _apply_limits(self) -> None:
        if self._ending:
            return
        limits = self._limits
        reason: str | None = None
        if limits.until is not None and monotonic() >= limits.until:
            reason = "the wall time is over"
        elif limits.failures is not None and self._failures_in_a_row >= limits.failures:
            reason = f"{self._failures_in_a_row} items in a row failed (--max-failures)"
            self._totals.too_many_failures = True
        elif monotonic() >= self._check_limits_at:
            self._check_limits_at = monotonic() + LIMITS_SECONDS
            reason = limits.notice()
        if reason:
            logger.warning("%s; no further task is started", reason)
            self._limit_reached = True
            self._send_all(StartNoMore(reason))


def _begin(
    work: Work,
    connection: "Connection[Any, Any]",
    others: list["Connection[Any, Any]"],
    inherited: Mapping[int, str],
) -> None:
    """The first thing a new process does, with signals blocked."""
    # While this process held an end open, the one at the other end would not notice its parent die
    for other in others:
        other.close()
    work(connection, inherited)


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-exit_code).name}"
        # A real-time signal has no name
        return f"was killed by signal {-exit_code}"
    return f"ended with exit code {exit_code}"
