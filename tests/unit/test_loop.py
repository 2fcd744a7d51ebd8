"""How long the loop of a worker process retries what its machine or DynamoDB refuses."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from anamo.aws.clock import DatabaseClock
from anamo.aws.consumed_capacity import CapacityMeter
from anamo.aws.retry import RetryPolicy
from anamo.aws.table_writes import Holder
from anamo.core.errors import AwsError, DescriptorsExhausted, ItemRefused, Throttled
from anamo.core.item import Item
from anamo.worker import loop
from anamo.worker.control import Control
from anamo.worker.finder import Found
from anamo.worker.loop import DESCRIPTOR_SECONDS, Worker, retry_claim
from anamo.worker.messages import ForceStop, StopRequest
from tests.unit.conftest import Ends


class Faulty:
    """Claims that meet one fault after the other, each for so many seconds, on a clock that only
    waits move; then there is nothing to claim.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.faults: list[tuple[AwsError, float]] = []
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def _sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.01)

    def _claim(self) -> None:
        until = 0.0
        for fault, seconds in self.faults:
            until += seconds
            if self.now < until:
                raise fault

    def claim(self, *faults: tuple[AwsError, float]) -> float:
        """Claim; how many seconds that took."""
        self.faults += faults
        retry_claim(self._claim, RetryPolicy(self._sleep), lambda: False, lambda fault: None)
        return self.now


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Faulty:
    return Faulty(monkeypatch)


@pytest.mark.parametrize("throttled", [0, 6, 60])
def test_a_lack_of_descriptors_that_passes_is_waited_for(faulty: Faulty, throttled: float) -> None:
    assert faulty.claim((Throttled(), throttled), (DescriptorsExhausted(), 2)) >= throttled + 2


@pytest.mark.parametrize("throttled", [0, 6, 60])
def test_one_that_lasts_ends_the_worker_soon_whatever_it_met_before(
    faulty: Faulty, throttled: float
) -> None:
    with pytest.raises(DescriptorsExhausted):
        faulty.claim((Throttled(), throttled), (DescriptorsExhausted(), 600))
    assert faulty.now >= throttled + DESCRIPTOR_SECONDS


def test_while_a_refused_item_waits_to_be_failed_the_parent_is_heard(
    control: Control, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def finish(*_: object) -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ItemRefused("too large")
        if tries == 2:
            ends[0].send(StopRequest())
            ends[0].send(ForceStop())
        raise Throttled("later")

    table = Mock(clock=DatabaseClock(), meter=CapacityMeter(), finish=finish)
    table.name = "Testing"
    claimer = Mock(table=table, refused={}, last_won=lambda: None)
    item = Item(7, "Task", "true", state="locked", lock_id="mine", attempts=11)
    finder = Mock(over=False, locked=0, claim=lambda: Found(table, item))
    monkeypatch.setattr(loop, "Finder", lambda *given: finder)
    options = Mock(max_attempts=10, partial_logs=None, prefix="PyAnamo")
    logs = Mock(meter=CapacityMeter())
    Worker(options, Holder("here", 600), control, [claimer], logs, Mock()).run()
    assert control.out_of_time
    # Each of the two messages may end a wait
    assert tries <= 6
