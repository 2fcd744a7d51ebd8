"""One of the worker processes of -i, as its parent sees it.

Guaranteed: a process that something stops (SIGSTOP) is continued before the leases of its claims
expire, and killed where that does not help, so that another can take its place. Not guaranteed:
that a process which runs makes progress.
"""

import logging
import os
import signal
from collections.abc import Collection
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from anamo.worker.in_flight_claims import ClaimSent, ClaimsOfProcess
from anamo.worker.messages import Finished
from anamo.worker.process_tree import is_stopped

STOPPED_SHARE = 3
"""A process that is stopped is continued after this part of a lease: its last renewals were not
longer than that before, so a third of its leases is left."""

logger = logging.getLogger(__name__)


class WorkerProcess:
    """One of the processes, and what can be known of it once it is dead.

    Args:
        process: The process, started.
        connection: The connection to it.
        inherited: The claims of a process that died, which it stands in for.
        since: When it began, or the run of all processes, if it does not stand in for another; by
            the monotonic clock.

    Attributes:
        claims: The claims that it may hold.
        finished: Its last message, once it has sent it.
    """

    def __init__(
        self,
        process: BaseProcess,
        connection: "Connection[Any, Any]",
        inherited: Collection[ClaimSent],
        since: float,
    ) -> None:
        self.process = process
        self.connection = connection
        self.inherited = inherited
        self.since = since
        self.claims = ClaimsOfProcess()
        self.finished: Finished | None = None
        self._stopped_for = 0.0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid or 0

    def received(self) -> list[object]:
        """The messages that have come."""
        messages: list[object] = []
        try:
            while not self.connection.closed and self.connection.poll():
                message = self.connection.recv()
                self.claims.note(message)
                if isinstance(message, Finished):
                    self.finished = message
                messages.append(message)
        except (EOFError, OSError):
            self.connection.close()
        return messages

    def send(self, message: object) -> None:
        """Send it a message, unless it is dead."""
        with suppress(OSError):
            self.connection.send(message)

    def resume(self) -> None:
        """Continue it if it is stopped."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def check(self, seconds: float, lease: float) -> None:
        """Continue it if it has been stopped for long; kill it if it is stopped repeatedly.

        Args:
            seconds: Since the last check. The time that this process was stopped itself does not
                count: a terminal stops and continues all of them together.
            lease: How long its leases last.
        """
        if not is_stopped(self.pid):
            self._stopped_for = 0.0
            return
        before, limit = self._stopped_for, lease / STOPPED_SHARE
        self._stopped_for += seconds
        if self._stopped_for >= lease:
            logger.warning("worker process %d was stopped repeatedly; killing it", self.pid)
            self.process.kill()
        elif self._stopped_for >= limit:
            if before < limit:
                logger.warning(
                    "worker process %d was stopped by a signal: continuing it before its leases "
                    "expire",
                    self.pid,
                )
            self.resume()

    def cause_of_death(self) -> str | None:
        """Why it ended; None if it ended as it should. To be asked once it has ended."""
        if self.finished:
            number = self.finished.own_signal
            if number is None or self.finished.error:
                return None
            return f"was stopped by {_name(number)}, sent to it alone"
        exit_code = self.process.exitcode
        if exit_code is not None and exit_code < 0:
            return f"was killed by {_name(-exit_code)}"
        return f"ended with exit code {exit_code}"


def _name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    # A real-time signal has no name
    return f"signal {number}"
