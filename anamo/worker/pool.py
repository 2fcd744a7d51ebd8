"""Runs the processes of -i: starts them, watches them, passes signals on, adds up what they did.

Guaranteed: the worker processes end when this one ends, however it ends; one that dies is replaced,
a bounded number of times, and its replacement stays until the claims it inherits are taken over;
tasks that a dead process left running are killed. This process claims and runs nothing, prints all
messages, and has one thread, so that it can fork at any time.
"""

import gc
import logging
import math
import multiprocessing
from collections.abc import Callable, Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from time import monotonic, time
from typing import Any

from anamo.aws.metadata import Interruption
from anamo.core.errors import with_advice
from anamo.core.pacing import LEASE_SECONDS
from anamo.worker.in_flight_claims import ClaimSent
from anamo.worker.left import Left
from anamo.worker.messages import (
    CountLeft,
    Finished,
    ForceStop,
    ItemEnded,
    Said,
    StartNoMore,
    StopRequest,
)
from anamo.worker.metrics import Metrics
from anamo.worker.orphans import become_subreaper, kill_tasks, reap_adopted
from anamo.worker.process_tree import Process
from anamo.worker.progress import Screen, WorkerTotals
from anamo.worker.signals import Signals, signals_blocked, stopping
from anamo.worker.turns import Turns
from anamo.worker.worker_process import WorkerProcess

REPLACEMENTS = 5
"""How many processes are replaced, for each of -i, until their deaths are taken for the machine's
fault: a task that uses up the memory kills one process per lease."""

LIMITS_SECONDS = 5.0
"""How often the limits are checked; the Spot notice comes two minutes ahead."""

CHECKS = 12
"""How many times in a lease to check whether a process is stopped."""

GATHER_SECONDS = 0.01
"""For how long messages gather before they are read: short tasks bring hundreds a second, and to
wake up for each takes 7 % of a worker's CPU time."""

NOTICE_SECONDS = 120.0
"""How long before EC2 reclaims a Spot instance its notice comes, where that has no time."""

SHUTDOWN_SECONDS = 15.0
"""From the end of the grace to the time of the notice: for logs and results, and since a machine
that shuts down gives its containers some 10 s before it kills them."""

KILL_SECONDS = 5.0
"""From the end of the grace to the kill of a process that hangs: AWS Batch kills 30 s after
SIGTERM, and the default grace is 20 s."""

logger = logging.getLogger(__name__)

Work = Callable[["Connection[Any, Any]", Collection[ClaimSent]], None]
"""What a process does, given its connection to this one and the claims it inherits."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When to start no further task, and how long processes have.

    Attributes:
        grace: Seconds that tasks have to end after a signal.
        until: Time of the monotonic clock after which no task is started.
        failures: Items in a row that may fail.
        notice: Returns the notice that EC2 reclaims this instance, if there is one.
        lease: Seconds that a lease lasts.
    """

    grace: float
    until: float | None = None
    failures: int | None = None
    notice: Callable[[], Interruption | None] = lambda: None
    lease: float = LEASE_SECONDS


