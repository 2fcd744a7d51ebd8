"""What `status --check --wait` prints while it waits."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from anamo.operator import check
from anamo.operator.check import Gate, Verdict
from anamo.operator.counts import TableCounts


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
    nothing: Any = None
    gate = Gate(tables, nothing, nothing, sleep=lambda _: None, clock=lambda: 0.0)
    assert gate.wait(900) is Verdict.DONE
    assert capsys.readouterr().out.splitlines() == [
        "Align: 1 of 2 items done, 1 todo",
        "Align: 1 of 2 items done, 1 locked",
        "Align: 2 of 2 items done",
    ]
    assert next(in_the_table, None) is None
