"""Processes whose parents have ended.

Guaranteed, once `become_subreaper` has succeeded: descendants whose parents end become children of
this process, which can find, kill and reap them. Each worker process adopts what its tasks leave;
when it dies, its parent adopts all that its tasks started, whatever session or environment it has.
It needs Linux.
"""

import ctypes
import logging
import os
import signal
from collections.abc import Callable, Set
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from anamo.worker import cgroup
from anamo.worker.process_tree import (
    Descendant,
    Process,
    began_since,
    descendants,
    send_signal,
    with_descendants,
)

PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
"""prctl(2); neither the standard library nor psutil calls it."""

ORPHANS_KILLED_SECONDS = 5.0
"""How long a process may take to vanish after SIGKILL; only the kernel can keep it longer, for a
file system that does not respond."""

CHILDREN = Path("/proc/thread-self/children")
"""Process ids of the calling thread's children, in kernels with CONFIG_PROC_CHILDREN. It is read
here because psutil's `children` reads the state of every process of the machine, and this is done
after each short task."""

logger = logging.getLogger(__name__)


def become_subreaper() -> None:
    """Become the parent of descendants whose own parents die.

    Where the system cannot do that, the tasks of a worker process that died run on.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def is_subreaper() -> bool:
    """Whether this process is one."""
    is_one = ctypes.c_int(0)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(is_one), 0, 0, 0)
    return bool(is_one)


def kill_tasks(
    worker: int, living: Set[int], since: float, spared: Set[Process] = frozenset()
) -> set[Process]:
    """Kill all that the tasks of a worker process that died have started, and wait for its end.

    Args:
        worker: The process that died.
        living: The worker processes that live.
        since: When the oldest of its claims was made, by `process_tree.now`. What began earlier was
            left behind by tasks that have ended, and runs on.
        spared: What worker processes that died before have left behind, which runs on, too.

    Returns:
        All that now runs on.
    """
    cgroup.end_all(worker)
    until = monotonic() + ORPHANS_KILLED_SECONDS
    # Twice: one reading may miss a process whose parent just ended
    while left := _adopted(living, since, spared) or _adopted(living, since, spared):
        for process in left:
            send_signal(process, signal.SIGKILL)
        if monotonic() > until:
            pids = ", ".join(str(process.pid) for process in left)
            logger.warning(
                "cannot kill process %s; it may overlap with the retry of its task", pids
            )
            break
        sleep(0.01)
    return {each.process for each in descendants() if _is_adopted(each, living)}


def _adopted(living: Set[int], since: float, spared: Set[Process]) -> set[Process]:
    """The adopted processes that began since, and their descendants, without those to be spared."""

    def is_root(each: Descendant) -> bool:
        if not _is_adopted(each, living) or each.process in spared:
            return False
        return began_since(each.process, since)

    return with_descendants(descendants(), is_root)


def _is_adopted(each: Descendant, living: Set[int]) -> bool:
    """Whether a process is a child of this one, but not one of its worker processes."""
    return each.parent == os.getpid() and each.process.pid not in living


def reap_adopted(is_own: Callable[[int], bool]) -> None:
    """Reap the children that have ended, up to the first that is not to be reaped here.

    Args:
        is_own: Says by a process id whether another part of this process waits for its exit status.
    """
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    # Another thread may reap a program that a library ran at this moment: then it has no session
    with suppress(ChildProcessError, ProcessLookupError):
        while (ended := os.waitid(os.P_ALL, 0, options)) and not is_own(ended.si_pid):
            os.waitpid(ended.si_pid, 0)


def reap_left_behind(tasks: Set[int]) -> None:
    """Reap what tasks of this worker process left behind and has ended.

    Args:
        tasks: The first processes of those that run.
    """
    # A program that a library runs, to find credentials perhaps, is in this process's session
    reap_adopted(lambda pid: pid in tasks or os.getsid(pid) == os.getsid(0))


def has_left_behind(tasks: Set[int]) -> bool:
    """Whether this process has a child that is not one of its tasks; also True if the system cannot
    say.

    For the main thread of a subreaper, which adopts what its tasks leave behind. Not noticed: what
    has gone to another PID namespace (`nsenter`).
    """
    try:
        children = CHILDREN.read_bytes().split()
    except OSError:
        return True
    return any(int(pid) not in tasks for pid in children)
