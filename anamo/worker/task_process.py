"""Running one Task Script. Knows no table.

Guaranteed: the task has a session and process group of its own, its output goes straight from the
kernel into files of its own (`outfile`), which leave nothing behind whatever happens to the worker;
exit status, signal, run time and peak memory are the kernel's. Not guaranteed: that processes
which leave the group (daemons) end with it.

Peak memory is at least the worker's own size at the start of the task, some 60 MB: Linux counts
what a process was before it became the program.
"""

import errno
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from time import monotonic

from anamo.core import command_line
from anamo.core.errors import HostError
from anamo.core.log_entry import SUCCESSFUL
from anamo.worker.outfile import OutFile, OutFiles, Output

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of POSIX shells for a program that cannot be started."""

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)

_MACHINE = (
    errno.EAGAIN,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.EROFS,
    errno.EIO,
)
"""Not the task's fault: no process, no memory, no space, no file descriptor to be had."""

FULL = 256 * 1024
"""Bytes left on a disk that nothing more can be written to, but for crumbs."""

GROUP_LOOK_SECONDS = 0.05
"""A group's last process sends its end to somebody else, so a stopped group is looked at."""


class StopReason(Enum):
    """Why a task was stopped."""

    TIMEOUT = "timed out"
    SHUTDOWN = "stopped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended.

    script: the Task Script as the item has it, variables not replaced. exit_code: as a shell has
    it, 128 + the signal for a task that a signal ended. seconds: run time. max_rss_mb: peak memory
    of its largest process in 10^6 bytes. stdout, stderr: the files with the whole output.
    """

    script: str
    exit_code: int
    signal: int
    stopped: StopReason | None
    started: str
    ended: str
    seconds: float
    max_rss_mb: float
    stdout: Output
    stderr: Output

    @property
    def succeeded(self) -> bool:
        """Whether the task ended well, by itself and in time."""
        return self.exit_code == 0 and self.stopped is not StopReason.TIMEOUT

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped before its end. One that was told to stop and exited with 0
        all the same finished its work.
        """
        return self.stopped is StopReason.SHUTDOWN and self.exit_code != 0

    @property
    def status(self) -> str:
        """The `Status` of its log entry."""
        if self.succeeded:
            return SUCCESSFUL
        if self.stopped is StopReason.TIMEOUT:
            return f"Execution Failed: {self.stopped.value}"
        if self.signal:
            return f"Execution Failed: killed by signal {self.signal}"
        return f"Execution Failed: exit {self.exit_code}"

    def disk_is_full(self) -> bool:
        """Whether there is no space for output, or where tasks run. A file system that is read
        only (a container's image, say) has none at any time, and no task ran out of it.
        """
        disks = [os.fstatvfs(self.stdout.fileno())]
        with suppress(OSError):
            disks.append(os.statvfs("."))
        return any(
            disk.f_blocks
            and not disk.f_flag & os.ST_RDONLY
            and disk.f_bavail * disk.f_frsize < FULL
            for disk in disks
        )

    def close(self) -> None:
        """Let go of the output."""
        self.stdout.close()
        self.stderr.close()


