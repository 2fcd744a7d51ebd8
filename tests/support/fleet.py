"""Workers on one table: task files in, processes out, and ways to end them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.history import Ledger
from tests.support.processes import lives
from tests.support.scripts import ROOT, Running, Scripts
from tests.support.table import Table
from tests.support.task_files import import_here


class Fleet:
    """Starts importers and workers for one table and bucket.

    ledger: to which tasks write that they start. guard: the guard of `tests.support.sabotage` to
    take away, none by default. environment: what to set for the workers.
    """

    def __init__(self, scripts: Scripts, table: Table, bucket: str, folder: Path) -> None:
        self.scripts = scripts
        self.table = table
        self.bucket = bucket
        self.folder = folder
        self.ledger = Ledger(folder / "ledger")
        self.guard: str | None = None
        self.environment: dict[str, str] = {}

    def add(self, lines: Sequence[str], *flags: str, task_ids: Sequence[str] | None = None) -> None:
        """Import items: each line is what follows `TaskID|Table|`; tasks are T0, T1 and so on."""
        names = task_ids or [f"T{number}" for number in range(len(lines))]
        file = self.folder / "tasks.txt"
        with file.open("w") as text:
            for name, line in zip(names, lines, strict=True):
                text.write(f"{name}|{self.table.name}|{line}\n")
        import_here(self.table, file, *flags)

    def start(self, *flags: str, under: Sequence[str] = ()) -> Running:
        """Start a worker; `under` is a command that starts it, if any."""
        script = ["pyanamo.py"]
        if self.guard:
            script = ["tests/support/sabotage.py", self.guard, "pyanamo.py"]
        where = ["-t", self.table.name, "-b", self.bucket, "-r", "us-east-1"]
        if under:
            script = [*under, sys.executable, str(ROOT / script[0]), *script[1:]]
        return self.scripts.start(*script, *where, *flags, env=self.environment)


def children(running: Running) -> list[psutil.Process]:
    """The worker processes of a worker."""
    return [child for child in psutil.Process(running.pid).children() if lives(child.pid)]


def busy(running: Running) -> list[psutil.Process]:
    """The worker processes of a worker that run a task."""
    found = []
    for process in children(running):
        # One that has nothing to do may end meanwhile
        with suppress(psutil.NoSuchProcess):
            if process.children():
                found.append(process)
    return found


def tree(running: Running) -> list[psutil.Process]:
    """A worker with its worker processes and its tasks."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(running.pid)
        children = parent.children(recursive=True)
        return [parent, *(child for child in children if lives(child.pid))]
    return []


def kill_machine(running: Running) -> None:
    """End a worker and all it started at once, as a machine that vanishes does."""
    # Stopped first, so that nothing is started while the list is worked through
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in tree(running):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
    running.process.wait()
