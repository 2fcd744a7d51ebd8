"""Workers that are killed at random moments: nothing is lost, nothing is recorded twice."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

import pytest

from tests.support.both_kinds import both_kinds
from tests.support.fleet import Fleet, busy
from tests.support.rounds import kill_everything, kill_one_process, kill_the_parent, terminate
from tests.support.scripts import Running
from tests.support.waiting import eventually

ITEMS = 60
QUICK_ROUNDS = range(1)
LONG_ROUNDS = range(1, 20)
KILLS = 5

Blow = Callable[[Running, random.Random], None]
KILLING: list[Blow] = [kill_one_process, kill_the_parent, kill_everything]


def rounds(quick: range, long: range) -> list[object]:
    """Seeds: a few always, the others with --long."""
    return [*quick, *(pytest.param(seed, marks=pytest.mark.long) for seed in long)]


def wait_for_starts(fleet: Fleet, number: int, running: Running) -> None:
    """Wait until that many tasks were started in all, or the worker has ended."""
    eventually(
        lambda: len(fleet.ledger.starts()) >= number or running.process.poll() is not None, 30
    )


def batter(fleet: Fleet, seed: int, blows: list[Blow]) -> None:
    """Work through 60 items of 3 tasks while workers are struck at random moments."""
    draw = random.Random(seed)
    fleet.add([f"{fleet.ledger.script}|0,0.01,0.02"] * ITEMS, "-n", ",")
    for _ in range(KILLS):
        worker = fleet.start("-i", "2", "-n", "2", "--lease", "2", "-q", "--grace", "5")
        wait_for_starts(fleet, len(fleet.ledger.starts()) + draw.randint(1, 25), worker)
        draw.choice(blows)(worker, draw)
    # The last one stays until the leases of all that was killed have ended
    fleet.start("-i", "2", "-n", "2", "--lease", "2", "-q", "--idle-timeout", "6").wait(60)


@pytest.mark.parametrize("seed", rounds(QUICK_ROUNDS, LONG_ROUNDS))
def test_killed_workers_lose_nothing_and_record_nothing_twice(
    seed: int, fleet: Fleet, find_faults: Callable[[], list[str]]
) -> None:
    batter(fleet, seed, KILLING)
    assert fleet.table.states() == {"done": ITEMS}
    assert find_faults() == []


@pytest.mark.parametrize("seed", rounds(QUICK_ROUNDS, range(1, 10)))
def test_terminated_workers_lose_nothing_and_record_nothing_twice(
    seed: int, fleet: Fleet, find_faults: Callable[[], list[str]]
) -> None:
    batter(fleet, seed, [terminate])
    assert fleet.table.states() == {"done": ITEMS}
    assert find_faults() == []
    assert {item["Attempts"] for item in fleet.table.items()} == {1}


def test_without_its_memory_of_ended_tasks_the_battering_shows_it(
    fleet: Fleet, find_faults: Callable[[], list[str]]
) -> None:
    fleet.guard = "memory"
    fleet.add([f"{fleet.ledger.script}|0,5,0"], "-n", ",")
    worker = fleet.start("--lease", "2")
    wait_for_starts(fleet, 2, worker)
    eventually(lambda: fleet.table.items()[0].get("Ended_Tasks") == 1)
    worker.signal(signal.SIGTERM)
    worker.wait()
    fleet.start("--lease", "2").wait()
    assert any("was run again" in fault for fault in find_faults())


@both_kinds
def test_a_process_that_is_killed_is_replaced_and_its_item_taken_over(
    fleet: Fleet, find_faults: Callable[[], list[str]]
) -> None:
    fleet.add([f"{fleet.ledger.script}|0.5,0.5"], "-n", ",")
    worker = fleet.start("-i", "2", "--lease", "2")
    wait_for_starts(fleet, 1, worker)
    os.kill(busy(worker)[0].pid, signal.SIGKILL)
    ended = worker.wait()
    assert ended.returncode == 0, ended.stderr
    assert "was killed by SIGKILL; starting another in its place" in ended.stderr
    assert fleet.table.states() == {"done": 1}
    assert fleet.table.items()[0]["Attempts"] == 2
    assert find_faults() == []


def test_without_inheritance_the_item_of_a_killed_process_is_left_behind(fleet: Fleet) -> None:
    fleet.guard = "inheritance"
    fleet.add([f"{fleet.ledger.script}|0.5,0.5"], "-n", ",")
    worker = fleet.start("-i", "2", "--lease", "10")
    wait_for_starts(fleet, 1, worker)
    os.kill(busy(worker)[0].pid, signal.SIGKILL)
    worker.wait()
    assert fleet.table.states() == {"locked": 1}


def test_a_killed_process_takes_its_tasks_with_it(fleet: Fleet) -> None:
    fleet.add([f"{fleet.ledger.script}|30"], "-n", ",")
    worker = fleet.start("-i", "2", "--lease", "600")
    wait_for_starts(fleet, 1, worker)
    (victim,) = busy(worker)
    task = victim.children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    eventually(lambda: not task.is_running())
    assert fleet.table.states() == {"locked": 1}
    worker.signal(signal.SIGTERM)
    assert worker.wait().returncode == 143


def test_a_task_that_kills_its_workers_fails_in_the_end(
    fleet: Fleet, find_faults: Callable[[], list[str]]
) -> None:
    fleet.add(["bash -c 'kill -9 $PPID; sleep 5'"])
    ended = fleet.start("--lease", "2", "--max-attempts", "2").wait()
    (item,) = fleet.table.items()
    assert ended.returncode == 1, ended.stderr
    assert item["ItemState"] == "failed"
    assert item["Log"]["Status"] == "Execution Failed: abandoned after 2 claims"
    assert item["Attempts"] == 3
    assert find_faults() == []
