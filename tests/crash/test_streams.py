"""Workers whose standard streams are closed, or that nobody reads."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.waiting import eventually


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[Path]:
    """A pipe that has no room."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(end, b"x" * 4096)
    yield path
    os.close(end)


def stderr_to(path: Path) -> list[str]:
    """What starts a worker with stderr on a file."""
    return ["bash", "-c", f'exec "$@" 2>{path}', "bash"]


def test_a_worker_whose_stderr_nobody_reads_does_its_work(fleet: Fleet, full_pipe: Path) -> None:
    fleet.add(["true"] * 3)
    assert fleet.start("-v", under=stderr_to(full_pipe)).wait().returncode == 0
    assert fleet.table.states() == {"done": 3}


def test_a_worker_whose_stderr_nobody_reads_hears_a_signal(fleet: Fleet, full_pipe: Path) -> None:
    fleet.add(["true", f"{fleet.ledger.script} 600"])
    # Both at once: one process might take the long one first
    worker = fleet.start("-v", "-i", "2", under=stderr_to(full_pipe))
    eventually(lambda: fleet.table.states() == {"done": 1, "locked": 1}, 60)
    eventually(fleet.ledger.starts)
    worker.signal(signal.SIGTERM)
    assert worker.wait().returncode == 143
    assert fleet.table.states() == {"done": 1, "todo": 1}


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_worker_runs_without_a_standard_stream(closed: str, fleet: Fleet) -> None:
    fleet.add(["bash -c 'echo out; echo err >&2'", "false"])
    under = ["bash", "-c", f'exec "$@" {closed}', "bash"]
    assert fleet.start("-i", "2", under=under).wait().returncode == 1
    assert fleet.table.states() == {"done": 1, "failed": 1}
    (done,) = [item for item in fleet.table.items() if item["ItemState"] == "done"]
    assert (done["Log"]["stdout"], done["Log"]["stderr"]) == ("out\n", "err\n")
