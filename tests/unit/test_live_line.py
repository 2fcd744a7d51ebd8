"""The live line on a terminal that misbehaves."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

import pytest

from anamo.cli import live_line
from anamo.cli.live_line import LiveLine
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
        "Testing", 7, task_id, "failed", 0, (("", "Execution Failed: exit 1"),), 0, 1, 0.5
    )


def test_a_message_is_neither_wrapped_nor_taken_for_markup(terminal: Terminal) -> None:
    line = terminal.open_line()
    line.start(lambda: (2, False))
    line.draw(0)
    line.ended(failed("[red]" + "x" * 90))
    line.draw(0)
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
    line.start(lambda: (9, True))
    for running in (1, 2, 3, 0):
        line.draw(running)
    line.close()
    line.say("the end")
    seen = terminal.shown("the end")
    assert "1 running" in seen
    assert "2 running" not in seen
    assert "0 running" in seen


def test_a_terminal_that_is_gone_stops_nothing(terminal: Terminal) -> None:
    line = terminal.open_line()
    line.start(lambda: (2, True))
    terminal.hang_up()
    for running in (1, 2, 0):
        line.draw(running)
        line.ended(failed("Task"))
    line.close()
    line.say("done")
