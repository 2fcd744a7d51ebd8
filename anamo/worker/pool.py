"""The processes of -i: starts them, watches them, passes signals on, adds up what they did.

Guaranteed: the worker processes end when this one ends, however it ends; one that dies is replaced,
a bounded number of times, and its replacement stays until what it held was taken over; tasks it
left running are ended. This process claims and runs nothing, and has one thread, so that it can
fork at any time.
"""

import ctypes
import gc
import logging
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any

from anamo.aws.consumed_capacity import ConsumedCapacity
from anamo.cli.live_line import Lines, LiveLine
from anamo.core.item import State
from anamo.worker.holdings import Holdings
from anamo.worker.messages import Drain, Finished, ForceStop, ItemEnded, StopRequest
from anamo.worker.signals import Signals, held_back

REPLACEMENTS = 5
"""How many processes are replaced, for each of -i, before their deaths count as the machine's
fault: a task that uses up the memory kills one process a lease."""

LOOK_SECONDS = 5.0
"""How often the limits are looked at; the Spot notice comes two minutes ahead."""

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): processes whose parent dies become children of this one."""

logger = logging.getLogger(__name__)

KILL_SECONDS = 5.0
"""From the end of the grace to the end of a process that hangs: AWS Batch kills 30 s after SIGTERM,
and the default grace is 20 s."""

Work = Callable[["Connection[Any, Any]", Holdings], None]
"""What a process does, given its connection to this one and where to note the claims it holds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop.

    grace: seconds that tasks have to end after a signal. Nothing more is begun after `until` by the
    monotonic clock, after `failures` items in a row that failed, or once `notice` says why.
    """

    grace: float
    until: float | None = None
    failures: int | None = None
    notice: Callable[[], str | None] = lambda: None


@dataclass(slots=True)
class WorkerTotals:
    """What all processes did.

    items: claims that ended, by the state of their items then. done, failed: tasks; again: those
    that failed and will be tried again. held: items that were locked when nothing was left. errors:
    why processes could not go on. kept: where logs are that S3 did not take. consumed: requests and
    units of the processes that ended in good order. stopped: whether something other than the end
    of the work ended it.
    """

    items: Counter[str] = field(default_factory=Counter)
    done: int = 0
    failed: int = 0
    again: int = 0
    held: int = 0
    errors: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    stopped: bool = False
    drained_by_failures: bool = False
    consumed: ConsumedCapacity = field(default_factory=ConsumedCapacity)


@dataclass(slots=True, eq=False)
class _Slot:
    """One of the processes, and what can be known of it once it is dead."""

    process: BaseProcess
    connection: "Connection[Any, Any]"
    holdings: Holdings
    finished: bool = False


class Pool:
    """Runs `work` in processes until all have ended; `shown` is told of claims and their ends, and
    drawn whenever something may have changed.
    """

    def __init__(
        self,
        work: Work,
        processes: int,
        signals: Signals,
        limits: Limits,
        shown: Lines | LiveLine,
    ) -> None:
        self._work = work
        self._processes = processes
        self._signals = signals
        self._limits = limits
        self._shown = shown
        self._context = multiprocessing.get_context("fork")
        self._slots: list[_Slot] = []
        self._replaced = 0
        self._failures_in_a_row = 0
        self._signals_passed_on = 0
        self._kill_at: float | None = None
        self._look_at = 0.0
        self._drained = False
        self._totals = WorkerTotals()

    def run(self) -> WorkerTotals:
        """Start the processes, and return when the last has ended."""
        _adopt_orphans()
        # What is there now stays shared by all processes: collecting it would copy its pages
        gc.freeze()
        for _ in range(self._processes):
            if not self._start({}):
                break
        while self._slots:
            self._pass_signals_on()
            self._kill_when_due()
            self._apply_limits()
            self._shown.draw(sum(len(slot.holdings.read()) for slot in self._slots))
            wait([self._signals.fileno(), *self._connections(), *self._sentinels()], self._nap())
            self._signals.clear()
            for slot in list(self._slots):
                self._listen(slot)
                if not slot.process.is_alive():
                    self._reap(slot)
            self._reap_adopted()
        self._shown.draw(0)
        self._shown.close()
        self._totals.stopped = self._drained or self._signals.first is not None
        return self._totals

    def _connections(self) -> list["Connection[Any, Any]"]:
        return [slot.connection for slot in self._slots if not slot.connection.closed]

    def _sentinels(self) -> list[int]:
        return [slot.process.sentinel for slot in self._slots]

    # Processes

    def _start(self, inherited: Mapping[int, str]) -> bool:
        """Start a process; False where the machine has none to give, which is said at the end."""
        try:
            mine, theirs = self._context.Pipe()
            others = [*self._connections(), mine]
            holdings = Holdings(inherited)
            given = (self._work, theirs, others, holdings)
            process = self._context.Process(target=_begin, args=given)
            with held_back():
                process.start()
        except OSError as error:
            self._totals.errors.append(
                f"{len(self._slots)} of {self._processes} worker processes could be had: {error}"
            )
            return False
        theirs.close()
        self._slots.append(_Slot(process, mine, holdings))
        return True

    def _reap(self, slot: _Slot) -> None:
        """A process ended; replace it if it died."""
        self._listen(slot)
        slot.process.join()
        slot.connection.close()
        self._slots.remove(slot)
        if slot.finished:
            return
        how = _how(slot.process.exitcode)
        held = slot.holdings.read()
        self._end_tasks(set(held.values()))
        most = REPLACEMENTS * self._processes
        if self._drained or self._signals.first is not None or self._replaced >= most:
            self._totals.errors.append(
                f"a worker process {how}; {len(held)} of its items will be taken over by the next "
                "worker, once their leases have ended"
            )
            return
        self._replaced += 1
        logger.warning("a worker process %s; starting another in its place", how)
        self._start({**slot.holdings.inherited, **held})

    def _end_tasks(self, lock_ids: set[str]) -> None:
        """Kill the tasks a dead process left running: they would run beside their repetition."""
        for process in _adopted(lock_ids):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(os.getpgid(process), signal.SIGKILL)

    def _reap_adopted(self) -> None:
        """Reap what became a child of this process when its parent ended."""
        mine = {slot.process.pid for slot in self._slots}
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, options)) and ended.si_pid not in mine:
                os.waitpid(ended.si_pid, 0)

    # Messages

    def _listen(self, slot: _Slot) -> None:
        try:
            while not slot.connection.closed and slot.connection.poll():
                self._take(slot, slot.connection.recv())
        except (EOFError, OSError):
            slot.connection.close()

    def _take(self, slot: _Slot, message: object) -> None:
        if isinstance(message, ItemEnded):
            self._count(message)
            self._shown.ended(message)
        elif isinstance(message, Finished):
            slot.finished = True
            self._totals.held = message.held
            self._totals.kept += message.kept
            self._totals.consumed += message.consumed
            self._totals.errors += [message.error] if message.error else []

    def _count(self, message: ItemEnded) -> None:
        tally = self._totals
        tally.items[message.state] += 1
        tally.done += message.done
        if message.state == State.TODO:
            tally.again += len(message.failures)
        else:
            tally.failed += len(message.failures)
        if message.failures:
            self._failures_in_a_row += 1
        elif message.done:
            self._failures_in_a_row = 0

    def _tell(self, message: object) -> None:
        for connection in self._connections():
            with suppress(OSError):
                connection.send(message)

    def _pass_signals_on(self) -> None:
        if self._signals.first is None or self._signals.count == self._signals_passed_on:
            return
        if self._kill_at is None:
            self._tell(StopRequest(self._signals.first))
            self._kill_at = monotonic() + self._limits.grace + KILL_SECONDS
        if self._signals.count > 1:
            self._tell(ForceStop())
            self._kill_at = min(self._kill_at, monotonic() + KILL_SECONDS)
        self._signals_passed_on = self._signals.count

    def _kill_when_due(self) -> None:
        if self._kill_at is not None and monotonic() >= self._kill_at:
            for slot in self._slots:
                slot.process.kill()

    # Limits

    def _nap(self) -> float:
        """Seconds until something is due at the latest."""
        now = monotonic()
        due = [time - now for time in (self._limits.until, self._kill_at) if time is not None]
        return min([LOOK_SECONDS, self._shown.refresh, *(left for left in due if left > 0)])

    def _apply_limits(self) -> None:
        if self._drained or self._signals.first is not None:
            return
        limits = self._limits
        why: str | None = None
        if limits.until is not None and monotonic() >= limits.until:
            why = "the wall time is over"
        elif limits.failures is not None and self._failures_in_a_row >= limits.failures:
            why = f"{self._failures_in_a_row} items in a row failed (--max-failures)"
            self._totals.drained_by_failures = True
        elif monotonic() >= self._look_at:
            self._look_at = monotonic() + LOOK_SECONDS
            why = limits.notice()
        if why:
            logger.warning("%s; nothing more is begun", why)
            self._drained = True
            self._tell(Drain(why))


def _begin(
    work: Work,
    connection: "Connection[Any, Any]",
    others: list["Connection[Any, Any]"],
    holdings: Holdings,
) -> None:
    """The first thing a new process does, with signals held back."""
    # An end held open here would keep the parent's death from the process it belongs to
    for other in others:
        other.close()
    work(connection, holdings)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-exit_code).name}"
        # A real-time signal has no name
        return f"was killed by signal {-exit_code}"
    return f"ended with exit code {exit_code}"


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parents die. Where the system cannot do that, the
    tasks of a dead worker process run on.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _adopted(lock_ids: set[str]) -> list[int]:
    """The children of this process that belong to tasks of these claims."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if _parent(folder) == os.getpid() and _lock_id(folder) in lock_ids:
                found.append(int(folder.name))
    return found


def _parent(folder: Path) -> int:
    return int((folder / "stat").read_text().rpartition(")")[2].split()[1])


def _lock_id(folder: Path) -> str | None:
    for variable in (folder / "environ").read_bytes().split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == b"PYANAMO_LOCK_ID":
            return value.decode("ascii", "replace")
    return None
