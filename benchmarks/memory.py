"""How much memory the worker's processes take: proportional set sizes, so that what they share
counts once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.bench import ROOT, Bench, singles
from benchmarks.measure import Failed
from benchmarks.servers import BUCKET

ITEMS_EACH = 20
"""Items that a process has worked through before it is looked at."""

DEADLINE = 120.0
"""Seconds until all processes have to be in mid-run."""


def memory(bench: Bench, processes: int) -> float:
    """MB (2**20 bytes) of all processes of a worker with -i `processes` in mid-run, its tasks left
    out.
    """
    items = [*singles(ITEMS_EACH * processes), *singles(processes * 2, "sleep 60")]
    with bench.table(items) as table:
        command = [sys.executable, str(ROOT / "pyanamo.py"), "-t", table, "-b", BUCKET, "-q"]
        worker = subprocess.Popen(
            [*command, "-r", "us-east-1", "-i", str(processes), "--grace", "1"],
            env=dict(bench.environment),
            cwd=bench.folder,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return _when_all_sleep(worker.pid, processes)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)


def _when_all_sleep(pid: int, processes: int) -> float:
    parent = psutil.Process(pid)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        time.sleep(0.5)
        mine = parent.children()
        if len(mine) == processes and all(_runs_sleep(process) for process in mine):
            break
    else:
        raise Failed(f"after {DEADLINE:.0f} s not all of {processes} processes run a task")
    time.sleep(1)
    return sum(each.memory_full_info().pss for each in (parent, *parent.children())) / 2**20


def _runs_sleep(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return any(child.name() == "sleep" for child in process.children())
    return False


def have_smaps() -> bool:
    """Whether this system says proportional set sizes."""
    return Path(f"/proc/{os.getpid()}/smaps_rollup").exists()
