"""Whose turn it is to look for work, of the processes of one worker."""

from __future__ import annotations

from typing import Any

from anamo.worker.turns import NothingLeft, Turn, TurnAsked, TurnBegins, TurnEnded, Turns


class Process:
    """A process with its parent's end of the connection to it."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.turn = Turn(self._to_parent)
        self.told: list[object] = []

    def _to_parent(self, message: object) -> None:
        parent: Any = self
        self._turns.note(parent, message)

    def send(self, message: object) -> None:
        """From the parent."""
        self.told.append(message)
        self.turn.note(message)


def looking(*processes: Process) -> list[bool]:
    return [process.turn.mine for process in processes]


def test_one_process_looks_at_a_time_and_its_claim_wakes_the_next() -> None:
    turns = Turns()
    first, second, third = (Process(turns) for _ in range(3))
    for process in (first, second, third):
        process.turn.ask()
    assert looking(first, second, third) == [True, False, False]
    first.turn.end()
    assert looking(first, second, third) == [False, True, False]
    assert second.turn.news
    assert not first.turn.asked


def test_all_that_wait_hear_that_nothing_is_left() -> None:
    turns = Turns()
    first, second, third = (Process(turns) for _ in range(3))
    for process in (first, second, third):
        process.turn.ask()
    first.turn.end(nothing_left=7.0)
    assert [second.told, third.told] == [[NothingLeft(7.0)]] * 2
    assert looking(first, second, third) == [False] * 3
    third.turn.ask()
    assert looking(second, third) == [False, True]
    assert third.turn.nothing_left is None


def test_the_turn_of_a_process_that_dies_goes_to_the_next() -> None:
    turns = Turns()
    first, second, third = (Process(turns) for _ in range(3))
    for process in (first, second, third):
        process.turn.ask()
    dead: Any = second
    turns.leave(dead)
    dead = first
    turns.leave(dead)
    assert looking(second, third) == [False, True]


def test_only_the_process_whose_turn_it_is_can_end_it() -> None:
    turns = Turns()
    first, second = Process(turns), Process(turns)
    first.turn.ask()
    stranger: Any = second
    turns.note(stranger, TurnEnded())
    second.turn.ask()
    second.turn.end()
    assert looking(first, second) == [True, False]
    assert second.told == []
    assert (TurnAsked(), TurnBegins(news=False)) == (TurnAsked(), first.told[0])
