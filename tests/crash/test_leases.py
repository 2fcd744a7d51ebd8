"""Leases: kept alive while the worker lives, taken over when they end, and never broken."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

import psutil
import pytest

from tests.support.both_kinds import both_kinds
from tests.support.fleet import Fleet, tree
from tests.support.proxy import Proxy, Request, cutting, dating, failing, on, passing, skewing
from tests.support.waiting import eventually

FindFaults = Callable[[], list[str]]


def freeze(
    fleet: Fleet, seconds: str
) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """Suspend a worker in the middle of a task of so many seconds, for longer than its lease, while
    another works; wake it up. Both workers, ended."""
    fleet.add([f"{fleet.ledger.script}|{seconds},{seconds}"], "-n", ",")
    zombie = fleet.start("--lease", "2", "-v")
    eventually(fleet.ledger.starts)
    frozen = tree(zombie)
    for process in frozen:
        process.suspend()
    fleet.guard = None
    heir = fleet.start("--lease", "2", "--idle-timeout", "10", "-v")
    eventually(lambda: fleet.table.items()[0]["ItemState"] == "done")
    for process in frozen:
        # A worker that is awake may have killed its task by now
        with suppress(psutil.NoSuchProcess):
            process.resume()
    return zombie.wait(), heir.wait()


def test_a_zombie_writes_nothing(fleet: Fleet, find_faults: FindFaults) -> None:
    zombie, _ = freeze(fleet, "0.5")
    assert "lost" in zombie.stderr
    assert fleet.table.items()[0]["Attempts"] == 2
    assert find_faults() == []


def test_without_the_fence_a_zombie_writes(fleet: Fleet, find_faults: FindFaults) -> None:
    fleet.guard = "fence"
    freeze(fleet, "0.5")
    assert find_faults() != []


def run_longer_than_the_lease(fleet: Fleet) -> None:
    """A task of four leases, with a second worker looking for work all the while."""
    fleet.add([f"{fleet.ledger.script}|8"], "-n", ",")
    first = fleet.start("--lease", "2")
    eventually(fleet.ledger.starts)
    second = fleet.start("--lease", "2", "--idle-timeout", "9")
    first.wait()
    second.wait()


@both_kinds
def test_a_busy_worker_keeps_its_lease(fleet: Fleet, find_faults: FindFaults) -> None:
    run_longer_than_the_lease(fleet)
    assert len(fleet.ledger.starts()) == 1
    assert fleet.table.items()[0]["Attempts"] == 1
    assert find_faults() == []


@pytest.mark.parametrize("guard", ["heartbeat", "lease"])
def test_without_heartbeat_or_lease_the_item_is_taken_away(guard: str, fleet: Fleet) -> None:
    fleet.guard = guard
    run_longer_than_the_lease(fleet)
    assert len(fleet.ledger.starts()) > 1


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_worker_whose_clock_is_an_hour_off_breaks_no_lease(
    hours: int,
    fleet: Fleet,
    find_faults: FindFaults,
    dynamodb: str,
    make_proxy: Callable[[str], Proxy],
) -> None:
    """Seen from the worker, it is DynamoDB's clock that is off: all its Date headers are."""
    wrong = {"AWS_ENDPOINT_URL_DYNAMODB": skewed(make_proxy(dynamodb), 3600 * hours)}
    fleet.add([f"{fleet.ledger.script}|4"] * 2, "-n", ",")
    fleet.environment = wrong
    # Both see the same DynamoDB time, an hour from what their own clocks say
    first = fleet.start("--lease", "2")
    eventually(fleet.ledger.starts)
    second = fleet.start("--lease", "2", "--idle-timeout", "5")
    assert first.wait().returncode == second.wait().returncode == 0
    assert {item["Attempts"] for item in fleet.table.items()} == {1}
    assert find_faults() == []


def skewed(proxy: Proxy, seconds: float) -> str:
    """The URL of a DynamoDB that far ahead."""
    proxy.behaviour = skewing(seconds)
    return proxy.url


