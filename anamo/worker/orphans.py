"""The processes that a worker process leaves behind when it dies.

Guaranteed, once `become_subreaper` has succeeded: the tasks of a worker process that died become
children of this process, which can find, kill and reap them. It needs Linux. Not guaranteed: that
a task which has emptied its environment is found.
"""

import ctypes
import os
import signal
from collections.abc import Set
from contextlib import suppress

import psutil

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2); neither the standard library nor psutil calls it."""


def become_subreaper() -> None:
    """Become the parent of descendants whose own parents die.

    Where the system cannot do that, the tasks of a worker process that died run on.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_tasks(lock_ids: Set[str]) -> None:
    """Kill the adopted children that run tasks of these claims, with their process groups."""
    for child in psutil.Process().children():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if child.environ().get("PYANAMO_LOCK_ID") in lock_ids:
                os.killpg(os.getpgid(child.pid), signal.SIGKILL)


def reap_adopted(own: Set[int]) -> None:
    """Reap the children that have ended, up to the first of those with the process ids `own`,
    whose exit status belongs to others.
    """
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, options)) and ended.si_pid not in own:
            os.waitpid(ended.si_pid, 0)
