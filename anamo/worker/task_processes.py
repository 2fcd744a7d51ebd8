"""The processes of one task: the first one and all its descendants.

Guaranteed, in a worker process, which is a subreaper: the task's session and all descendants of its
processes are found, whatever process groups, sessions and environments they have made for
themselves, and so are processes in its cgroup, where it has one. Of a daemon (a session of its own,
its parent ended) only the environment tells whose it is. One whose environment says nothing counts
as this task's if no other task of the worker process runs or all are being stopped.

Not guaranteed: that such a daemon is found after a timeout, if it has emptied its environment while
other tasks of the same item run, and the task had no cgroup yet.

Finding them reads the state of every process of the machine, so that is not done until a task is
stopped, or gets its cgroup, and then once or twice for all tasks (`process_tree.Readings`).
"""

import os
import signal
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress

from anamo.worker import cgroup
from anamo.worker.process_tree import (
    Descendant,
    Process,
    Readings,
    began_since,
    is_alive,
    send_signal,
    with_descendants,
)

MARKS = ("PYANAMO_LOCK_ID", "PYANAMO_NESTED_TASK")
"""Variables that no two tasks have in common."""


class TaskProcesses:
    """Finds and signals the processes of a task.

    Args:
        session: Process id of the first process, which leads a session.
        since: Time of `process_tree.now` before that process began.
        environment: Its environment.
        sessions: Those of all tasks that this worker process runs.
    """

    def __init__(
        self,
        session: int,
        since: float,
        environment: Mapping[str, str],
        sessions: Callable[[], Set[int]],
    ) -> None:
        self._session = session
        self._since = since
        self._marks = [environment.get(name) for name in MARKS]
        self._sessions = sessions
        self._all_are_stopped = False
        self._known: set[Process] = set()
        self._cgroup: cgroup.TaskCgroup | None = None

    def gather(self, readings: Readings) -> None:
        """Put the task into a cgroup, if cgroups can be made. What it starts meanwhile may miss it,
        and is found as where there are none.
        """
        found = self._find(readings.latest())
        self._cgroup = cgroup.make(self._session)
        if self._cgroup:
            for process in found:
                self._cgroup.add(process.pid)

    def terminate(self, readings: Readings, *, all_are_stopped: bool) -> None:
        """Send SIGTERM to each of them.

        Args:
            readings: Those of this pass.
            all_are_stopped: Whether all tasks of this worker process are being stopped.
        """
        self._all_are_stopped = all_are_stopped
        self._signal(readings, signal.SIGTERM, signal.SIGCONT)

    def kill(self, readings: Readings) -> None:
        """Send SIGKILL to each of them."""
        if self._cgroup:
            self._cgroup.kill()
        self._signal(readings, signal.SIGKILL)

    def _signal(self, readings: Readings, *numbers: signal.Signals) -> None:
        # The group at once, so that none of it can escape by forking; each process gets one signal
        found = [
            process for process in self._find(readings.latest()) if not self._in_group(process)
        ]
        for number in numbers:
            # It may have ended, or be out of reach (a set-uid program)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._session, number)
            for process in found:
                send_signal(process, number)

    def _in_group(self, process: Process) -> bool:
        with suppress(ProcessLookupError):
            return os.getpgid(process.pid) == self._session
        return True

    def are_alive(self, readings: Readings) -> bool:
        """Whether any of them still runs, or ran when this pass began."""
        if self._group_lives() or any(map(is_alive, self._known)) or self._cgroup_pids():
            return True
        # Twice: one reading may miss a process whose parent just ended
        return any(map(self._find, readings.first_two()))

    def pids(self) -> list[int]:
        """Those that were found last and still run."""
        return sorted(process.pid for process in self._known if is_alive(process))

    def close(self) -> None:
        """Remove the cgroup; processes that are left run on."""
        if self._cgroup:
            self._cgroup.remove()

    def _group_lives(self) -> bool:
        try:
            os.killpg(self._session, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def _find(self, reading: Sequence[Descendant]) -> set[Process]:
        """All of them, by a reading of the process table."""
        inside = self._cgroup_pids()
        others = self._sessions() - {self._session}

        def is_root(each: Descendant) -> bool:
            return (
                each.session == self._session
                or each.process in self._known
                or each.process.pid in inside
                or (each.session not in others and self._is_its_daemon(each, alone=not others))
            )

        self._known = with_descendants(reading, is_root)
        return self._known

    def _cgroup_pids(self) -> set[int]:
        return self._cgroup.pids() if self._cgroup else set()

    def _is_its_daemon(self, each: Descendant, *, alone: bool) -> bool:
        """Whether a process is a daemon that this task has started. One in a session of a running
        task is not, nor one in this process's own session, where the programs are that it runs
        itself.
        """
        orphan = each.parent == os.getpid() and each.session != os.getsid(0)
        if not orphan or not began_since(each.process, self._since):
            return False
        marks = [each.environment.get(name) for name in MARKS]
        return marks == self._marks if any(marks) else alone or self._all_are_stopped
