"""The descendants of this process, and when each began.

Guaranteed, in a process that is a subreaper (`orphans`): whatever its tasks start stays among its
descendants, in whatever process group or session and whether or not its own parent has ended.
Not guaranteed: that a look finds a process whose parent starts it and ends during that look, so
nothing counts as gone after one look; and what another program starts for a task, as a container
runtime does, is no descendant.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Resolution of the time at which a process began, which is rounded down."""


class Descendant(NamedTuple):
    """A living descendant: its parent's process id and its session's."""

    process: psutil.Process
    parent: int
    session: int


def descendants() -> list[Descendant]:
    """The living descendants of this process.

    None are found where /proc shows other processes than the system calls mean, as in a PID
    namespace that has not mounted its own, nor without a descriptor to read it with.
    """
    found = []
    with suppress(OSError):
        if Path("/proc/self").readlink() == Path(str(os.getpid())):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error, ProcessLookupError):
                    if is_alive(process):
                        found.append(Descendant(process, process.ppid(), os.getsid(process.pid)))
    return found


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie does not, unless it is one thread of several."""
    try:
        if process.is_running():
            return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.Error:
        return False
    except OSError:
        # No descriptor to look with
        return True
    return False


def with_their_own(
    tree: Iterable[Descendant], is_root: Callable[[Descendant], bool]
) -> set[psutil.Process]:
    """The processes of a tree for which `is_root` holds, with all that came of them."""
    children = defaultdict(list)
    for each in tree:
        children[each.parent].append(each)
    found: set[psutil.Process] = set()
    pending = [each for each in tree if is_root(each)]
    while pending:
        process = pending.pop().process
        if process not in found:
            found.add(process)
            pending += children[process.pid]
    return found


def now() -> float:
    """Seconds since the machine started: a clock that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def began_since(process: psutil.Process, since: float) -> bool:
    """Whether a process that has just been found began at that time of `now`, or later."""
    with suppress(psutil.Error, OSError):
        # In this order: psutil adds the boot time that it read last, which changes with the clock
        boot_time = psutil.boot_time()
        return process.create_time() - boot_time > since - TICK
    return False
