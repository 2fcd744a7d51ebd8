"""An index key that takes few requests a second: work goes on at that pace, without hammering."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.fleet import Fleet
from tests.support.proxy import Proxy
from tests.support.throttling import ThrottledKey
from tests.support.waiting import eventually

FindFaults = Callable[[], list[str]]
ITEMS = 30
RATE, BURST = 10, 2
"""A claim and a finish of an item touch the key `locked`, a claim and queries the key `todo`."""

MOST_REFUSED = 2
"""Refusals for each request that passed, at most; one in four is usual."""


@pytest.mark.parametrize("state", ["locked", pytest.param("todo", marks=pytest.mark.long)])
def test_workers_go_on_at_the_pace_of_a_key_that_throttles(
    fleet: Fleet, database: Proxy, find_faults: FindFaults, state: str
) -> None:
    fleet.add([f"{fleet.ledger.script}|0"] * ITEMS, "-n", ",")
    database.behaviour = key = ThrottledKey(state, RATE, BURST)
    for worker in [fleet.start("-i", "2", "-q") for _ in range(2)]:
        ended = worker.wait(180)
        assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": ITEMS}
    assert len(fleet.ledger.starts()) == ITEMS
    assert find_faults() == []
    assert 0 < key.refused <= MOST_REFUSED * key.passed


def test_without_waits_between_attempts_it_is_hammered(fleet: Fleet, database: Proxy) -> None:
    fleet.guard = "backoff"
    fleet.add([f"{fleet.ledger.script}|0"] * ITEMS, "-n", ",")
    database.behaviour = key = ThrottledKey("locked", 1, BURST)
    fleet.start("-i", "2", "-q")
    eventually(lambda: key.refused > 100 and key.refused > MOST_REFUSED * key.passed, 60)
