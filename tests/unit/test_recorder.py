"""How a recorder ends, and what it makes of an item whose results DynamoDB refuses for good."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any
from unittest.mock import Mock

import pytest

from anamo.aws.retry import RetryPolicy
from anamo.core.errors import AccessDenied, AwsError, ItemRefused, Throttled
from anamo.core.item import Item
from anamo.worker.claim import Claim
from anamo.worker.recorder import LOST, Recorder

REFUSAL = ItemRefused("too large")


@pytest.fixture
def control() -> Any:
    return Mock(out_of_time=False)


@pytest.fixture
def recorder(control: Any) -> Iterator[Recorder]:
    made = Recorder(Mock(), Mock(), 0, control, Mock())
    yield made
    made.close()


def claim(*replies: bool | AwsError) -> Claim:
    """A claim of an item; DynamoDB answers so when it is to be ended."""
    item = Item(7, "Task", "true", state="locked", lock_id="mine")
    return Claim(item, 0, Mock(finish=Mock(side_effect=replies)))


RETRIES = RetryPolicy(lambda seconds: None)


def test_it_fails_as_soon_as_its_table_is_no_longer_throttled(recorder: Recorder) -> None:
    assert recorder.fail(claim(Throttled("later"), True), REFUSAL, RETRIES) == "failed"
    assert recorder.error is None


def test_one_that_another_worker_holds_by_now_is_lost(recorder: Recorder) -> None:
    assert recorder.fail(claim(False), REFUSAL, RETRIES) == LOST
    assert recorder.error is None


@pytest.mark.parametrize("fault", [Throttled("later"), AccessDenied("no"), ItemRefused("again")])
def test_one_that_stays_locked_is_an_error_of_its_worker(
    recorder: Recorder, control: Any, fault: AwsError
) -> None:
    control.out_of_time = True
    assert recorder.fail(claim(fault), REFUSAL, RETRIES) == LOST
    assert recorder.error is fault


def test_it_ends_although_the_last_result_of_a_claim_never_came() -> None:
    woken = threading.Event()
    control = Mock(stopping=False, out_of_time=False, leave_at=monotonic() + 10)
    control.wake = woken.set
    control.wait = lambda until: woken.wait(until - monotonic())
    logs = Mock(refused=False)
    logs.store.return_value = {}
    recorder = Recorder(logs, Mock(), 0, control, Mock())
    recorder.begin()
    # It waits half a second for further results, and finds the end instead
    recorder.add(claim(), "Task_0", Mock(seconds=0.1), last=False)
    assert recorder.close()
    assert recorder.pending == 0
