"""Whose turn it is to search the tables, of the processes of one worker."""

from __future__ import annotations

from typing import Any

import pytest

from anamo.worker.turns import NothingLeft, Turn, TurnAsked, TurnBegins, TurnEnded, Turns

BEGAN = 1.0
"""When the run of all processes began."""


class Process:
    """A process with its parent's end of the connection to it."""

    def __init__(self, turns: Turns, since: float = BEGAN) -> None:
        self._turns = turns
        self.since = since
        self.now = 100.0
        self.turn = Turn(self._to_parent, lambda: self.now)
        self.received: list[object] = []

    def _to_parent(self, message: object) -> None:
        parent: Any = self
        self._turns.note(parent, message)

    def send(self, message: object) -> None:
        """From the parent."""
        self.received.append(message)
        self.turn.note(message)


def searching(*processes: Process) -> list[bool]:
    return [process.turn.mine for process in processes]


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def three(turns: Turns) -> list[Process]:
    """Three processes that have asked for their turns, one after the other."""
    processes = [Process(turns) for _ in range(3)]
    for process in processes:
        process.turn.ask()
    return processes


def test_one_process_searches_at_a_time_and_its_claim_wakes_the_next(three: list[Process]) -> None:
    first, second, _ = three
    assert searching(*three) == [True, False, False]
    first.turn.end()
    assert searching(*three) == [False, True, False]
    assert second.turn.news
    assert not first.turn.asked


def test_all_that_wait_are_notified_that_nothing_is_left_and_so_is_who_asks_later(
    turns: Turns, three: list[Process]
) -> None:
    first, second, third = three
    first.turn.end(nothing_left=7.0)
    late = Process(turns)
    late.turn.ask()
    for process in (second, third, late):
        assert process.received == [NothingLeft()]
        assert process.turn.nothing_left
    assert searching(*three, late) == [False] * 4


def test_who_does_not_agree_gets_a_turn_of_its_own(three: list[Process]) -> None:
    first, second, third = three
    first.turn.end(nothing_left=7.0)
    third.turn.ask()
    assert searching(second, third) == [False, True]
    assert not third.turn.nothing_left


def test_a_search_that_began_before_a_process_had_last_worked_does_not_count_for_it(
    turns: Turns, three: list[Process]
) -> None:
    first, *_ = three
    worker, later = Process(turns), Process(turns)
    for process in (worker, later):
        process.turn.distrust()
    worker.now = 6.0
    worker.turn.ask()
    first.turn.end(nothing_left=5.0)
    assert searching(worker) == [True]
    assert not worker.turn.news
    later.now = 7.0
    later.turn.ask()
    worker.turn.end(nothing_left=8.0)
    assert later.received == [NothingLeft()]


def test_nor_does_one_that_began_before_the_process_that_replaces_another(
    turns: Turns, three: list[Process]
) -> None:
    first, *_ = three
    first.turn.end(nothing_left=5.0)
    replacement = Process(turns, since=6.0)
    replacement.turn.ask()
    assert searching(replacement) == [True]


def test_nor_one_after_which_something_was_found(turns: Turns, three: list[Process]) -> None:
    first, second, _ = three
    first.turn.end(nothing_left=5.0)
    second.turn.ask()
    second.turn.end()
    late = Process(turns)
    late.turn.ask()
    assert searching(late) == [True]


def test_the_turn_of_a_process_that_dies_goes_to_the_next(
    turns: Turns, three: list[Process]
) -> None:
    first, second, third = three
    dead: Any = second
    turns.leave(dead)
    dead = first
    turns.leave(dead)
    assert searching(second, third) == [False, True]


def test_only_the_process_whose_turn_it_is_can_end_it(turns: Turns) -> None:
    first, second = Process(turns), Process(turns)
    first.turn.ask()
    stranger: Any = second
    turns.note(stranger, TurnEnded())
    second.turn.ask()
    second.turn.end()
    assert searching(first, second) == [True, False]
    assert second.received == []
    assert (TurnAsked(0.0), TurnBegins(news=False)) == (TurnAsked(0.0), first.received[0])
