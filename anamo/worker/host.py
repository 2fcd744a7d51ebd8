"""Starts threads, and waits after a host error until this host can run tasks again.

Guaranteed: a worker process claims nothing while its host cannot run tasks. It gives up after
LASTING_SECONDS of waiting without a success in between; after UNFIT_SECONDS where it has never seen
a program run. Not guaranteed: that a host which can run a small program has room for the next task.
"""

import logging
import os
import threading
from collections.abc import Callable
from time import sleep

from anamo.core.errors import TOO_MANY_PROCESSES, HostError
from anamo.worker.growing_pause import GrowingPause
from anamo.worker.task_process import TaskProcess

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until the host is checked again, at first and at most. An item that always fills the disk
must not be claimed again and again without a pause."""

LASTING_SECONDS = 300.0
"""Seconds of all pauses without a success in between, after which the process ends: somebody must
free some space, and a batch system may start the worker on another host."""

UNFIT_SECONDS = 30.0
"""The same for a host that has run no program for this process yet: it may never be fit."""

PROBE_SECONDS = 10.0
"""How long a small program may take."""

logger = logging.getLogger(__name__)


def start_thread(name: str, run: Callable[[], object]) -> None:
    """Start a thread that does not keep the process from ending.

    Raises:
        HostError: The system cannot start another thread.
    """
    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        # Python does not say why; a limit of processes is the usual reason
        raise HostError(f"no thread for the {name}: {error}; {TOO_MANY_PROCESSES}") from error


class HostRecovery:
    """Waits after host errors. Any thread may call `failed` and `succeeded`; the main thread waits.

    Args:
        find_fault: Says why the host cannot run tasks now; empty when it can.
        sleep: Waits for some seconds as long as a condition holds.
    """

    def __init__(
        self,
        find_fault: Callable[[], str],
        sleep: Callable[[float, Callable[[], bool]], object],
    ) -> None:
        self._find_fault = find_fault
        self._sleep = sleep
        self._reason = ""
        self._pause = GrowingPause(FIRST_PAUSE, LONGEST_PAUSE)
        self._paused = 0.0
        self._fit = False

    def failed(self, reason: str) -> None:
        """A claim ended in a host error."""
        self._reason = reason

    def succeeded(self) -> None:
        """A claim ended without one: the next host error has another cause."""
        self._pause.reset()
        self._paused, self._fit = 0.0, True

    def wait(self, over: Callable[[], bool]) -> None:
        """Return when the host can run tasks, at once if there was no host error.

        Args:
            over: Whether to return anyway.

        Raises:
            HostError: It lasts.
        """
        if self._reason:
            logger.warning("%s; waiting until this host can run tasks again", self._reason)
        while self._reason and not over():
            if self._paused >= (LASTING_SECONDS if self._fit else UNFIT_SECONDS):
                raise HostError(f"{self._reason}; this host cannot run tasks")
            seconds = self._pause.next()
            self._sleep(seconds, lambda: not over())
            self._paused += seconds
            self._reason = self._find_fault()
            self._fit = self._fit or not self._reason


def host_fault() -> str:
    """Why this host cannot run a task now, found out by running one; empty when it can."""
    try:
        process = TaskProcess("true", os.environ, timeout=PROBE_SECONDS, grace=0)
    except HostError as error:
        return str(error)
    while not (outcome := process.poll()):
        sleep(0.01)
    full = outcome.full_disk()
    outcome.close()
    if outcome.stopped:
        return f"a small program did not end within {PROBE_SECONDS:.0f} s"
    return full
