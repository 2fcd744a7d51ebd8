"""Three hosts on one table, of which one is cut off for longer than its lease, and comes back."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.fleet import Fleet
from tests.support.hosts import Hosts, ImpossibleError, hosts
from tests.support.scripts import Running
from tests.support.waiting import eventually

FindFaults = Callable[[], list[str]]


@pytest.fixture
def three() -> Iterator[Hosts]:
    """Three hosts, connected."""
    try:
        with hosts(3) as made:
            yield made
    except ImpossibleError as why:
        pytest.skip(f"no hosts can be made here: {why}")


@pytest.fixture
def reachable(fleet: Fleet, three: Hosts, dynamodb: str, s3: str) -> Fleet:
    """The fleet, whose workers reach DynamoDB and S3 from the hosts."""
    fleet.environment |= {
        "AWS_ENDPOINT_URL_DYNAMODB": three.relay(dynamodb, 8000),
        "AWS_ENDPOINT_URL_S3": three.relay(s3, 9000),
    }
    return fleet


def start(fleet: Fleet, three: Hosts, host: int) -> Running:
    # All namespaces share the machine's host name
    fleet.environment["AWS_BATCH_JOB_ID"] = f"host-{host}"
    return fleet.start("--lease", "2", "--idle-timeout", "6", "-v", under=three.under(host))


def run_by(fleet: Fleet, host: int) -> list[dict[str, Any]]:
    """The items that a host holds and whose tasks it runs: until then, the reply to its claim may
    be on its way, and a host that never has it has nothing to lose.
    """
    started = {start.lock_id for start in fleet.ledger.starts()}
    return [
        item
        for item in fleet.table.items()
        if item.get("InstanceID") == f"host-{host}"
        and item["ItemState"] == "locked"
        and item["lockID"] in started
    ]


def cut_off(fleet: Fleet, three: Hosts) -> tuple[int, list[Any]]:
    """Cut the first host off while it holds an item, until another has taken that over and ended
    it; the item, and how the workers ended.
    """
    guard, fleet.guard = fleet.guard, None
    fleet.add([f"{fleet.ledger.script}|1,1"] * 4, "-n", ",")
    fleet.guard = guard
    workers = [start(fleet, three, 0)]
    fleet.guard = None
    workers += [start(fleet, three, host) for host in (1, 2)]
    (item,) = eventually(lambda: run_by(fleet, 0))
    three.cut(0)
    eventually(lambda: fleet.table.item(item["itemID"])["ItemState"] == "done", 60)
    three.mend(0)
    return item["itemID"], [worker.wait(90) for worker in workers]


def test_a_host_that_was_cut_off_and_comes_back_does_no_harm(
    reachable: Fleet, three: Hosts, find_faults: FindFaults
) -> None:
    item, ended = cut_off(reachable, three)
    assert reachable.table.states() == Counter(done=4)
    assert find_faults() == []
    taken_over = reachable.table.item(item)
    assert taken_over["Attempts"] == 2
    assert taken_over["InstanceID"] in ("host-1", "host-2")
    assert [each.returncode for each in ended] == [0, 0, 0], ended[0].stderr
    assert "lost" in ended[0].stderr


@pytest.mark.long
def test_without_the_fence_it_writes_what_is_no_longer_its_own(
    reachable: Fleet, three: Hosts, find_faults: FindFaults
) -> None:
    reachable.guard = "fence"
    cut_off(reachable, three)
    assert find_faults() != []


def test_a_host_that_is_cut_off_reaches_nothing(reachable: Fleet, three: Hosts) -> None:
    address = reachable.environment["AWS_ENDPOINT_URL_S3"].removeprefix("http://").split(":")
    knock = f"import socket; socket.create_connection({tuple(address)!r}, 2)"

    def reaches(host: int) -> bool:
        command = [*three.under(host), sys.executable, "-c", knock]
        return reachable.scripts.run(*command).returncode == 0

    assert reaches(0)
    three.cut(0)
    assert not reaches(0)
    assert reaches(1)
    three.mend(0)
    eventually(lambda: reaches(0))
