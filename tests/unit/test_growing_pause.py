"""Pauses that grow."""

from __future__ import annotations

import random

from anamo.worker.growing_pause import GrowingPause


def test_each_pause_is_twice_as_long_up_to_a_limit() -> None:
    pause = GrowingPause(1.0, 5.0)
    assert [pause.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    pause.reset()
    assert pause.next() == 1.0


def test_drawn_pauses_lie_in_the_upper_half_and_differ() -> None:
    pause = GrowingPause(8.0, 8.0, random.Random(1))
    drawn = [pause.next() for _ in range(100)]
    assert 4 <= min(drawn) < 5
    assert 7 < max(drawn) <= 8
