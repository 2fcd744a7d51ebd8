"""Copies of a worker's writes that reach DynamoDB late: they undo nothing of what came after.

A proxy between worker and DynamoDB keeps the requests; sending one again is what a network does
that delivers a packet late, or an SDK whose first attempt was not lost, only slow.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.proxy import Proxy, Request
from tests.support.waiting import eventually

FindFaults = Callable[[], list[str]]
Delay = Callable[[Fleet, Proxy], None]
SECONDS = 60


def task(folder: Path) -> str:
    """A Task Script that ends once a file exists, whose name is its argument."""
    return f'bash -c "until test -e {folder}/\\$0; do sleep 0.05; done"'


def first(database: Proxy, update: str) -> Request:
    """The first request to update an item that begins so, once it has been sent."""

    def sent() -> list[Request]:
        updates = [each for each in database.requests if each.operation == "UpdateItem"]
        return [each for each in updates if each.json["UpdateExpression"].startswith(update)]

    return eventually(sent, SECONDS)[0]


def delay_a_renewal(fleet: Fleet, database: Proxy) -> None:
    """An early renewal arrives once more after later ones."""
    fleet.add([f"{task(fleet.folder)} a"])
    worker = fleet.start("--lease", "2")
    renewal = first(database, "SET Lease_Expires")
    expires = int(renewal.json["ExpressionAttributeValues"][":expires"]["N"])
    eventually(lambda: fleet.table.items()[0]["Lease_Expires"] > expires, SECONDS)
    database.forward(renewal)
    (fleet.folder / "a").touch()
    assert worker.wait().returncode == 0


def delay_a_record(fleet: Fleet, database: Proxy) -> None:
    """The record of the first nested task arrives once more after that of the second."""
    fleet.add([f"{task(fleet.folder)}|a,b,c"], "-n", ",")
    worker = fleet.start()
    (fleet.folder / "a").touch()
    eventually(lambda: fleet.table.items()[0].get("Ended_Tasks") == 1, SECONDS)
    (fleet.folder / "b").touch()
    eventually(lambda: fleet.table.items()[0].get("Ended_Tasks") == 2, SECONDS)
    database.forward(first(database, "SET Ended_Tasks"))
    (fleet.folder / "c").touch()
    assert worker.wait().returncode == 0


def delay_a_claim(fleet: Fleet, database: Proxy) -> None:
    """A claim arrives once more after the item was given back; then a worker takes it."""
    fleet.add([f"{task(fleet.folder)} a"])
    worker = fleet.start("--lease", "2")
    claim = first(database, "SET ItemState = :locked")
    eventually(lambda: fleet.table.states() == {"locked": 1}, SECONDS)
    worker.signal(signal.SIGTERM)
    assert worker.wait().returncode == 143
    database.forward(claim)
    (fleet.folder / "a").touch()
    assert fleet.start("--lease", "2", "--idle-timeout", "5").wait().returncode == 0


DELAYS = [
    (delay_a_renewal, "order", "has a shorter lease than before"),
    (delay_a_record, "order", "has fewer ended tasks than before"),
    (delay_a_claim, "succession", "was claimed again by a claim that had ended"),
]


@pytest.mark.parametrize("delay", [each[0] for each in DELAYS])
def test_a_write_that_arrives_late_undoes_no_later_one(
    delay: Delay, fleet: Fleet, database: Proxy, find_faults: FindFaults
) -> None:
    delay(fleet, database)
    assert fleet.table.states() == {"done": 1}
    assert fleet.table.items()[0]["Attempts"] == 1
    assert find_faults() == []


@pytest.mark.parametrize(("delay", "guard", "fault"), DELAYS)
def test_without_its_guard_a_late_write_does_harm(
    delay: Delay, guard: str, fault: str, fleet: Fleet, database: Proxy, find_faults: FindFaults
) -> None:
    fleet.guard = guard
    delay(fleet, database)
    assert any(fault in found for found in find_faults())
