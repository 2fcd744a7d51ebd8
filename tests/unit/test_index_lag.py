"""What a process makes of an index that is behind its table."""

from __future__ import annotations

import pytest

from anamo.worker.index_lag import (
    FREE_REFUSALS,
    LONGEST_PAUSE,
    LONGEST_WAIT,
    MOST_ATTEMPTED,
    MOST_LAG,
    STALE_SECONDS,
    UNSEEN_SECONDS,
    IndexLag,
)


class Time:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def test_an_item_that_was_tried_is_skipped_for_a_moment(time: Time) -> None:
    lag = IndexLag(time)
    lag.note(1, time.now, won=True)
    assert lag.skips(1)
    assert not lag.skips(2)
    time.now += STALE_SECONDS
    assert not lag.skips(1)


def test_an_item_that_is_refused_again_shows_how_far_the_index_is_behind(time: Time) -> None:
    lag = IndexLag(time)
    lag.note(1, time.now, won=True)
    time.now += 4
    listed_at = time.now
    time.now += 1
    lag.note(1, listed_at, won=False)
    assert lag.seconds == 4
    time.now += 7.9
    assert lag.skips(1)
    time.now += 0.1
    assert not lag.skips(1)


def test_items_of_others_and_what_the_table_itself_shows_say_nothing_of_the_lag(time: Time) -> None:
    lag = IndexLag(time)
    lag.note(1, time.now, won=False)
    lag.note(2, None, won=True)
    time.now += 4
    lag.note(2, None, won=False)
    assert lag.seconds == 0


def test_a_lag_beyond_belief_is_not_believed(time: Time) -> None:
    lag = IndexLag(time)
    for _ in range(2):
        lag.note(1, time.now, won=False)
        time.now += 100_000
    assert lag.seconds == MOST_LAG


def test_pauses_grow_from_refusal_to_refusal_and_end_with_a_claim_that_is_won(time: Time) -> None:
    lag = IndexLag(time)
    pauses = []
    for item_id in range(2_000):
        lag.note(item_id, time.now, won=False)
        pauses.append(lag.pause)
    assert pauses[: FREE_REFUSALS + 2] == [*[0.0] * (FREE_REFUSALS - 1), 0.1, 0.2, 0.4]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    lag.note(2_000, time.now, won=True)
    assert lag.pause == 0


def test_an_index_is_believed_after_the_longest_lag_seen(time: Time) -> None:
    lag = IndexLag(time)
    assert not lag.settled(UNSEEN_SECONDS - 1, listed=False)
    assert lag.settled(UNSEEN_SECONDS, listed=False)
    lag.note(1, time.now, won=True)
    assert lag.settled(0, listed=False)
    time.now += 10
    lag.note(1, time.now, won=False)
    assert not lag.settled(14, listed=False)
    assert lag.settled(15, listed=False)
    assert not lag.settled(15, listed=True)
    assert lag.settled(LONGEST_WAIT, listed=True)


def test_an_index_that_did_not_list_what_the_table_had_is_waited_for(time: Time) -> None:
    lag = IndexLag(time)
    lag.note(1, time.now, won=True)
    lag.note(2, None, won=True)
    lag.note(3, time.now, won=True)
    assert not lag.settled(UNSEEN_SECONDS - 1, listed=False)


def test_only_items_that_are_skipped_are_remembered(time: Time) -> None:
    lag = IndexLag(time)
    for item_id in range(MOST_ATTEMPTED + 1):
        lag.note(item_id, time.now, won=True)
    time.now += STALE_SECONDS
    for item_id in (-1, -2):
        lag.note(item_id, time.now, won=True)
    assert lag.skips(-1)
    assert not lag.skips(MOST_ATTEMPTED)
