"""Requests that meet a passing fault are repeated, later and later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from anamo.aws import retry
from anamo.aws.retry import FIRST, LONGEST, UNATTENDED_SECONDS, OperatorRetry, RetryPolicy
from anamo.core.errors import (
    AccessDenied,
    CredentialsExpired,
    Throttled,
    TransientError,
    Unreachable,
)
from tests.support.waiting import eventually


class Faults:
    """A request that fails so many times before it passes, on a clock that only sleep moves."""

    def __init__(self, *faults: Exception) -> None:
        self.sent = 0
        self.slept: list[float] = []
        self.drawn: list[tuple[float, float]] = []
        self._faults: Iterator[Exception] = iter(faults)
        self.retries = RetryPolicy(self.slept.append)

    def draw(self, low: float, high: float) -> float:
        self.drawn.append((low, high))
        return high

    def request(self) -> str:
        self.sent += 1
        for fault in self._faults:
            raise fault
        return "answer"


MakeFaults = Callable[..., Faults]


@pytest.fixture
def make_faults(monkeypatch: pytest.MonkeyPatch) -> MakeFaults:
    """Make a request with its faults; every wait is as long as its jitter allows."""

    def make(*faults: Exception) -> Faults:
        made = Faults(*faults)
        monkeypatch.setattr("time.monotonic", lambda: sum(made.slept))
        monkeypatch.setattr("random.uniform", made.draw)
        return made

    return make


def test_a_request_that_passes_is_sent_once(make_faults: MakeFaults) -> None:
    faults = make_faults()
    assert faults.retries.retry(faults.request, 10) == "answer"
    assert (faults.sent, faults.slept) == (1, [])


def test_a_passing_fault_is_waited_for(make_faults: MakeFaults) -> None:
    faults = make_faults(Unreachable(), Throttled(), TransientError())
    assert faults.retries.retry(faults.request, 10) == "answer"
    assert faults.sent == 4
    assert faults.slept == [FIRST, 2 * FIRST, 4 * FIRST]


def test_waits_are_drawn_and_grow_to_an_end(make_faults: MakeFaults) -> None:
    faults = make_faults(*[Unreachable()] * 12)
    faults.retries.retry(faults.request, 10_000)
    assert faults.drawn[0] == (0.0, FIRST)
    assert faults.drawn[-1] == (0.0, LONGEST)
    assert faults.slept == sorted(faults.slept)


def test_it_gives_up_with_the_last_fault_when_its_time_is_over(make_faults: MakeFaults) -> None:
    faults = make_faults(*[Throttled()] * 5, *[Unreachable("the last")] * 100)
    with pytest.raises(Unreachable, match="the last"):
        faults.retries.retry(faults.request, 30)
    assert 30 <= sum(faults.slept) <= 30 + LONGEST


def test_without_time_a_request_is_sent_once_all_the_same(make_faults: MakeFaults) -> None:
    faults = make_faults(Unreachable())
    with pytest.raises(Unreachable):
        faults.retries.retry(faults.request, 0)
    assert faults.sent == 1


def test_it_gives_up_when_told_to(make_faults: MakeFaults) -> None:
    faults = make_faults(*[Unreachable()] * 5)
    with pytest.raises(Unreachable):
        faults.retries.retry(faults.request, 1000, stop=lambda: faults.sent == 3)
    assert faults.sent == 3


def test_a_lasting_fault_is_raised_at_once(make_faults: MakeFaults) -> None:
    faults = make_faults(AccessDenied())
    with pytest.raises(AccessDenied):
        faults.retries.retry(faults.request, 1000)
    assert (faults.sent, faults.slept) == (1, [])


def test_a_fault_that_the_caller_wants_is_raised_at_once(make_faults: MakeFaults) -> None:
    faults = make_faults(Unreachable(), Throttled())
    with pytest.raises(Throttled):
        faults.retries.retry(faults.request, 1000, not_retried=(Throttled,))
    assert faults.sent == 2


def test_only_the_first_fault_is_said(make_faults: MakeFaults) -> None:
    faults = make_faults(Throttled("first"), Unreachable("second"))
    said: list[TransientError] = []
    faults.retries.retry(faults.request, 1000, say=said.append)
    assert [str(fault) for fault in said] == ["first"]


def test_real_waits_are_jittered_from_zero() -> None:
    """So that workers which were cut off together do not come back together."""
    waits = []
    for _ in range(200):
        faults = Faults(Unreachable())
        faults.retries.retry(faults.request, 10)
        waits += faults.slept
    assert 0 <= min(waits) < FIRST / 4 < 3 * FIRST / 4 < max(waits) <= FIRST


def test_sleep_may_end_the_retries() -> None:
    """As a worker's does, which a signal interrupts."""

    def interrupted(_: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        RetryPolicy(interrupted).retry(Faults(Unreachable()).request, 10)


def test_a_command_says_once_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "SILENT_SECONDS", 0.01)
    said: list[str] = []
    heard = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    operator = OperatorRetry(say)
    operator.where = "DynamoDB at http://127.0.0.1:1 (us-east-1)"
    assert operator(lambda: heard.wait(60))
    assert operator(lambda: threading.Event().wait(0.1)) is False
    (line,) = said
    assert line.startswith(
        "waiting for DynamoDB at http://127.0.0.1:1 (us-east-1): no response for"
    )
    assert "giving up within 31 s" in line


