"""What jobs end with is true of their tables, whatever becomes of their instances."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.fleet.batch import FAILED, SUCCEEDED, WAITING, Batch, Definition, Submitted, definition
from tests.support.fleet import Fleet
from tests.support.history import Ledger
from tests.support.table import Table

ITEMS = 20
CHILDREN = 4
QUICK, LONG = range(1), range(1, 20)
SEEDS = [*QUICK, *(pytest.param(seed, marks=pytest.mark.long) for seed in LONG)]
FAST = {"items": "1", "nested": "2", "lease": "600"}
"""Leases outlive the test: what a lost attempt held is left to the next attempt of the same job."""


def worker(fleet: Fleet, table: Table) -> Definition:
    """The template's worker on a table."""
    names = {"TableName": table.name, "Bucket": fleet.bucket, "AWS::Region": "us-east-1"}
    return definition("JobDefinition", names)


@pytest.fixture
def batch(fleet: Fleet, request: pytest.FixtureRequest) -> Iterator[Batch]:
    """The stand-in, with the worker in place of its image, if need be without a guard."""
    taken_away = getattr(request, "param", "")
    guard = ("tests/support/sabotage.py", taken_away) if taken_away else ()
    with Batch(fleet.scripts, (*guard, "pyanamo.py")) as batch:
        yield batch


class Reclaims:
    """Takes four instances away at random: at once, or after a notice that is too short for
    anything; `at_once` is the share of the former.
    """

    def __init__(self, batch: Batch, ledger: Ledger, seed: int, at_once: float = 0.5) -> None:
        self._batch = batch
        self._ledger = ledger
        self._draw = random.Random(seed)
        self._left = 4
        self._at_once = at_once
        self._next = self._draw.randint(1, 8)

    def __call__(self) -> None:
        """Take one away if enough tasks were started since the last time."""
        started = len(self._ledger.starts())
        hosts = [host for host in self._batch.hosts if host.jobs and host.ends == float("inf")]
        if self._left and hosts and started >= self._next:
            host = self._draw.choice(hosts)
            if self._draw.random() < self._at_once:
                self._batch.take_away(host)
            else:
                host.announce(self._draw.uniform(0.1, 2))
            self._left -= 1
            self._next = started + self._draw.randint(1, 8)


def fill(fleet: Fleet, seconds: str = "0.1,0.1,0.1") -> None:
    fleet.add([f"{fleet.ledger.script}|{seconds}"] * ITEMS, "-n", ",")


@pytest.mark.parametrize("seed", SEEDS)
def test_an_array_that_succeeded_has_finished_its_table(
    seed: int, fleet: Fleet, batch: Batch, find_faults: Callable[[], list[str]]
) -> None:
    fill(fleet)
    array = batch.submit(worker(fleet, fleet.table), CHILDREN, parameters=FAST)
    batch.run(180, Reclaims(batch, fleet.ledger, seed))
    assert array.status == SUCCEEDED
    assert fleet.table.states() == {"done": ITEMS}
    assert find_faults() == []


@pytest.mark.parametrize("batch", ["earlier_attempt"], indirect=True)
def test_without_the_take_over_by_attempt_an_array_succeeds_with_items_locked(
    fleet: Fleet, batch: Batch
) -> None:
    # So long that each is struck down in the middle of one
    fill(fleet, "0.5,0.5,0.5")
    array = batch.submit(worker(fleet, fleet.table), CHILDREN, parameters=FAST)
    batch.run(180, Reclaims(batch, fleet.ledger, 0, at_once=1))
    assert array.status == SUCCEEDED
    assert fleet.table.states()["locked"] > 0


def test_an_array_whose_wall_time_is_over_starts_again_until_its_table_is_finished(
    fleet: Fleet, batch: Batch, find_faults: Callable[[], list[str]]
) -> None:
    fill(fleet, "1.2,1.2")
    definition = worker(fleet, fleet.table)
    # Long beside a worker's start, so that each of a job's ten attempts ends some tasks; short
    # beside the 6 seconds of tasks that each job has
    array = batch.submit(definition, CHILDREN, parameters={**FAST, "walltime": "5"})
    batch.run(180)
    assert array.status == SUCCEEDED
    assert any(75 in [each.exit_code for each in job.attempts] for job in array.jobs)
    assert fleet.table.states() == {"done": ITEMS}
    assert find_faults() == []


def test_an_array_that_was_not_given_the_attempts_for_it_says_so(
    fleet: Fleet, batch: Batch
) -> None:
    fill(fleet, "0.5,0.5")
    once = replace(worker(fleet, fleet.table), attempts=1)
    array = batch.submit(once, CHILDREN, parameters={**FAST, "walltime": "2"})
    batch.run(180)
    assert array.status == FAILED
    assert fleet.table.states() != {"done": ITEMS}


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_the_second_step_begins_when_the_first_is_finished(
    seed: int, fleet: Fleet, batch: Batch, make_table: Callable[[], Table]
) -> None:
    fill(fleet)
    following = make_table()
    second_fleet = Fleet(fleet.scripts, following, fleet.bucket, fleet.folder)
    fill(second_fleet)
    first = batch.submit(worker(fleet, fleet.table), CHILDREN, parameters=FAST)
    names = {"TableName": fleet.table.name, "AWS::Region": "us-east-1"}
    gate = batch.submit(definition("GateDefinition", names), after=[first])
    second = batch.submit(worker(fleet, following), CHILDREN, after=[gate], parameters=FAST)
    reclaim = Reclaims(batch, fleet.ledger, seed)

    def watch(step: Submitted = second) -> None:
        reclaim()
        if step.jobs[0].status != WAITING:
            assert fleet.table.states() == {"done": ITEMS}

    batch.run(300, watch)
    assert second.status == SUCCEEDED
    assert following.states() == {"done": ITEMS}
