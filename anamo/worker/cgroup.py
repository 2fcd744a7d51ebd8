"""Runs a task in a cgroup of its own, where this process may make cgroups (version 2, Linux 5.14).

Guaranteed: what is in a task's cgroup, and whatever it starts, is found and killed by the kernel at
once, however fast it forks. Where cgroups cannot be made (most containers, users without a
delegated cgroup), all this does nothing, and `process_tree` finds the same processes except those
that `task_processes` names.

/proc/self/cgroup and mountinfo are parsed here because psutil reads neither.

Moving a process into a cgroup takes the kernel some 10 ms, so a task gets its cgroup only once it
has run for a while (`task_process`); what it has started by then is moved along.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePath

from anamo.worker.process_tree import exists

PREFIX = "pyanamo-"

_NAME = re.compile(rf"{PREFIX}\d+-(\d{{1,7}})-\d+")
"""What they are called; the group is the process id of the worker process."""

ATTEMPTS = 10
"""How often emptying a cgroup is attempted: its processes may be forking."""


class TaskCgroup:
    """The cgroup of one task.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, pid: int) -> None:
        """Move a process into it, unless the process has ended."""
        with suppress(OSError):
            (self._path / "cgroup.procs").write_text(str(pid))

    def pids(self) -> set[int]:
        """The processes in it."""
        with suppress(OSError):
            return {int(pid) for pid in (self._path / "cgroup.procs").read_text().split()}
        return set()

    def kill(self) -> None:
        """Kill all that is in it."""
        with suppress(OSError):
            (self._path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Remove it; what a task left behind in it moves to its worker's own."""
        for _ in range(ATTEMPTS):
            for pid in self.pids():
                with suppress(OSError):
                    (self._path.parent / "cgroup.procs").write_text(str(pid))
            with suppress(OSError):
                self._path.rmdir()
                return


@cache
def own_folder(proc: Path = Path("/proc/self")) -> Path | None:
    """The folder of this process's cgroup; None if no cgroups can be made in it.

    Args:
        proc: Where `cgroup` and `mountinfo` of this process are.
    """
    with suppress(OSError, StopIteration, ValueError):
        lines = (proc / "cgroup").read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        root, mount_point = next(_mounts((proc / "mountinfo").read_text()))
        folder = Path(mount_point) / PurePath(own).relative_to(root)
        if all(os.access(path, os.W_OK) for path in (folder, folder / "cgroup.procs")):
            return folder
    return None


def _mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """Where cgroup file systems of version 2 are mounted: their roots and mount points."""
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        if file_system.startswith("cgroup2 "):
            root, mount_point = mount.split()[3:5]
            yield root, mount_point


def make(session: int) -> TaskCgroup | None:
    """Make a cgroup for the task of this process with that session; None if that is impossible."""
    folder = own_folder()
    if not folder:
        return None
    path = folder / f"{_namespace()}{os.getpid()}-{session}"
    with suppress(OSError):
        # It exists if a worker with the same process ids was killed
        path.mkdir(exist_ok=True)
        if (path / "cgroup.kill").exists():
            return TaskCgroup(path)
        path.rmdir()
    return None


def end_all(worker: int) -> None:
    """Kill what is in the cgroups of a worker process that died, and remove them."""
    for path in _made_by(f"{worker}-"):
        TaskCgroup(path).kill()
        TaskCgroup(path).remove()


def remove_empty() -> None:
    """Remove what worker processes that were killed with their parents left here."""
    for path in _made_by():
        name = _NAME.fullmatch(path.name)
        # One that lives may have made it this moment
        if name and not exists(int(name[1])):
            with suppress(OSError):
                path.rmdir()


def _made_by(worker: str = "") -> list[Path]:
    """The cgroups that a worker process, or any of this PID namespace, made."""
    if folder := own_folder():
        with suppress(OSError):
            return list(folder.glob(f"{_namespace()}{worker}*"))
    return []


def _namespace() -> str:
    """The beginning of their names: another PID namespace may have the same process ids."""
    return f"{PREFIX}{Path('/proc/self/ns/pid').stat().st_ino}-"
