"""What of a log is written to a terminal."""

from __future__ import annotations

import sys

import pytest

from anamo.operator.log_writer import LogWriter


@pytest.fixture
def write(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],  # noqa: ARG001  # stands for the terminal
) -> LogWriter:
    """A writer to a terminal; what it writes is captured."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    return LogWriter()


@pytest.mark.parametrize(("text", "shown"), [("Zürich €", "Zürich €"), ("a\r\nb\r", "a\nb\\r")])
def test_what_is_split_between_two_calls_is_shown_whole(
    write: LogWriter, capsys: pytest.CaptureFixture[str], text: str, shown: str
) -> None:
    for byte in text.encode():
        write([bytes([byte])], "")
    write.end("")
    assert capsys.readouterr().out == shown


def test_each_log_has_its_own_characters(
    write: LogWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = "ü".encode(), "€".encode()
    write([first[:1]], "S7")
    write([second[:2]], "S8")
    write([first[1:]], "S7")
    write([second[2:]], "S8")
    heads = "==> S7 <==\n", "\n==> S8 <==\n", "\n==> S7 <==\nü", "\n==> S8 <==\n€"
    assert capsys.readouterr().out == "".join(heads)


def test_half_a_character_at_the_end_of_a_log_is_shown_as_such_below_its_heading(
    write: LogWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    write([b"a\xc3"], "S7")
    write([b"b\n"], "S8")
    write.end("S7")
    write.end("S7")
    write.end("S8")
    assert capsys.readouterr().out == "==> S7 <==\na\n==> S8 <==\nb\n==> S7 <==\n\ufffd"


def test_a_whole_log_ends_before_the_next_begins(
    write: LogWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    write.whole([b"a", b"\xc3"], "S7")
    write.whole([b"b"], "S8")
    assert capsys.readouterr().out == "==> S7 <==\na\ufffd\n==> S8 <==\nb"


def test_a_heading_obeys_no_task_id_either(
    write: LogWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    write([b"\x1b[31m"], "S7\x1b[2J")
    assert capsys.readouterr().out == "==> S7\\x1b[2J <==\n\\x1b[31m"
