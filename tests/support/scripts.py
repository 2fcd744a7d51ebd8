"""The real scripts, and any other command, as child processes that no test can leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
MARK = "PYTEST_CHILD"


class Running:
    """A command that was started: its output goes to files, so it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[bytes], stdout: Path, stderr: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._stdout = stdout
        self._stderr = stderr

    @property
    def stdout(self) -> str:
        """What it has written to stdout so far."""
        return self._stdout.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._stderr.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send it a signal, and it alone."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Return how it ended; fails the test if it has not after `timeout` seconds."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            said = f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}"
            pytest.fail(f"{self.process.args!r} still runs after {timeout} s\n{said}")
        return subprocess.CompletedProcess(self.process.args, code, self.stdout, self.stderr)


class Scripts:
    """Starts commands for one test, and ends whatever is left of them when it is over.

    A task has a session of its own and survives the worker that a test kills, so neither process
    groups nor parents lead to all of them. Each child is marked by a variable of its environment
    instead, which everything it starts inherits.

    environment: what each of them sees.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._mark = uuid.uuid4().hex
        self.environment = {**environment, MARK: self._mark}
        self._folder = folder
        self._started: list[Running] = []

    def start(
        self,
        *command: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: IO[bytes] | None = None,
    ) -> Running:
        """Start a command and return at once.

        Args:
            command: Its first word, if it ends in ".py", is a script of the project.
            env: Variables to set on top of the scrubbed environment.
            cwd: Where it runs; by default a folder of the test's.
            stdin: By default empty.
        """
        words = [str(word) for word in command]
        if words[0].endswith(".py"):
            words = [sys.executable, str(ROOT / words[0]), *words[1:]]
        name = f"child-{len(self._started)}"
        stdout, stderr = self._folder / f"{name}.stdout", self._folder / f"{name}.stderr"
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                words,
                env={**self.environment, **(env or {})},
                cwd=cwd or self._folder,
                stdin=stdin or subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._started.append(Running(process, stdout, stderr))
        return self._started[-1]

    def run(
        self,
        *command: str | os.PathLike[str],
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with `stdin` to read; see `start` and `Running.wait`."""
        source = self._folder / f"child-{len(self._started)}.stdin"
        source.write_text(stdin)
        with source.open("rb") as stream:
            return self.start(*command, env=env, cwd=cwd, stdin=stream).wait(timeout)

    def alive(self) -> list[int]:
        """Return the ids of all processes that came of these commands and still run."""
        mark = f"{MARK}={self._mark}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile, or is somebody else's
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def _all_killed(self) -> bool:
        left = self.alive()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    def __enter__(self) -> Scripts:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill, by pid, until nothing is left: what is being killed may still be forking."""
        eventually(self._all_killed)
        for running in self._started:
            running.process.wait()
