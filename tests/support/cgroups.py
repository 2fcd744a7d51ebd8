"""The cgroups that workers on this machine have made."""

from __future__ import annotations

import os
from pathlib import Path

from anamo.worker import cgroup


def can_make_cgroups() -> bool:
    """Whether tasks get cgroups here."""
    made = cgroup.make(os.getpid())
    if made:
        made.remove()
    return bool(made)


def cgroups_of(worker_process: int) -> list[Path]:
    """The cgroups of a worker process's tasks."""
    folder = cgroup.own_folder()
    return list(folder.glob(f"{cgroup.PREFIX}*-{worker_process}-*")) if folder else []
