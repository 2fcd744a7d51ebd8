from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet
from tests.support.table import Table

Run = Callable[..., Any]


@pytest.fixture
def worker(fleet: Fleet, table: Table, bucket: str) -> list[str]:
    """Flags of a worker for six items, of which one fails. They end one by one, and each runs for
    longer than the line stays as it is.
    """
    fleet.add([f"bash -c 'sleep 0.{k + 2}; exit {k // 5}'" for k in range(6)])
    return ["-t", table.name, "-b", bucket]


def test_on_a_terminal_one_line_changes(worker: list[str], typing: Run) -> None:
    ended = typing(*worker, "-i", "2")
    assert ended.returncode == 1
    shown = ended.stdout
    drawn = [part for part in re.split(r"\x1b\[2?K", shown) if " running · " in part]
    assert "0 items done · 0 failed · 0 running · 6 left" in drawn[0]
    assert any("· 1 running ·" in part or "· 2 running ·" in part for part in drawn)
    assert "5 items done · 1 failed · 0 running · 0 left" in drawn[-1]
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
