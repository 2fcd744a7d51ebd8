"""What a worker's end says of its table, and what the next attempt of its job does first."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.support.both_kinds import both_kinds
from tests.support.fleet import Fleet, kill_machine
from tests.support.proxy import Proxy, failing
from tests.support.scripts import Running
from tests.support.waiting import eventually

ONCE = "bash -c 'mkdir {folder}/begun 2>/dev/null && sleep 600; true'"
"""A Task Script that hangs the first time it is run."""


def once(fleet: Fleet) -> str:
    return ONCE.replace("{folder}", str(fleet.folder))


def locked(fleet: Fleet) -> bool:
    return fleet.table.states() == {"locked": 1} and (fleet.folder / "begun").exists()


def test_failed_tasks_do_not_change_the_exit_code_where_that_is_wanted(fleet: Fleet) -> None:
    fleet.add(["false", "true"])
    ended = fleet.start("--fail-ok").wait()
    assert ended.returncode == 0, ended.stderr
    assert "1 failed" in ended.stderr
    assert fleet.table.states() == {"done": 1, "failed": 1}


def test_a_worker_that_does_not_wait_says_what_others_hold_and_until_when(fleet: Fleet) -> None:
    fleet.add([once(fleet)])
    fleet.start()
    eventually(lambda: locked(fleet), 60)
    ended = fleet.start().wait()
    assert ended.returncode == 0
    assert "other workers hold 1 item (leases end by " in ended.stderr


def test_a_worker_that_waits_takes_over_what_others_lose(fleet: Fleet) -> None:
    fleet.add([once(fleet)])
    first = fleet.start("--lease", "2")
    eventually(lambda: locked(fleet), 60)
    waiting = fleet.start("--wait", "-i", "2", "--lease", "2")
    kill_machine(first)
    ended = waiting.wait(120)
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 1}


def test_a_worker_that_waits_hears_a_signal(fleet: Fleet) -> None:
    fleet.add([once(fleet)])
    fleet.start()
    eventually(lambda: locked(fleet), 60)
    waiting = fleet.start("--wait", "-v")
    # Its processes have looked at the table and ended
    eventually(lambda: "waiting" in waiting.stderr, 60)
    waiting.signal(signal.SIGTERM)
    assert waiting.wait().returncode == 143


def attempt(fleet: Fleet, number: int, job: str = "job-7:3", *flags: str) -> Running:
    """Start a worker as an attempt of an AWS Batch job."""
    fleet.environment |= {"AWS_BATCH_JOB_ID": job, "AWS_BATCH_JOB_ATTEMPT": str(number)}
    return fleet.start(*flags)


@both_kinds
def test_the_next_attempt_of_a_batch_job_takes_over_at_once(fleet: Fleet) -> None:
    fleet.add([once(fleet)])
    first = attempt(fleet, 1)
    eventually(lambda: locked(fleet), 60)
    kill_machine(first)
    ended = attempt(fleet, 2, "job-7:3", "-i", "2").wait()
    assert ended.returncode == 0, ended.stderr
    (item,) = fleet.table.items()
    assert (item["ItemState"], item["InstanceID"], item["Attempts"]) == ("done", "job-7-3", 2)
    assert item["lockID"].endswith(".2")


def test_another_job_leaves_it_until_its_lease_ends(fleet: Fleet) -> None:
    fleet.add([once(fleet)])
    first = attempt(fleet, 1)
    eventually(lambda: locked(fleet), 60)
    kill_machine(first)
    ended = attempt(fleet, 2, "job-8:3").wait()
    assert "other workers hold 1 item" in ended.stderr
    assert fleet.table.states() == {"locked": 1}


def test_a_limit_before_the_take_over_leaves_the_attempt_unfinished(fleet: Fleet) -> None:
    fleet.add([once(fleet)])
    first = attempt(fleet, 1)
    eventually(lambda: locked(fleet), 60)
    kill_machine(first)
    ended = attempt(fleet, 2, "job-7:3", "-w", "0").wait()
    assert ended.returncode == 75, ended.stderr
    assert "work remains: start another worker" in ended.stderr
    assert fleet.table.states() == {"locked": 1}


def test_a_claim_that_was_inherited_and_not_taken_over_is_unfinished(fleet: Fleet) -> None:
    killing = "bash -c 'mkdir {folder}/begun 2>/dev/null && kill -9 $PPID; sleep 600'"
    fleet.add([killing.replace("{folder}", str(fleet.folder))])
    ended = fleet.start("-w", "8").wait()
    assert "starting another in its place" in ended.stderr
    assert ended.returncode == 75, ended.stderr
    assert fleet.table.states() == {"locked": 1}


def test_a_worker_that_waits_ends_when_its_table_is_gone(
    fleet: Fleet, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    fleet.add([once(fleet)])
    fleet.start()
    eventually(lambda: locked(fleet), 60)
    proxy = make_proxy(dynamodb)
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    waiting = fleet.start("--wait", "-v")
    eventually(lambda: "waiting for what" in waiting.stderr, 60)
    proxy.behaviour = failing("ResourceNotFoundException")
    ended = waiting.wait()
    assert ended.returncode == 3
    assert f"table {fleet.table.name} does not exist" in ended.stderr


def test_an_attempt_leaves_alone_what_its_own_processes_hold(fleet: Fleet) -> None:
    fleet.add([f"{fleet.ledger.script} 1"] * 6)
    ended = attempt(fleet, 2, "job-7:3", "-i", "3").wait()
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 6}
    assert {item["Attempts"] for item in fleet.table.items()} == {1}