@pytest.mark.parametrize(
    ("fault", "longest", "said"),
    [
        (
            Throttled("The table is throttled"),
            600,
            ["The table is throttled; continuing at a lower rate"],
        ),
        (CredentialsExpired("The credentials have expired"), 15, []),
        (TransientError("DynamoDB failed"), 15, []),
        (Unreachable("No connection"), 15, []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_command_waits_long_only_where_it_is_throttled(
    fault: TransientError, longest: float, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.monotonic", lambda: sum(slept))
    heard: list[str] = []
    operator = OperatorRetry(heard.append, slept.append)

    def request() -> None:
        raise fault

    with pytest.raises(type(fault)):
        operator(request)
    assert longest - LONGEST <= sum(slept) <= longest + LONGEST
    assert heard == said


def test_what_is_answered_in_time_is_not_talked_about() -> None:
    said: list[str] = []
    assert OperatorRetry(said.append)(lambda: 7) == 7
    assert said == []


def test_a_slow_look_says_on_a_terminal_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    quiet = OperatorRetry(said.append).reading("Align")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    operator = OperatorRetry(said.append)
    note, again = operator.reading("Align"), operator.reading("Align")
    for second in range(14):
        now = second
        for each in (note, again, quiet):
            each(5000)
    assert said == [
        "reading table Align: 20,000 items so far",
        "reading table Align: 35,000 items so far",
        "reading table Align: 65,000 items so far",
    ]


def test_after_ctrl_c_no_thread_retries_or_begins_a_request() -> None:
    operator = OperatorRetry(print)
    tried = threading.Event()

    def throttled() -> None:
        tried.set()
        raise Throttled

    futures: list[Future[None]] = []

    def interrupted() -> None:
        with operator.pool(1) as pool:
            futures.extend(pool.submit(operator, throttled) for _ in range(2))
            assert tried.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    first, second = futures
    assert isinstance(first.exception(0), Throttled)
    assert second.cancelled()
    # What is read later is retried again
    assert operator(Faults(Throttled()).request)


def test_the_thread_that_watches_requests_ends_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "SILENT_SECONDS", 0.05)
    operator = OperatorRetry(print)
    for _ in range(2):
        operator(lambda: None)
        eventually(lambda: not [each for each in threading.enumerate() if each.name == "watch"])


def test_a_command_that_may_wait_for_an_hour_says_why_at_each_outage() -> None:
    said: list[str] = []
    operator = OperatorRetry(said.append, lambda _: None)
    operator.fault_seconds = UNATTENDED_SECONDS
    for _ in range(2):
        faults = Faults(*[CredentialsExpired("the credentials have expired")] * 3)
        assert operator(faults.request) == "answer"
    assert said == ["the credentials have expired; trying again for 60 min"] * 2


def test_a_second_ctrl_c_leaves_retries_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = OperatorRetry(print, lambda _: None)

    def interrupted_twice() -> None:
        with operator.pool(1) as pool:
            ends = pool.shutdown
            # The first call is that of the pool that ends by Ctrl-C
            calls = iter([KeyboardInterrupt])

            def shutdown(*given: Any, **more: Any) -> None:
                for again in calls:
                    raise again
                ends(*given, **more)

            monkeypatch.setattr(pool, "shutdown", shutdown)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert operator(Faults(Throttled()).request) == "answer"
