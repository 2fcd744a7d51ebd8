"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io
import threading

import pytest

from anamo.cli import progress_bar


class Terminal(io.StringIO):
    """A terminal that remembers what it showed."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_and_the_table_as_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    now = 0.0
    monkeypatch.setattr("anamo.cli.progress_bar.monotonic", lambda: now)
    said: list[str] = []
    threads = threading.active_count()
    with progress_bar.progress_bar("Table[red]", 10, said.append) as progress:
        progress(4)
        assert "4/10" in terminal.getvalue(), "it is drawn at once, by no thread"
        assert threads == threading.active_count()
        progress(1)
        assert "5/10" not in terminal.getvalue(), "a terminal is not written to for every item"
        now = progress_bar.DRAW_SECONDS
        progress(5)
    assert "Table[red]" in terminal.getvalue()
    assert "10/10" in terminal.getvalue()
    assert said == []


def test_elsewhere_a_line_now_and_then_is_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("anamo.cli.progress_bar.monotonic", lambda: now)
    said: list[str] = []
    with progress_bar.progress_bar("Testing", 1200, said.append) as progress:
        progress(1000)
        now = progress_bar.LINE_SECONDS
        progress(100)
        progress(100)
    assert said == ["table Testing: 1,100 of 1,200 items"]
    assert capsys.readouterr().err == ""
