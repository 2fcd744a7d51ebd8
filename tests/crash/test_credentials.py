"""Credentials of a container, which last for less time than its tasks, and sometimes not at all."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.container_credentials import ContainerCredentials
from tests.support.fleet import Fleet
from tests.support.proxy import Proxy, failing, garbling
from tests.support.scripts import Running
from tests.support.waiting import eventually

FindFaults = Callable[[], list[str]]
LIFE = 6.0


@pytest.fixture
def credentials(fleet: Fleet, database: Proxy, store: Proxy) -> Iterator[ContainerCredentials]:
    """The service from which the fleet's workers have keys that last for some seconds."""
    with ContainerCredentials(LIFE) as credentials:
        fleet.environment |= credentials.environment
        database.behaviour = credentials.checking("ExpiredTokenException")
        store.behaviour = credentials.checking("ExpiredToken")
        yield credentials


def begin(fleet: Fleet) -> tuple[Running, Path]:
    """A worker with a task that runs until a file is there."""
    end = fleet.folder / "end"
    fleet.add([f"bash -c '{fleet.ledger.script} 0; until test -e {end}; do sleep 0.1; done'"])
    worker = fleet.start("--lease", "3")
    eventually(fleet.ledger.starts, 60)
    return worker, end


def test_a_task_may_run_longer_than_its_workers_credentials_last(
    fleet: Fleet, credentials: ContainerCredentials, find_faults: FindFaults
) -> None:
    worker, end = begin(fleet)
    first = credentials.used[-1]
    eventually(lambda: credentials.has_expired(first), 60)
    for trouble in (failing("InternalError", 500), garbling(b"<p>Bad gateway</p>", executed=False)):
        credentials.trouble = trouble
        asked = credentials.asked_again(4)
        eventually(asked, 60)
    with credentials.down():
        # Its outcome waits for credentials
        end.touch()
        eventually(lambda: "logs:" in worker.stderr, 60)
        credentials.trouble = None
        before = len(credentials.used)
    ended = worker.wait()
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 1}
    assert first not in credentials.used[before:]
    assert find_faults() == []


def test_where_credentials_are_not_renewed_nothing_is_recorded_and_the_worker_says_why(
    fleet: Fleet, credentials: ContainerCredentials
) -> None:
    worker, end = begin(fleet)
    credentials.renewing = False
    eventually(lambda: "lease of item" in worker.stderr, 60)
    end.touch()
    eventually(lambda: "logs:" in worker.stderr, 60)
    worker.signal(signal.SIGTERM)
    ended = worker.wait()
    assert ended.returncode == 143, ended.stderr
    assert "credentials are still expired — renew the credentials; trying again" in ended.stderr
    assert fleet.table.states() == {"locked": 1}
