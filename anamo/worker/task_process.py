"""Running one Task Script. Knows nothing of tables.

Guaranteed: the task has its own session and process group; the kernel writes its output straight to
unnamed files (`output_files`), to which no descendant of another task can write; exit status,
signal, run time and peak memory are the kernel's. When a task is stopped, all its processes are,
and it has ended once they have (`task_processes` says which are found). When it ends on its own,
processes that it left behind run on.

Before Python 3.12, `subprocess` holds the interpreter lock until the program has started: a program
on a file system that hangs then stops the worker's other threads, its heartbeat among them.

Peak memory is at least the worker's own, 55 to 70 MB: `subprocess` uses vfork, and until exec the
task's process shares the worker's memory, which Linux counts.
"""

import errno
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import IO

from anamo.core import command_line
from anamo.core.errors import HOST_ERRORS, HostError, with_advice
from anamo.core.log_entry import FAILED, SUCCESSFUL
from anamo.worker import cgroup
from anamo.worker.orphans import has_left_behind
from anamo.worker.output_files import NONE_KEPT, OutputFiles
from anamo.worker.process_tree import Readings
from anamo.worker.process_tree import now as boot_seconds
from anamo.worker.task_processes import TaskProcesses

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of POSIX shells for a program that cannot be executed, and for one not found."""

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)

FULL = 256 * 1024
"""A disk with fewer bytes than this available counts as full."""

POLL_SECONDS = 0.05
"""Interval between polls of a stopped task whose first process has ended: the others may have
another parent, which gets the SIGCHLD."""

SHORT_SECONDS = 1.0
"""The output files of a task that took longer are not reused: creating new ones is a negligible
part of its time."""

CGROUP_SECONDS = 5.0
"""Age at which a task gets its cgroup; `cgroup` says what that costs."""

TASK_KILLED_SECONDS = 1.0
"""How long processes may take to vanish after SIGKILL; only the kernel can keep them longer, for a
file system that does not respond."""

logger = logging.getLogger(__name__)


class StopReason(Enum):
    """Why a task was stopped."""

    TIMEOUT = "timed out"
    SHUTDOWN = "stopped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended.

    Attributes:
        script: The Task Script as the item has it, with variables unexpanded.
        exit_code: As a shell reports it: 128 + the signal for a task ended by a signal.
        signal: The signal that ended it, else 0.
        stopped: Why the worker stopped it, if it did.
        started, ended: UTC, ISO 8601.
        seconds: Run time.
        max_rss_mb: Peak memory of its largest process, in 10^6 bytes.
        stdout, stderr: Files with the whole output. Read them with `os.pread`: processes that the
            task left behind share their offset.
        end_file: Called with each of the files once its content is no longer needed.
    """

    script: str
    exit_code: int
    signal: int
    stopped: StopReason | None
    started: str
    ended: str
    seconds: float
    max_rss_mb: float
    stdout: IO[bytes]
    stderr: IO[bytes]
    end_file: Callable[[IO[bytes]], object] = lambda file: file.close()

    @property
    def succeeded(self) -> bool:
        """Whether it exited with 0, and in time."""
        return self.exit_code == 0 and self.stopped is not StopReason.TIMEOUT

    @property
    def interrupted(self) -> bool:
        """Whether a shutdown cut it short. A task that was asked to stop and still exited with 0
        finished its work.
        """
        return self.stopped is StopReason.SHUTDOWN and self.exit_code != 0

    @property
    def status(self) -> str:
        """The `Status` attribute of its log entry."""
        if self.succeeded:
            return SUCCESSFUL
        if self.stopped is StopReason.TIMEOUT:
            return f"{FAILED}{self.stopped.value}"
        if self.signal:
            return f"{FAILED}killed by signal {self.signal}"
        return f"{FAILED}exit {self.exit_code}"

    def full_disk(self) -> str:
        """Says which disk is full now, if the one for output or that of the working directory is,
        else nothing. A read-only file system (a container's image, say) never has space, so it does
        not count.
        """
        disks = {f"TMPDIR, {tempfile.gettempdir()}": os.fstatvfs(self.stdout.fileno())}
        with suppress(OSError):
            disks[f"the working directory, {Path.cwd()}"] = os.statvfs(".")
        for name, disk in disks.items():
            writable = disk.f_blocks and not disk.f_flag & os.ST_RDONLY
            if writable and disk.f_bavail * disk.f_frsize < FULL:
                return f"the disk is full ({name})"
        return ""

    def close(self) -> None:
        """Close the output files, or give them back. Call it once."""
        for file in (self.stdout, self.stderr):
            self.end_file(file)


