from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import terminal, workflow
from tests.support.fleet import Fleet
from tests.support.scripts import ROOT
from tests.support.table import Table
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Run = Callable[..., Any]


@pytest.fixture
def worker(fleet: Fleet, table: Table, bucket: str) -> list[str]:
    """Flags of a worker for six items, of which one fails. They end one by one, and each runs for
    much longer than the line stays as it is, on a busy machine, too.
    """
    fleet.add([f"bash -c 'sleep 1.{k}; exit {k // 5}'" for k in range(6)])
    return ["-t", table.name, "-b", bucket]


def test_on_a_terminal_one_line_changes(worker: list[str], typing: Run) -> None:
    ended = typing(*worker, "-i", "2")
    assert ended.returncode == 1
    shown = ended.stdout
    drawn = [part for part in re.split(r"\x1b\[2?K", shown) if " running · " in part]
    assert "0 items done · 0 failed · 0 running · 6 left" in drawn[0]
    assert any("· 1 running ·" in part or "· 2 running ·" in part for part in drawn)
    assert "5 items done · 1 failed · 0 running · 0 left" in drawn[-1]
    assert any(re.search(r" to go · \d+ s so far · T\d for \d+ s", part) for part in drawn)
    # What failed is said at once, what went well is only counted
    assert "failed T5" in shown
    assert "done   T1" not in shown
    # Above the line, not behind it
    said = [re.sub(r"\x1b\[[?0-9]*[A-Za-z]", "", line) for line in shown.splitlines()]
    assert any(line.rpartition("\r")[2].startswith("pyanamo.py: failed T5") for line in said)
    assert "logs in" in said[-2]
    assert "to see why tasks failed: " in said[-1]
    # Neither hidden nor left on the screen
    assert shown.rindex("\x1b[?25h") > shown.rfind("\x1b[?25l")
    assert "\x1b" in shown[shown.rindex(" running · ") :]


def test_the_line_counts_two_tables_together_and_failures_name_theirs(
    worker: list[str], typing: Run, table: Table, make_table: Callable[[], Table]
) -> None:
    second = make_table()
    todo = [workflow.item(f"U{k}", TaskScript="sleep 0.5") for k in range(3)]
    workflow.put_all(second.client, second, todo)
    ended = typing(*worker, "-t", second.name, "-i", "3", columns=160)
    assert ended.returncode == 1
    drawn = [part for part in re.split(r"\x1b\[2?K", ended.stdout) if " running · " in part]
    assert "0 items done · 0 failed · 0 running · 9 left" in drawn[0]
    assert "8 items done · 1 failed · 0 running · 0 left" in drawn[-1]
    assert f"failed {table.name} T5" in ended.stdout
    assert f"table {second.name}: 3 done" in ended.stdout


def test_elsewhere_a_line_an_item(worker: list[str], run: Run) -> None:
    said = run("pyanamo.py", *worker).stderr
    assert "done   T1" in said
    assert "\x1b" not in said
    assert "running" not in said


def test_quiet_shows_neither(worker: list[str], typing: Run) -> None:
    shown = typing(*worker, "-q").stdout
    assert "running" not in shown
    assert "failed T5" not in shown
    assert "tasks: 5 done, 1 failed" in shown


def test_the_parent_draws_without_a_thread(
    worker: list[str], typing: Run, tmp_path: Path, fleet: Fleet
) -> None:
    look = f"grep Threads /proc/$(cut -d' ' -f4 /proc/$PPID/stat)/status >{tmp_path}/threads"
    script = tmp_path / "look.sh"
    script.write_text(f"#!/bin/bash\n{look}\n")
    fleet.add([f"bash {script}"], task_ids=["Look"])
    typing(*worker)
    assert (tmp_path / "threads").read_text().split() == ["Threads:", "1"]


def test_what_is_left_is_counted_again_while_tasks_run(
    start: Run, table: Table, bucket: str, tmp_path: Path, dynamodb_client: DynamoDBClient
) -> None:
    wait = f"bash -c 'while [ ! -e {tmp_path}/go ]; do sleep 0.1; done'"
    workflow.put_all(dynamodb_client, table, [workflow.item("T0", TaskScript=wait)])
    counting = ["tests/support/sabotage.py", "pause_between_counts", "pyanamo.py"]
    words = [str(ROOT / counting[0]), *counting[1:], "-t", table.name, "-b", bucket]
    terminal_120 = ["python", str(Path(terminal.__file__)), "120", ""]
    worker = start(*terminal_120, sys.executable, *words)
    eventually(lambda: "1 running · 0 left" in worker.stdout, 60)
    others = [workflow.item(f"T{k}", TaskScript="true") for k in range(1, 4)]
    workflow.put_all(dynamodb_client, table, others)
    eventually(lambda: "1 running · 3 left" in worker.stdout, 60)
    (tmp_path / "go").touch()
    assert worker.wait().returncode == 0
