"""DynamoDB's time, learned from the Date headers of its answers."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anamo.aws.clock import DatabaseClock

NOON = 1_800_000_000


class Hosts:
    """A host's two clocks, and the server's which is right."""

    def __init__(self, wrong_by: float = 0.0) -> None:
        self.passed = 0.0
        self.wrong_by = wrong_by

    def monotonic(self) -> float:
        return 500.0 + self.passed

    def wall(self) -> float:
        return NOON + self.passed + self.wrong_by

    def server(self) -> float:
        return NOON + self.passed

    def clock(self) -> DatabaseClock:
        return DatabaseClock(self.monotonic, self.wall)

    def ask(self, clock: DatabaseClock, there: float = 0.0, back: float = 0.0) -> None:
        """One request that travels that long."""
        sent = clock.monotonic()
        self.passed += there
        date = format_datetime(
            datetime.fromtimestamp(int(self.server()), timezone.utc), usegmt=True
        )
        self.passed += back
        clock.learn({"date": date}, sent)


def test_before_the_first_answer_it_is_the_hosts_clock() -> None:
    assert Hosts(wrong_by=77).clock().now() == NOON + 77


@pytest.mark.parametrize("wrong_by", [-86_400.0, -1.5, 0.0, 1.5, 86_400.0])
def test_one_answer_corrects_a_wrong_clock_to_within_a_second(wrong_by: float) -> None:
    host = Hosts(wrong_by)
    clock = host.clock()
    host.ask(clock)
    assert clock.now() == pytest.approx(host.server(), abs=1)


seconds = st.floats(0, 5)
requests = st.lists(st.tuples(seconds, seconds, seconds), min_size=1, max_size=20)


@given(st.floats(-100_000, 100_000), requests)
def test_it_is_off_by_a_second_and_the_travel_time_at_most(
    wrong_by: float, waits: list[tuple[float, float, float]]
) -> None:
    host = Hosts(wrong_by)
    clock = host.clock()
    host.ask(clock, 0.25, 0.25)
    for idle, there, back in waits:
        host.passed += idle
        host.ask(clock, there, back)
        assert abs(clock.now() - host.server()) <= 1.5 + 1e-6


def test_a_slow_answer_does_not_spoil_what_is_known() -> None:
    host = Hosts()
    clock = host.clock()
    host.ask(clock)
    before = clock.now() - host.server()
    host.ask(clock, there=30, back=30)
    assert clock.now() - host.server() == before


def test_setting_the_hosts_clock_changes_nothing() -> None:
    host = Hosts()
    clock = host.clock()
    host.wrong_by = 7200
    assert clock.now() == host.server()


@pytest.mark.parametrize("headers", [{}, {"date": ""}, {"date": "yesterday"}])
def test_an_answer_without_a_date_teaches_nothing(headers: dict[str, str]) -> None:
    clock = Hosts(wrong_by=77).clock()
    clock.learn(headers, clock.monotonic())
    assert clock.now() == NOON + 77


def test_a_timestamp_is_utc_in_iso_8601() -> None:
    assert Hosts().clock().timestamp() == "2027-01-15T08:00:00Z"