def look_for_ended_leases(fleet: Fleet, dynamodb: str, make_proxy: Callable[[str], Proxy]) -> int:
    """Have a worker look at twelve live leases, by replies of which one in ten is dated a day
    ahead, the first right before it asks for leases; how many it broke.
    """
    fleet.add(["true"] * 12)
    for item in fleet.table.items():
        fleet.table.client.update_item(
            TableName=fleet.table.name,
            Key={"itemID": {"N": str(item["itemID"])}},
            UpdateExpression="SET ItemState = :locked, lockID = :theirs, Lease_Expires = :later",
            ExpressionAttributeValues={
                ":locked": {"S": "locked"},
                ":theirs": {"S": "theirs"},
                ":later": {"N": str(int(time.time()) + 600)},
            },
        )

    pages = count(1)

    def second_page(request: Request) -> bool:
        """Whether nothing was todo from a random place on, nor is from the beginning on."""
        todo = ":start" in request.json.get("ExpressionAttributeValues", {})
        return todo and next(pages) == 2

    proxy = make_proxy(dynamodb)
    proxy.behaviour = dating(86_400, second_page)
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    ended = fleet.start().wait()
    # Without the guard, the parent's last look may believe a wrong date as well
    assert ended.returncode in ((0, 75) if fleet.guard else (0,)), ended.stderr
    return sum(item["lockID"] != "theirs" for item in fleet.table.items())


def test_one_reply_in_ten_that_is_dated_a_day_ahead_breaks_no_lease(
    fleet: Fleet, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    assert look_for_ended_leases(fleet, dynamodb, make_proxy) == 0


def test_without_a_second_opinion_one_such_reply_breaks_a_lease(
    fleet: Fleet, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    fleet.guard = "second_opinion"
    assert look_for_ended_leases(fleet, dynamodb, make_proxy) > 0


def test_a_heartbeat_that_is_cut_off_does_not_stop_the_task(
    fleet: Fleet, find_faults: FindFaults, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(dynamodb)
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    fleet.add([f"{fleet.ledger.script}|6"], "-n", ",")
    worker = fleet.start("--lease", "3")
    eventually(fleet.ledger.starts)
    renewals = proxy.operations["UpdateItem"]
    proxy.behaviour = cutting
    eventually(lambda: proxy.operations["UpdateItem"] > renewals + 2)
    proxy.behaviour = passing
    ended = worker.wait()
    assert ended.returncode == 0, ended.stderr
    assert "lease of item" in ended.stderr
    assert len(fleet.ledger.starts()) == 1
    assert find_faults() == []


def test_a_worker_cut_off_for_longer_than_its_lease_stops_its_task(
    fleet: Fleet, find_faults: FindFaults, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(dynamodb)
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    fleet.add([f"{fleet.ledger.script}|20"], "-n", ",")
    worker = fleet.start("--lease", "2", "--grace", "1")
    eventually(fleet.ledger.starts)
    proxy.behaviour = cutting
    fleet.environment = {}
    heir = fleet.start("--lease", "2", "--idle-timeout", "20")
    eventually(lambda: len(fleet.ledger.starts()) == 2)
    proxy.behaviour = passing
    ended = worker.wait(20)
    assert "lost" in ended.stderr
    assert fleet.table.states() == {"locked": 1}
    heir.signal(signal.SIGTERM)
    heir.wait()
    assert find_faults() == []


def test_items_locked_without_a_lease_are_left_alone(fleet: Fleet) -> None:
    fleet.add(["true"])
    (item,) = fleet.table.items()
    fleet.table.client.update_item(
        TableName=fleet.table.name,
        Key={"itemID": {"N": str(item["itemID"])}},
        UpdateExpression="SET ItemState = :locked, lockID = :theirs",
        ExpressionAttributeValues={":locked": {"S": "locked"}, ":theirs": {"S": "theirs"}},
    )
    ended = fleet.start().wait()
    assert ended.returncode == 0
    assert "nothing to do" in ended.stderr
    assert fleet.table.states() == {"locked": 1}


def test_a_claim_is_refused_for_good_where_the_permission_is_lacking(
    fleet: Fleet, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(dynamodb)
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    proxy.behaviour = on("UpdateItem", failing("AccessDeniedException"))
    fleet.add(["true"])
    ended = fleet.start("-i", "2").wait()
    assert ended.returncode == 3
    assert ended.stderr.count("lack a permission") == 1
    assert "Traceback" not in ended.stderr
    assert fleet.table.states() == {"todo": 1}