class Execution:
    """A started task. `poll` reaps it; whoever started it must call it until it ended.

    timeout: seconds after which it is stopped, grace: seconds from SIGTERM to SIGKILL then. files:
    where the files for its output come from.
    Raises HostError where the machine, not the script, is why it cannot be started.
    """

    def __init__(
        self,
        script: str,
        environment: Mapping[str, str],
        timeout: float | None = None,
        grace: float = 20.0,
        files: OutFiles | None = None,
    ) -> None:
        self._script = script
        self._stopped: StopReason | None = None
        self._kill_at: float | None = None
        self._exit: tuple[int, float] | None = None
        self._pid: int | None = None
        self._timeout = timeout
        self._grace = grace
        self._stdout, self._stderr = _two(files or OutFiles())
        self._started, self._begin = _now(), monotonic()
        self._seconds = 0.0
        try:
            self._start(environment)
        except BaseException:
            self._stdout.close()
            self._stderr.close()
            raise
        self._stdout.begun()
        self._stderr.begun()

    def _start(self, environment: Mapping[str, str]) -> None:
        try:
            words = command_line.split(self._script, environment)
        except ValueError as error:
            return self._refuse(NOT_EXECUTABLE, str(error))
        if not words or not words[0]:
            return self._refuse(NOT_FOUND, "the Task Script names no program")
        try:
            self._pid = self._spawn(words, environment)
        except ValueError as error:
            self._refuse(NOT_EXECUTABLE, str(error))
        except OSError as error:
            if error.errno in _MACHINE:
                raise HostError(f"no process for a task: {error}") from error
            missing = error.errno in _MISSING
            what = "not found" if missing else os.strerror(error.errno or 0)
            self._refuse(NOT_FOUND if missing else NOT_EXECUTABLE, f"{words[0]}: {what}")

    def _spawn(self, words: list[str], environment: Mapping[str, str]) -> int:
        def spawn(words: list[str]) -> int:
            # Takes half of the time that subprocess does, and nothing else can run meanwhile
            return os.posix_spawnp(
                words[0],
                words,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._stdout.writer, 1),
                    (os.POSIX_SPAWN_DUP2, self._stderr.writer, 2),
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                ],
                setsid=True,
                # Python ignores these itself, and a task would inherit that
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )

        try:
            return spawn(words)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script without a #! line: POSIX has execvp run it by the shell
            return spawn(["/bin/sh", *words])

    def _refuse(self, exit_code: int, message: str) -> None:
        """End at once with what a shell would say and exit with."""
        try:
            os.write(self._stderr.writer, f"pyanamo: {message}\n".encode("utf-8", "replace"))
        except OSError as error:
            raise HostError(f"no space for a task's output: {error}") from error
        self._exit = (exit_code << 8, 0.0)

    def poll(self) -> Outcome | None:
        """The outcome once the task has ended, and its whole group where it was stopped."""
        now = monotonic()
        if self._exit is None:
            self._reap(now)
        if self._exit is None:
            if self._timeout is not None and now >= self._begin + self._timeout:
                self._timeout = None
                self.stop(StopReason.TIMEOUT, self._grace)
            self._kill_when_due(now)
            return None
        if self._kill_at is not None and self._group_lives():
            self._kill_when_due(now)
            if now < self._kill_at:
                return None
        return self._outcome(*self._exit)

    def _reap(self, now: float) -> None:
        assert self._pid
        pid, status, usage = os.wait4(self._pid, os.WNOHANG)
        if pid:
            self._exit = (status, usage.ru_maxrss * 1024 / 1e6)
            self._seconds = now - self._begin

    def stop(self, why: StopReason, grace: float) -> None:
        """SIGTERM to the group now, SIGKILL after `grace` seconds; the first reason counts, the
        shortest grace too. The caller polls on.
        """
        if self._stopped is None:
            self._stopped = why
        kill_at = monotonic() + grace
        if self._kill_at is None:
            self._signal(signal.SIGTERM)
            # One that is suspended would not see it
            self._signal(signal.SIGCONT)
            self._kill_at = kill_at
        self._kill_at = min(self._kill_at, kill_at)

    def _kill_when_due(self, now: float) -> None:
        if self._kill_at is not None and now >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._pid:
            # It may be gone, or (a set-uid program) out of reach; waiting goes on
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    def _group_lives(self) -> bool:
        if not self._pid:
            return False
        try:
            os.killpg(self._pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def next_look(self) -> float | None:
        """When to poll at the latest, by the monotonic clock; None if SIGCHLD says it in time."""
        if self._exit is not None:
            return monotonic() + GROUP_LOOK_SECONDS
        end = None if self._timeout is None else self._begin + self._timeout
        return min((time for time in (end, self._kill_at) if time is not None), default=None)

    def _outcome(self, status: int, max_rss_mb: float) -> Outcome:
        code = os.waitstatus_to_exitcode(status)
        return Outcome(
            script=self._script,
            exit_code=code if code >= 0 else 128 - code,
            signal=max(-code, 0),
            stopped=self._stopped,
            started=self._started,
            ended=_now(),
            seconds=self._seconds,
            max_rss_mb=max_rss_mb,
            stdout=self._stdout,
            stderr=self._stderr,
        )


def _two(files: OutFiles) -> tuple[OutFile, OutFile]:
    """A file for each stream. Raises HostError where there are none to be had."""
    try:
        first = files.new()
        try:
            return first, files.new()
        except OSError:
            first.close()
            raise
    except OSError as error:
        raise HostError(f"no file for a task's output: {error}") from error


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