class TaskProcess:
    """A started task. The caller polls it until it has ended.

    Attributes:
        script: The Task Script.
        started: When it was started, in UTC as ISO 8601.
    """

    def __init__(
        self,
        script: str,
        environment: Mapping[str, str],
        timeout: float | None = None,
        grace: float = 20.0,
        sessions: Callable[[], Set[int]] = frozenset,
        output_files: OutputFiles = NONE_KEPT,
    ) -> None:
        """Start it.

        Args:
            script: The Task Script.
            environment: The task's whole environment, from which variables are expanded, too.
            timeout: Seconds after which the task is stopped.
            grace: Seconds from SIGTERM to SIGKILL after a timeout.
            sessions: The `pid` of each task that this process runs.
            output_files: Where the files for its output come from.

        Raises:
            HostError: The host, not the script, prevents the start.
        """
        self.script = script
        self._stopped: StopReason | None = None
        self._kill_at: float | None = None
        self._exit: tuple[int, float] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._processes: TaskProcesses | None = None
        self._cgroup_at: float | None = None
        self._sessions = sessions
        self._files = Lock()
        self._timeout = timeout
        self._grace = grace
        self._seconds = 0.0
        self._ended = False
        self._output_files = output_files
        self._is_shared = False
        self._left_nothing = False
        with ExitStack() as stack:
            self._stdout, self._stderr = (
                stack.enter_context(output_files.take()) for _ in range(2)
            )
            self.started, self._begin = utc_now(), monotonic()
            self._start(environment)
            # The outcome closes them
            stack.pop_all()

    def _start(self, environment: Mapping[str, str]) -> None:
        try:
            words = command_line.split(self.script, environment)
        except ValueError as error:
            return self._refuse(NOT_EXECUTABLE, str(error))
        if not words or not words[0]:
            return self._refuse(NOT_FOUND, "the Task Script names no program")
        since = boot_seconds()
        try:
            self._process = self._spawn(words, environment)
        except ValueError as error:
            self._refuse(NOT_EXECUTABLE, str(error))
        except OSError as error:
            if error.errno in HOST_ERRORS:
                raise HostError(f"no process for a task: {with_advice(error)}") from error
            missing = error.errno in _MISSING
            what = "not found" if missing else os.strerror(error.errno or 0)
            # As it is written, since the value of a variable may be a secret
            program = command_line.words(self.script)[0]
            self._refuse(NOT_FOUND if missing else NOT_EXECUTABLE, f"{program}: {what}")
        else:
            pid = self._process.pid
            self._processes = TaskProcesses(pid, since, environment, self._sessions)
            if cgroup.own_folder():
                self._cgroup_at = self._begin + CGROUP_SECONDS

    def _spawn(self, words: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        def spawn(words: list[str]) -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._stdout,
                stderr=self._stderr,
                start_new_session=True,
            )

        try:
            return spawn(words)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # No "#!" line: the shell runs it, as POSIX has execvp do. dash does not look in PATH
            found = shutil.which(words[0], path=environment.get("PATH", os.defpath))
            return spawn(["/bin/sh", found or words[0], *words[1:]])

    def _refuse(self, exit_code: int, message: str) -> None:
        """End at once, with the message and the exit code of a shell."""
        try:
            os.write(self._stderr.fileno(), f"pyanamo: {message}\n".encode("utf-8", "replace"))
        except OSError as error:
            raise HostError(f"no space for a task's output: {with_advice(error)}") from error
        self._exit = (exit_code, 0.0)

    @property
    def pid(self) -> int | None:
        """Process id of the first process, and of its session; None if it could not be started."""
        return self._process.pid if self._process else None

    def poll(self, readings: Readings | None = None) -> Outcome | None:
        """Reap the task if it has ended; stop it if its time is over.

        Args:
            readings: Of the process table, which all tasks share that are polled in one pass.

        Returns:
            The outcome once it has ended, with all its processes if it was stopped; else None.
        """
        now, readings = monotonic(), readings or Readings()
        if self._exit is None:
            self._reap(now)
        if self._exit is None:
            if self._timeout is not None and now >= self._begin + self._timeout:
                self._timeout = None
                self.stop(StopReason.TIMEOUT, self._grace, readings)
            self._kill_when_due(now, readings)
            self._gather_when_due(now, readings)
            return None
        if self._kill_at is not None and self._others_live(now, readings):
            return None
        if self._processes:
            self._processes.close()
        with self._files:
            # Whoever gets the outcome closes its files
            self._ended = True
            return self._outcome(*self._exit)

    @contextmanager
    def output(self) -> Iterator[tuple[int, int] | None]:
        """Descriptors of the output so far, stdout and stderr, as long as the context lasts; None
        once the task has ended. For any thread.
        """
        with ExitStack() as stack:
            with self._files:
                found = None
                if not self._ended:
                    found = _copy(self._stdout, stack), _copy(self._stderr, stack)
                    self._is_shared = True
            yield found

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return monotonic() - self._begin

    def _others_live(self, now: float, readings: Readings) -> bool:
        """Whether the end of other processes of a stopped task must be waited for."""
        if not self._processes or not self._processes.are_alive(readings):
            return False
        self._kill_when_due(now, readings)
        assert self._kill_at is not None
        if now < self._kill_at + TASK_KILLED_SECONDS:
            return True
        pids = ", ".join(map(str, self._processes.pids()))
        logger.warning("cannot kill processes of %s, which keep running: %s", self.script, pids)
        return False

    def _reap(self, now: float) -> None:
        assert self._process
        # Not by Popen.poll(), which does not report the memory
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        if pid:
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self._exit = (self._process.returncode, usage.ru_maxrss * 1024 / 1e6)
            self._seconds = now - self._begin
            if self._seconds < SHORT_SECONDS:
                self._left_nothing = not has_left_behind(self._sessions() - {pid})

    def stop(self, why: StopReason, grace: float, readings: Readings | None = None) -> None:
        """Send SIGTERM to its processes now, and SIGKILL later. The caller continues to poll.

        Args:
            why: The reason; of several calls, that of the first counts.
            grace: Seconds until SIGKILL; of several calls, the shortest counts.
            readings: As for `poll`.
        """
        if self._stopped is None:
            self._stopped = why
        kill_at = monotonic() + grace
        if self._kill_at is None:
            if self._processes:
                everything = why is StopReason.SHUTDOWN
                self._processes.terminate(readings or Readings(), all_are_stopped=everything)
            self._kill_at = kill_at
        self._kill_at = min(self._kill_at, kill_at)

    def _kill_when_due(self, now: float, readings: Readings) -> None:
        if self._kill_at is not None and now >= self._kill_at and self._processes:
            self._processes.kill(readings)

    def _gather_when_due(self, now: float, readings: Readings) -> None:
        if self._cgroup_at is not None and now >= self._cgroup_at and self._processes:
            self._cgroup_at = None
            self._processes.gather(readings)

    def next_poll(self) -> float | None:
        """When to poll at the latest, by the monotonic clock; None if SIGCHLD comes in time."""
        now = monotonic()
        if self._exit is not None or (self._kill_at is not None and self._kill_at <= now):
            return now + POLL_SECONDS
        end = None if self._timeout is None else self._begin + self._timeout
        times = (end, self._kill_at, self._cgroup_at)
        return min((time for time in times if time is not None), default=None)

    def _end_file(self, file: IO[bytes]) -> None:
        """Close a file for output; give it back unless a process may have it open, or another
        thread has read it.
        """
        if self._left_nothing and not self._is_shared:
            self._output_files.give_back(file)
        else:
            file.close()

    def _outcome(self, code: int, max_rss_mb: float) -> Outcome:
        return Outcome(
            script=self.script,
            exit_code=code if code >= 0 else 128 - code,
            signal=max(-code, 0),
            stopped=self._stopped,
            started=self.started,
            ended=utc_now(),
            seconds=self._seconds,
            max_rss_mb=max_rss_mb,
            stdout=self._stdout,
            stderr=self._stderr,
            end_file=self._end_file,
        )


def _copy(file: IO[bytes], stack: ExitStack) -> int:
    """Another descriptor of a file, that `stack` closes."""
    descriptor = os.dup(file.fileno())
    stack.callback(os.close, descriptor)
    return descriptor


def utc_now() -> str:
    """The time by this machine's clock, as ISO 8601."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
