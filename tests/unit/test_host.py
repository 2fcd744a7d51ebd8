"""Waiting for a host that cannot run tasks, by a clock that is moved by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from anamo.core.errors import HostError
from anamo.worker import host
from anamo.worker.host import LASTING_SECONDS, LONGEST_PAUSE, UNFIT_SECONDS, HostRecovery


class Host:
    """A host that can run tasks from a certain time on."""

    def __init__(self, well_at: float) -> None:
        self.now = 0.0
        self.well_at = well_at
        self.pauses: list[float] = []
        self.recovery = HostRecovery(self._look, self._sleep)

    def _look(self) -> str:
        return "" if self.now >= self.well_at else "still full"

    def _sleep(self, seconds: float, _condition: Callable[[], bool]) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def wait(self) -> None:
        self.recovery.wait(lambda: False)


def test_without_a_host_error_nothing_is_waited_for() -> None:
    ill = Host(well_at=1e9)
    ill.wait()
    assert ill.pauses == []


def test_pauses_grow_until_the_host_is_well() -> None:
    ill = Host(well_at=100)
    ill.recovery.succeeded()
    ill.recovery.failed("full")
    ill.wait()
    assert ill.now >= 100
    assert ill.pauses[0] == 1
    assert all(
        2 * one == two or two == LONGEST_PAUSE for one, two in itertools.pairwise(ill.pauses)
    )
    ill.wait()
    assert ill.now < 200, "it is over"


@pytest.mark.parametrize(("fit", "seconds"), [(True, LASTING_SECONDS), (False, UNFIT_SECONDS)])
def test_what_lasts_ends_the_process_sooner_on_a_host_that_was_never_fit(
    fit: bool, seconds: float
) -> None:
    ill = Host(well_at=1e9)
    if fit:
        ill.recovery.succeeded()
    ill.recovery.failed("full")
    with pytest.raises(HostError, match="still full; this host cannot run tasks"):
        ill.wait()
    assert seconds <= ill.now < seconds + LONGEST_PAUSE


def test_host_errors_in_a_row_end_it_although_the_host_looks_well() -> None:
    """A host on which each task fails must not spoil the attempts of every item."""
    well = Host(well_at=0)

    def fail_again_and_again() -> None:
        for _ in range(100):
            well.recovery.failed("full")
            well.wait()

    with pytest.raises(HostError, match="full"):
        fail_again_and_again()
    assert 10 < len(well.pauses) < 20, "an item may have its 10 attempts on one host"


def test_a_success_in_between_begins_anew() -> None:
    well = Host(well_at=0)
    for _ in range(100):
        well.recovery.failed("full")
        well.wait()
        well.recovery.succeeded()
    assert set(well.pauses) == {1}


def test_whoever_must_end_does_not_wait() -> None:
    ill = Host(well_at=1e9)
    ill.recovery.failed("full")
    ill.recovery.wait(lambda: True)
    assert ill.pauses == []


def test_this_host_can_run_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.host_fault() == ""
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert "no file for a task's output" in host.host_fault()
