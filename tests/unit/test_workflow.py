"""The library, as far as it needs no table."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from anamo.core.item import single_item
from anamo.importer.importer import Importer
from anamo.workflow import TableCounts, UsageError, Workflow
from tests.support.scripts import ROOT


def test_bad_lines_are_refused_before_any_request(capsys: pytest.CaptureFixture[str]) -> None:
    # A region that is none: a request would fail in another way
    steps = Workflow("Align", region="nowhere")
    with pytest.raises(UsageError, match="line:2: the task id is empty"):
        steps.import_tasks(["S7|Align|seq 1", "|Align|seq 1"], "|")
    with pytest.raises(UsageError, match="line:1: the line names table Call, but -t only Align"):
        steps.import_tasks(["S7|Call|seq|1,2\n"], "|", ",")
    # A line break inside a line begins another, as in a file
    with pytest.raises(UsageError, match="line:2: 1 field instead of 3"):
        steps.import_tasks(["S7|Align|echo a\nb"], "|")
    with pytest.raises(UsageError, match="No such file"):
        steps.import_tasks("no-such-file.txt", "|")
    with pytest.raises(UsageError, match="standard input is not read here"):
        steps.import_tasks("-", "|")
    with pytest.raises(UsageError, match="a separator is empty"):
        steps.import_tasks(["S7|Align|seq 1"], "")
    assert capsys.readouterr() == ("", "")


def test_the_library_leaves_messages_to_whoever_asks_for_them() -> None:
    # In a process of its own: commands that ran in this one have set handlers
    program = "import logging, anamo.workflow; print(logging.getLogger('anamo').handlers)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "NullHandler" in run.stdout


def test_ctrl_c_during_an_import_leaves_a_notebooks_handler_as_it_was() -> None:
    during = []

    class Table:
        name = "Align"

        def states(self, item_ids: Any) -> Any:  # noqa: ARG002
            raise KeyboardInterrupt

    def say(message: str) -> None:  # noqa: ARG001
        during.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    table: Any = Table()
    with pytest.raises(KeyboardInterrupt):
        Importer(table, say=say).run([single_item("S7", "seq 1")])
    # A second one meanwhile ends the process at once
    assert during == [signal.SIG_DFL]
    assert signal.getsignal(signal.SIGINT) == before


def test_counts_show_what_was_counted_and_no_more() -> None:
    counts = TableCounts("Align", Counter(done=2), Counter(done=6))
    counts.instances.add("i-1")
    assert repr(counts) == (
        "TableCounts(table='Align', items=Counter({'done': 2}), tasks=Counter({'done': 6}), "
        "expired=0)"
    )
