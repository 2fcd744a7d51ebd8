"""The question before a change."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from anamo.operator.confirmation import confirmed


def ctrl_c() -> str:
    raise KeyboardInterrupt


def test_what_is_said_after_an_interrupted_question_begins_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=ctrl_c))
    with pytest.raises(KeyboardInterrupt):
        confirmed("Remove 1 item?")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert not confirmed("Remove 1 item?")
    assert capsys.readouterr().err == 2 * "Remove 1 item? [y/N] \n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert confirmed("Remove 1 item?")
    assert capsys.readouterr().err == "Remove 1 item? [y/N] "
