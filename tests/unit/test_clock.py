"""DynamoDB's time, learned from the Date headers of its answers."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anamo.aws.clock import CONFIRMING, DatabaseClock

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


DAY = 86_400


def dated(host: Hosts, clock: DatabaseClock, ahead: float) -> None:
    """An answer whose date is that far ahead."""
    date = datetime.fromtimestamp(int(host.server() + ahead), timezone.utc)
    clock.learn({"date": format_datetime(date, usegmt=True)}, clock.monotonic())


@given(
    st.floats(-3600, 3600),
    st.sampled_from([-DAY, DAY]),
    st.integers(4, 9),
    st.integers(10, 60),
)
def test_one_answer_in_ten_that_is_a_day_off_moves_no_clock(
    wrong_by: float, off: int, first: int, answers: int
) -> None:
    host = Hosts(wrong_by)
    clock = host.clock()
    for number in range(answers):
        host.passed += 1
        dated(host, clock, off if number % 10 == first else 0)
        assert clock.now() == pytest.approx(host.server(), abs=1)
        assert clock.surely_past() <= host.server() + 1
        if number >= 10:
            assert clock.surely_past() == pytest.approx(host.server(), abs=1)


@given(st.lists(st.booleans(), max_size=3))
def test_of_the_first_answers_none_alone_makes_a_time_pass(wrong: list[bool]) -> None:
    """Whatever the present time is taken for: a lease has ended only when nothing speaks for the
    contrary."""
    host = Hosts()
    clock = host.clock()
    for each in wrong:
        dated(host, clock, DAY if each else 0)
    assert clock.surely_past() <= host.server()


@pytest.mark.parametrize("wrong_by", [-3600, 3600])
def test_four_answers_that_agree_are_believed_against_the_hosts_clock(wrong_by: float) -> None:
    host = Hosts(wrong_by)
    clock = host.clock()
    for _ in range(CONFIRMING):
        host.ask(clock)
    assert clock.surely_past() == pytest.approx(host.server(), abs=1)


def test_after_the_monotonic_clock_stood_still_five_answers_tell() -> None:
    host = Hosts()
    clock = host.clock()
    for _ in range(20):
        host.ask(clock)
    for _ in range(4):
        dated(host, clock, 5 * 3600)
        assert clock.doubtful
        assert clock.surely_past() <= host.server()
    dated(host, clock, 5 * 3600)
    assert not clock.doubtful
    assert clock.now() == pytest.approx(host.server() + 5 * 3600, abs=1)
