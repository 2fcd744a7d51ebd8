"""Processes of this machine, above all the descendants of this one. Nothing else uses psutil.

Guaranteed, in a process that is a subreaper (`orphans`): whatever its tasks start stays among its
descendants, in whatever process group or session and whether or not its own parent has ended.
Not guaranteed: that one reading of the process table finds a process whose parent starts it and
ends meanwhile, so nothing counts as gone after a single reading; and what another program starts
for a task, as a container runtime does, is no descendant.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

Process = psutil.Process

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Resolution of the time at which a process began, which is rounded down."""


RECENT_SECONDS = 0.2
"""How old a reading may be by which signals are sent: little starts meanwhile that it lacks."""


class Descendant(NamedTuple):
    """A living descendant, as it was when the process table was read.

    Attributes:
        process: The process.
        parent: Its parent's process id.
        session: The process id of its session's leader.
        environment: The environment that it was started with, of a child of this process in a
            session of its own; else empty, and where it cannot be read.
    """

    process: Process
    parent: int
    session: int
    environment: Mapping[str, str]


def descendants() -> list[Descendant]:
    """The living descendants of this process.

    None are found where /proc shows other processes than the system calls mean, as in a PID
    namespace that has not mounted its own, nor without a descriptor to read it with.
    """
    found = []
    with suppress(OSError):
        if Path("/proc/self").readlink() == Path(str(os.getpid())):
            for process in Process().children(recursive=True):
                with suppress(psutil.Error, ProcessLookupError):
                    if is_alive(process):
                        found.append(_described(process))
    return found


def _described(process: Process) -> Descendant:
    parent, session = process.ppid(), os.getsid(process.pid)
    apart = parent == os.getpid() and session != os.getsid(0)
    return Descendant(process, parent, session, _environment_of(process) if apart else {})


class Readings:
    """Readings of the process table that the tasks of a worker process share in one pass over them.

    One takes a tenth of a second where thousands of processes run: made for each of hundreds of
    tasks, it would use up the time that a stop has. A process that has ended since a reading counts
    as running in that pass: it may have started others, which the next pass finds.
    """

    def __init__(self) -> None:
        self._made: list[list[Descendant]] = []
        self._made_at = 0.0

    def first_two(self) -> Iterator[list[Descendant]]:
        """The first reading of this pass and then the second, each made if it is not there yet."""
        for position in range(2):
            if len(self._made) <= position:
                self._read()
            yield self._made[position]

    def latest(self) -> list[Descendant]:
        """The latest reading; a new one if there is none of the last RECENT_SECONDS."""
        if not self._made or time.monotonic() - self._made_at > RECENT_SECONDS:
            self._read()
        return self._made[-1]

    def _read(self) -> None:
        self._made.append(descendants())
        self._made_at = time.monotonic()


def is_alive(process: Process) -> bool:
    """Whether a process still runs; a zombie does not, unless it is one thread of several."""
    try:
        if process.is_running():
            return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.Error:
        return False
    except OSError:
        # No descriptor to read its state with
        return True
    return False


def exists(pid: int) -> bool:
    """Whether there is a process with this id."""
    return psutil.pid_exists(pid)


def is_stopped(pid: int) -> bool:
    """Whether a signal (SIGSTOP) has stopped a process; False if that cannot be found out."""
    with suppress(psutil.Error, OSError):
        return bool(Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def send_signal(process: Process, number: int) -> None:
    """Send a signal to a process, unless it has ended or is out of reach (a set-uid program)."""
    with suppress(psutil.Error, OSError):
        process.send_signal(number)


def _environment_of(process: Process) -> Mapping[str, str]:
    """The environment that a process was started with; empty if it cannot be read."""
    with suppress(psutil.Error, OSError):
        return process.environ()
    return {}


def with_descendants(
    tree: Iterable[Descendant], is_root: Callable[[Descendant], bool]
) -> set[Process]:
    """The processes of a tree for which `is_root` is true, and their descendants.

    Args:
        tree: Descendants of this process.
        is_root: Says whether one is wanted.
    """
    children = defaultdict(list)
    for each in tree:
        children[each.parent].append(each)
    found: set[Process] = set()
    pending = [each for each in tree if is_root(each)]
    while pending:
        process = pending.pop().process
        if process not in found:
            found.add(process)
            pending += children[process.pid]
    return found


def now() -> float:
    """Seconds since the machine started, by a clock that cannot be set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def began_since(process: Process, since: float) -> bool:
    """Whether a process began at a certain time or later, or less than a TICK before it.

    Args:
        process: The process, found a moment ago.
        since: A time of `now`.
    """
    with suppress(psutil.Error, OSError):
        # In this order: psutil adds the boot time that it read last, which changes with the clock
        boot_time = psutil.boot_time()
        return process.create_time() - boot_time > since - TICK
    return False
