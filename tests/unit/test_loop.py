"""How long a worker retries a claim while its machine has no descriptor left."""

from __future__ import annotations

import pytest

from anamo.aws.retry import RetryPolicy
from anamo.core.errors import AwsError, DescriptorsExhausted, Throttled
from anamo.worker.loop import DESCRIPTOR_SECONDS, retry_claim


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
