"""The real worker starts each task by subprocess.Popen, and boto3 makes its clients."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet
from tests.support.scripts import ROOT

Event = dict[str, Any]
TASKS = 9


class Run:
    """A run of two worker processes.

    Attributes:
        tasks: The process ids that the tasks themselves wrote down.
        events: What `tests/support/witness` noted.
    """

    def __init__(self, tasks: list[int], events: list[Event]) -> None:
        self.tasks = tasks
        self.events = events

    def clients(self, maker: str) -> Counter[tuple[int, str]]:
        """How many clients this package made in each process for each service."""
        return Counter(
            (event["process"], event["service"]) for event in self.events if event["event"] == maker
        )

    def sessions(self) -> list[int]:
        """The process ids of what subprocess.Popen started in a session of its own."""
        return [event["pid"] for event in self.events if event.get("new_session")]


@pytest.fixture
def run(fleet: Fleet, tmp_path: Path) -> Callable[[str | None], Run]:
    """Run three single items and two of three nested tasks, perhaps with a guard taken away."""
    pids, noted = tmp_path / "pids", tmp_path / "noted"
    script = tmp_path / "task.sh"
    script.write_text(f"#!/bin/sh\necho $$ >> {pids}\n")
    script.chmod(0o755)
    fleet.environment |= {
        "PYTHONPATH": str(ROOT / "tests/support/witness"),
        "WITNESS": str(noted),
    }

    def run(guard: str | None) -> Run:
        fleet.add([str(script)] * 3)
        fleet.add([f"{script}|1,2,3"] * 2, "-n", ",")
        fleet.guard = guard
        ended = fleet.start("-i", "2", "-n", "2").wait()
        assert ended.returncode == 0, ended.stderr
        events = [json.loads(line) for line in noted.read_text().splitlines()]
        return Run([int(line) for line in pids.read_text().split()], events)

    return run


def test_every_task_is_started_by_subprocess_popen_in_a_session_of_its_own(
    run: Callable[[str | None], Run],
) -> None:
    seen = run(None)
    assert len(seen.tasks) == TASKS
    assert sorted(seen.sessions()) == sorted(seen.tasks)


def test_a_worker_that_bypasses_subprocess_is_noticed(run: Callable[[str | None], Run]) -> None:
    seen = run("subprocess")
    assert len(seen.tasks) == TASKS
    assert seen.sessions() == []


def test_boto3_makes_every_client_in_the_process_that_uses_it(
    run: Callable[[str | None], Run],
) -> None:
    seen = run(None)
    made = seen.clients("boto3")
    assert made == seen.clients("botocore")
    workers = {event["process"] for event in seen.events if event["event"] == "Popen"}
    assert workers
    assert {(worker, service) for worker in workers for service in ("dynamodb", "s3")} <= set(made)


def test_a_worker_that_bypasses_boto3_is_noticed(run: Callable[[str | None], Run]) -> None:
    seen = run("boto3")
    assert seen.clients("botocore")
    assert not seen.clients("boto3")
