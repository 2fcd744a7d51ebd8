"""What the command lines share: values of flags, messages, text for terminals."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anamo.cli import arguments
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus, run
from anamo.core.errors import AccessDenied, AnamoError, BucketMissing, UsageError
from anamo.core.text import printable
from anamo.worker.signals import Interrupted


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("90m", 5400), ("2h", 7200), ("1d", 86400), ("0", 0)],
)
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert arguments.duration(text) == seconds


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (arguments.duration, ""),
        (arguments.duration, "m"),
        (arguments.duration, "-1"),
        (arguments.duration, "nan"),
        (arguments.duration, "inf"),
        (arguments.duration, "1 week"),
        (arguments.whole_number(1), "0"),
        (arguments.whole_number(1), "1.5"),
        (arguments.whole_number(1), ""),
        (arguments.separator, ""),
        (arguments.separator, "a\n"),
        (arguments.non_empty, " "),
        (arguments.log_prefix, "p" * 65),
        (arguments.log_prefix, "ä" * 11),
    ],
)
def test_a_wrong_value_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse(text)


def test_a_tab_may_be_typed() -> None:
    assert arguments.separator("\\t") == arguments.separator("\t") == "\t"
    assert arguments.separator("\\t|\\t") == "\t|\t"


def test_a_prefix_may_be_as_long_as_its_entries_have_room_for() -> None:
    assert arguments.log_prefix("p" * 64) == "p" * 64
    assert arguments.log_prefix("") == ""


def test_values_given_twice_count_once() -> None:
    assert arguments.unique(["b", "a", "b"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("wrong"), ExitStatus.USAGE),
        (AccessDenied("wrong"), ExitStatus.AWS),
        (AnamoError("wrong"), ExitStatus.AWS),
        (Interrupted(15), ExitStatus.TERMINATED),
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: ExitStatus,
) -> None:
    def main(_arguments: argparse.Namespace) -> ExitStatus:
        raise error

    parser = argparse.ArgumentParser("script.py")
    arguments.add_common_flags(parser)
    assert run(parser, main, []) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("script.py: ")
    assert len(output.err.splitlines()) == 1


def test_an_errors_docstring_is_its_message() -> None:
    assert str(BucketMissing()) == "The bucket does not exist."
    assert str(BucketMissing("bucket b does not exist")) == "bucket b does not exist"


def test_each_line_of_a_message_stands_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    Messages("script.py")("one\ntwo \x1b[2J")
    assert capsys.readouterr().err == "script.py: one\nscript.py: two \\x1b[2J\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 語 😀 ~", "Größe 語 😀 ~"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("abc\u202egpj.exe", "abc\\u202egpj.exe"),
        ("a\u2028b\ufeff\u200b", "a\\u2028b\\ufeff\\u200b"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_a_terminal_could_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_printable_text_is_one_line_that_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert printable(shown) == shown


def test_a_message_nobody_can_read_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stderr", full)
        Messages("script.py")("one\ntwo")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
