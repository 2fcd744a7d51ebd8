"""What `status --check --wait` prints while it waits."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from anamo.aws.retry import LONGEST, UNATTENDED_SECONDS, OperatorRetry
from anamo.core.errors import Unreachable
from anamo.operator import check
from anamo.operator.check import Gate, Verdict
from anamo.operator.counts import TableCounts
from tests.support.unread_stdout import unread_stdout


def test_lines_are_printed_again_only_where_they_have_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The index lags: it lists both items as done, and the table itself does not
    in_the_table = iter([["done", "todo"]] * 3 + [["done", "locked"]] * 2 + [["done", "done"]])
    index = TableCounts("Align", Counter(done=2))
    monkeypatch.setattr(check, "count_table", lambda *_: index)
    monkeypatch.setattr(
        check,
        "consistent_scan",
        lambda *_: [SimpleNamespace(state=state) for state in next(in_the_table)],
    )
    tables: Any = [SimpleNamespace(name="Align")]
    gate = Gate(tables, OperatorRetry(print), print, sleep=lambda _: None, clock=lambda: 0.0)
    assert gate.wait(900) is Verdict.DONE
    assert capsys.readouterr().out.splitlines() == [
        "Align: 1 of 2 items done, 1 todo",
        "Align: 1 of 2 items done, 1 locked",
        "Align: 2 of 2 items done",
    ]
    assert next(in_the_table, None) is None


def test_a_gate_that_waits_survives_an_hour_without_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.monotonic", lambda: sum(slept))
    retry = OperatorRetry(print, slept.append)
    Gate([], retry, print).wait(60)

    def unreachable() -> None:
        raise Unreachable

    with pytest.raises(Unreachable):
        retry(unreachable)
    assert sum(slept) > UNATTENDED_SECONDS - LONGEST


def test_a_gate_whose_lines_nobody_reads_says_the_truth_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as `status --check | head -1`."""
    monkeypatch.setattr(check, "count_table", lambda *_: TableCounts("Align", Counter(todo=1)))
    tables: Any = [SimpleNamespace(name="Align")]
    with unread_stdout():
        assert Gate(tables, OperatorRetry(print), print).check() is Verdict.LEFT