class Pool:
    """Runs `work` in so many processes until all have ended.

    Args:
        work: What each of them does.
        processes: How many.
        signals: The signals that this process receives.
        limits: When to start no further task.
        screen: Notified of claims that ended, and drawn whenever something may have changed.
        metrics: Notified of the same, and written at intervals and at the end.
    """

    def __init__(
        self,
        work: Work,
        processes: int,
        signals: Signals,
        limits: Limits,
        screen: Screen,
        metrics: Metrics | None = None,
    ) -> None:
        self._work = work
        self._processes = processes
        self._signals = signals
        self._limits = limits
        self._screen = screen
        self._metrics = metrics or Metrics()
        self._context = multiprocessing.get_context("fork")
        self._children: list[WorkerProcess] = []
        self._replaced = 0
        self._failures_in_a_row = 0
        self._signals_passed_on = 0
        self._kill_at: float | None = None
        self._stop_at: float | None = None
        self._spared: set[Process] = set()
        self._check_limits_at = 0.0
        self._check_seconds = min(LIMITS_SECONDS, limits.lease / CHECKS)
        self._check_at = monotonic() + self._check_seconds
        self._limit_reached = False
        self._turns = Turns()
        self._said: set[str] = set()
        self._totals = WorkerTotals()

    def run(self) -> WorkerTotals:
        """Start the processes, and return when the last has ended."""
        become_subreaper()
        # The objects that exist now stay shared by all processes: collecting them would copy pages
        gc.collect()
        gc.freeze()
        self._apply_limits()
        began = monotonic()
        for _ in range(self._processes):
            if not self._start((), began):
                break
        while self._children:
            self._pass_signals_on()
            self._apply_limits()
            self._stop_when_due()
            self._kill_when_due()
            self._check_processes()
            self._draw()
            self._metrics.write_when_due()
            self._wait()
            self._signals.clear()
            came = wait(self._connections(), 0)
            for child in list(self._children):
                if child.connection in came:
                    self._receive(child)
                if not child.process.is_alive():
                    self._reap(child)
            reap_adopted(self._pids().__contains__)
        self._screen.draw(0, None)
        self._metrics.write()
        self._note_end()
        return self._totals

    def _wait(self) -> None:
        """Wait until something is due or comes: a signal, the end of a process, messages."""
        urgent = [self._signals.fileno(), *(child.process.sentinel for child in self._children)]
        came = wait([*urgent, *self._connections()], self._timeout())
        if came and not set(urgent).intersection(came):
            wait(urgent, GATHER_SECONDS)

    def _draw(self) -> None:
        # This process sends no request while it must pass signals on: any other can
        if self._children and self._screen.takes_count():
            self._children[0].send(CountLeft())
        runs = [run for child in self._children for run in child.claims.runs()]
        longest = max(runs, key=lambda run: run.seconds, default=None)
        self._screen.draw(sum(len(child.claims) for child in self._children), longest)

    def rest(self, seconds: float) -> bool:
        """Wait for some seconds without a worker process; False if no task should be started."""
        until = monotonic() + seconds
        while not self._ending and (left := until - monotonic()) > 0:
            self._apply_limits()
            self._draw()
            self._metrics.write_when_due()
            wait([self._signals.fileno()], min(left, self._timeout()))
            self._signals.clear()
            reap_adopted(self._pids().__contains__)
        self._note_end()
        return not self._ending

    def _note_end(self) -> None:
        self._totals.stopped = self._ending
        stuck = bool(self._totals.errors or self._totals.refused)
        self._totals.ended_early = self._ending or stuck

    @property
    def _ending(self) -> bool:
        """Whether no further task is started."""
        return self._limit_reached or self._signals.first is not None

    def _connections(self) -> list["Connection[Any, Any]"]:
        return [c.connection for c in self._children if not c.connection.closed]

    # Processes

    def _start(self, inherited: Collection[ClaimSent], since: float) -> bool:
        """Start a process; the arguments are those of `WorkerProcess`.

        Returns:
            False if the machine has none to give; the summary says so.
        """
        try:
            mine, theirs = self._context.Pipe()
            if self._limit_reached:
                # Before it begins, so that it claims nothing
                mine.send(StartNoMore())
            others = [*self._connections(), mine]
            process = self._context.Process(
                target=_begin, args=(self._work, theirs, others, inherited)
            )
            with signals_blocked():
                process.start()
        except OSError as error:
            self._totals.errors.append(
                "a worker process could not be started "
                f"({len(self._children)} of {self._processes} run): "
                f"{with_advice(error)}"
            )
            return False
        theirs.close()
        self._children.append(WorkerProcess(process, mine, inherited, since))
        return True

    def _reap(self, child: WorkerProcess) -> None:
        """Replace a process that ended, if it was not to end yet."""
        # What it wrote before its death, its last claim perhaps
        self._receive(child)
        child.process.join()
        child.connection.close()
        self._children.remove(child)
        self._turns.leave(child)
        held = child.claims.all()
        cause = child.cause_of_death()
        if cause is None or (child.finished and self._ending):
            self._totals.unfinished.update(held, child.inherited)
            return
        self._kill_tasks_of(child)
        if self._ending or self._replaced >= REPLACEMENTS * self._processes:
            self._totals.unfinished.update(held, child.inherited)
            self._totals.lost.append(f"a worker process {cause}; {_fate(child, len(held))}")
            return
        self._replaced += 1
        logger.warning("a worker process %s; starting another in its place", cause)
        inherited = (*child.inherited, *held)
        if not self._start(inherited, monotonic()):
            self._totals.unfinished.update(inherited)

    def _kill_tasks_of(self, child: WorkerProcess) -> None:
        """Kill what a process that died has left running. Without a claim it ran nothing."""
        since = child.claims.oldest()
        if since is not None:
            self._spared = kill_tasks(child.pid, self._pids(), since, self._spared)

    def _pids(self) -> set[int]:
        return {child.pid for child in self._children}

    # Messages

    def _receive(self, child: WorkerProcess) -> None:
        for message in child.received():
            if isinstance(message, Said):
                self._say(message)
            elif isinstance(message, ItemEnded):
                self._totals.add(message)
                self._metrics.note(message)
                self._screen.ended(message)
                if message.failures:
                    self._failures_in_a_row += 1
                elif message.done:
                    self._failures_in_a_row = 0
            elif isinstance(message, Left):
                self._screen.counted(message)
            elif isinstance(message, Finished):
                self._totals.add(message)
                self._metrics.note(message)
            else:
                self._turns.note(child, message)

    def _say(self, message: Said) -> None:
        if message.text not in self._said:
            self._screen.say(message.text)
        if message.once:
            self._said.add(message.text)

    def _send_all(self, message: object) -> None:
        for child in self._children:
            child.send(message)

    def _pass_signals_on(self) -> None:
        if self._signals.first is None or self._signals.count == self._signals_passed_on:
            return
        if self._kill_at is None:
            self._screen.say(stopping(self._signals.first, self._limits.grace))
            self._stop()
        if self._signals.count > 1:
            self._send_all(ForceStop())
            self._kill_at = min(self._kill_at or math.inf, monotonic() + KILL_SECONDS)
        self._signals_passed_on = self._signals.count

    def _stop(self) -> None:
        """Have the processes stop their tasks, as at a signal."""
        self._send_all(StopRequest())
        self._kill_at = monotonic() + self._limits.grace + KILL_SECONDS
        for child in self._children:
            child.resume()

    def _stop_when_due(self) -> None:
        """Stop before the machine is reclaimed: its shutdown would leave too little time."""
        if self._stop_at is not None and self._kill_at is None and monotonic() >= self._stop_at:
            logger.warning("stopping before the Spot instance is reclaimed")
            self._stop()

    def _kill_when_due(self) -> None:
        if self._kill_at is not None and monotonic() >= self._kill_at:
            for child in self._children:
                child.process.kill()

    def _check_processes(self) -> None:
        """Continue processes that something has stopped."""
        if monotonic() < self._check_at:
            return
        self._check_at = monotonic() + self._check_seconds
        for child in self._children:
            child.check(self._check_seconds, self._limits.lease)

    # Limits

    def _timeout(self) -> float:
        """Seconds until something is due at the latest."""
        now = monotonic()
        times = (self._limits.until, self._stop_at, self._kill_at)
        due = [when - now for when in times if when is not None]
        return min([self._check_seconds, self._screen.refresh, *(left for left in due if left > 0)])

    def _apply_limits(self) -> None:
        # Also past another limit: what runs then must still be stopped before the machine goes
        reason = self._new_notice()
        if self._ending:
            return
        limits = self._limits
        if limits.until is not None and monotonic() >= limits.until:
            reason = "the wall time is over"
        elif limits.failures is not None and self._failures_in_a_row >= limits.failures:
            reason = f"{self._failures_in_a_row} items in a row failed (--max-failures)"
        if reason:
            logger.warning("%s; no further task is started", reason)
            self._limit_reached = True
            self._send_all(StartNoMore())

    def _new_notice(self) -> str | None:
        """Check for the notice that this machine is reclaimed; what it says, once it has come."""
        over = self._stop_at is not None or self._signals.first is not None
        if over or monotonic() < self._check_limits_at:
            return None
        self._check_limits_at = monotonic() + LIMITS_SECONDS
        notice = self._limits.notice()
        if notice is None:
            return None
        # It comes two minutes ahead: if it is further away, this machine's clock is wrong
        left = NOTICE_SECONDS if notice.at is None else min(notice.at - time(), NOTICE_SECONDS)
        self._stop_at = monotonic() + max(left - self._limits.grace - SHUTDOWN_SECONDS, 0)
        if self._limit_reached:
            logger.warning("%s", notice.what)
        return notice.what


def _begin(
    work: Work,
    connection: "Connection[Any, Any]",
    others: list["Connection[Any, Any]"],
    inherited: Collection[ClaimSent],
) -> None:
    """The first thing a new process does, with signals blocked."""
    # While this process held an end open, the one at the other end would not notice its parent die
    for other in others:
        other.close()
    work(connection, inherited)


def _fate(child: WorkerProcess, held: int) -> str:
    """What becomes of the items of a process that is not replaced."""
    if child.finished:
        return "its items were released, and no other is started in its place"
    return (
        f"{held} of its items will be taken over by the next worker, once their leases have ended"
    )
