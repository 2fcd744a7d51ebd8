"""The live line on a terminal that misbehaves."""

from __future__ import annotations

import os
import pty
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

import pytest

from anamo.aws.clock import DatabaseClock
from anamo.aws.consumed_capacity import CapacityMeter
from anamo.aws.pages import Part, QueryPage
from anamo.aws.table_reads import Projection
from anamo.cli import live_line
from anamo.cli.live_line import LiveLine
from anamo.core.errors import Throttled
from anamo.core.item import State
from anamo.core.record import Record
from anamo.worker.in_flight_claims import Run
from anamo.worker.left import Left, count_left
from anamo.worker.messages import ItemEnded
from tests.support.waiting import eventually


class Terminal:
    """A terminal of 40 columns. `open_line` makes a live line on it."""

    def __init__(self, master: int, stream: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
        self.master = master
        self._stream = stream
        self._monkeypatch = monkeypatch

    def open_line(self) -> LiveLine:
        # Not in the fixture: pytest puts its own stderr back before the test
        self._monkeypatch.setattr(sys, "stderr", self._stream)
        return LiveLine("script.py")

    def hang_up(self) -> None:
        """Close the master, once."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def shown(self, last: str) -> str:
        """Return what was shown up to the message `last`."""
        seen = b""

        def whole() -> bool:
            nonlocal seen
            with suppress(BlockingIOError):
                seen += os.read(self.master, 1 << 16)
            return last.encode() in seen

        eventually(whole)
        return seen.decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    stream = os.fdopen(slave, "w")
    made = Terminal(master, stream, monkeypatch)
    yield made
    # Where the master was closed before, what was written cannot be flushed
    with suppress(OSError):
        stream.close()
    made.hang_up()


def failed(task_id: str) -> ItemEnded:
    return ItemEnded(
        "Testing", 7, task_id, "L7", "failed", 0, (("", "Execution Failed: exit 1"),), 0, 1, 0.5
    )


def test_a_message_is_neither_wrapped_nor_taken_for_markup(terminal: Terminal) -> None:
    line = terminal.open_line()
    line.start(lambda: Left(2, exact=False))
    line.draw(0, None)
    line.ended(failed("[red]" + "x" * 90))
    line.draw(0, None)
    line.close()
    line.say("the end")
    seen = terminal.shown("the end")
    assert f"script.py: failed [red]{'x' * 90}  0.5 s  exit 1\r\n" in seen
    # The line itself is cut, so that it can be taken away
    assert "0 items done · 0 failed · 0 running · 2…" in seen


def test_what_changes_often_is_drawn_seldom(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_line, "DRAW_SECONDS", 3600.0)
    line = terminal.open_line()
    line.start(lambda: Left(9))
    for running in (1, 2, 3, 0):
        line.draw(running, None)
    line.close()
    line.say("the end")
    seen = terminal.shown("the end")
    assert "1 running" in seen
    assert "2 running" not in seen
    assert "0 running" in seen


def test_a_terminal_that_is_gone_stops_nothing(terminal: Terminal) -> None:
    line = terminal.open_line()
    line.start(lambda: Left(2))
    terminal.hang_up()
    for running in (1, 2, 0):
        line.draw(running, None)
        line.ended(failed("Task"))
    line.close()
    line.say("done")


def done(seconds: float) -> ItemEnded:
    return ItemEnded("Align", 7, "Task", "L7", "done", 1, (), 1, 1, seconds)


def drawn(monkeypatch: pytest.MonkeyPatch, line: LiveLine, *given: Any) -> str:
    """The line as it is drawn now."""
    shown: list[str] = []
    live: Any = line._live  # noqa: SLF001
    monkeypatch.setattr(live, "update", lambda text, refresh: shown.append(str(text)))
    monkeypatch.setattr(live_line, "DRAW_SECONDS", 0.0)
    line.draw(*given)
    return shown[-1]


def test_the_line_says_what_is_left_for_how_long_and_what_runs(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(live_line, "monotonic", lambda: now)
    line = terminal.open_line()
    line.start(lambda: Left(100, running=10))
    assert drawn(monkeypatch, line, 2, Run("S7", 5)) == (
        "0 items done · 0 failed · 2 running · 98 left · 0 s so far · S7 for 5 s"
    )
    now += 600
    line.ended(done(600))
    # 97 by ten workers at a time, and the rest of the one that runs
    assert drawn(monkeypatch, line, 2, Run("S8\x1b", 120)) == (
        "1 item done · 0 failed · 2 running · 97 left · 1 h 45 min to go · 10 min so far · "
        "S8\\x1b for 2 min"
    )
    # Others have taken some, and more workers work now
    line.counted(Left(20, running=20))
    assert "· 20 left · 18 min to go ·" in drawn(monkeypatch, line, 2, Run("S8", 120))


def test_a_large_table_is_counted_less_often(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(live_line, "monotonic", lambda: now)
    line = terminal.open_line()
    assert not line.takes_count()
    line.start(lambda: Left(9))
    assert not line.takes_count()
    now += live_line.COUNT_SECONDS
    assert [line.takes_count(), line.takes_count()] == [True, False]
    line.counted(Left(90_000, exact=False, units=12 * 128))
    now += 12 * 64 - 1
    assert not line.takes_count()
    now += 1
    assert [line.takes_count(), line.takes_count()] == [True, False]
    # No count came: the next one may take as much
    now += 12 * 64 - 1
    assert not line.takes_count()
    now += 1
    assert line.takes_count()


def test_many_small_tables_are_counted_once_a_minute(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(live_line, "monotonic", lambda: now)
    tables: Any = [Pages(1, 1, units=0.5) for _ in range(10)]
    line = terminal.open_line()
    line.start(lambda: count_left(tables))
    assert sum(table.read for table in tables) == 20
    now += 60
    assert line.takes_count()


class Pages:
    """A table with so many pages of items, todo and locked, which take so many units each."""

    def __init__(self, todo: int, locked: int, units: float = 128.0) -> None:
        self.clock = DatabaseClock()
        self.meter = CapacityMeter()
        self._units = units
        self._pages = {"todo": todo, "locked": locked}
        self.read = 0

    def page(self, part: Part, _: Projection) -> QueryPage:
        self.read += 1
        consumed = {"CapacityUnits": self._units}
        self.meter.succeeded("Query", {"ConsumedCapacity": consumed})
        self._pages[part.state] -= 1
        lease = {"Lease_Expires": int(time.time()) + 60} if part.state == State.LOCKED else {}
        record = Record.from_values({"itemID": 1, "ItemState": part.state, **lease})
        rest = Part(part.state, 2) if self._pages[part.state] > 0 else None
        return QueryPage([record] * 100, rest)


def test_counting_what_is_left_reads_so_many_pages_at_most() -> None:
    few: Any = Pages(3, 1)
    assert count_left([few]) == Left(300, exact=True, running=100, units=4 * 128)
    many: Any = Pages(1000, 1000)
    assert count_left([many]) == Left(1000, exact=False, running=200, units=12 * 128)
    assert many.read == 12


def test_what_is_left_in_two_tables_is_added_up() -> None:
    tables: Any = [Pages(3, 1), Pages(2, 2)]
    assert count_left(tables) == Left(500, exact=True, running=300, units=8 * 128)
    tables = [Pages(1000, 1), Pages(2, 2)]
    assert count_left(tables) == Left(1200, exact=False, running=300, units=15 * 128)


def test_a_worker_begins_although_what_is_left_cannot_be_counted(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(live_line, "monotonic", lambda: now)

    def count() -> Left:
        raise Throttled("later")

    line = terminal.open_line()
    line.start(count)
    assert "· 0+ left ·" in drawn(monkeypatch, line, 1, None)
    now += live_line.COUNT_SECONDS
    assert line.takes_count()
