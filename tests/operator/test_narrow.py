"""Narrow terminals: columns are dropped, and no word is broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import workflow

Run = Callable[..., Any]

ENDED = workflow.entry("Sample3001", 1, "Execution Failed: exit 1", "no such file")


@pytest.fixture
def failed(small: Any) -> str:
    """A table with failed items."""
    return str(
        small(
            *(
                workflow.item(f"Sample{k}", "failed", 3, Log={"Task_0": ENDED})
                for k in range(3001, 3004)
            )
        ).name
    )


def words(text: str) -> list[str]:
    """The words of a text without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).split()


@pytest.mark.parametrize("columns", [60, 44])
@pytest.mark.parametrize("piped", [True, False])
def test_columns_are_dropped_and_never_broken(
    run: Run, typing: Run, failed: str, columns: int, piped: bool
) -> None:
    def shown(*more: str) -> str:
        command = ("status", "-t", failed, *more)
        if piped:
            ended = run("pyanamo.py", *command, env={"COLUMNS": str(columns)})
        else:
            ended = typing(*command, columns=columns)
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout)

    listed = shown("--state", "failed").split(f"{failed}: ")[0]
    assert {"Sample3001", "Sample3003", "taskID", "state", "failed"} <= set(words(listed))
    assert "since" in listed.partition("not shown, for lack of room: ")[2]
    assert {failed, "Sample3002", "failed"} <= set(words(shown("--by-task")))
    counted = shown().split("\n\n")[0]
    assert {failed, "step", "todo", "locked", "done", "failed", "3"} <= set(words(counted))
    if piped:
        assert max(map(len, (listed + counted).splitlines())) <= columns


def test_without_columns_a_pipe_gets_every_column(run: Run, failed: str) -> None:
    shown = run("pyanamo.py", "status", "-t", failed, "--state", "failed").stdout
    for heading in ("itemID", "tasks", "instance", "since", "exit", "stderr"):
        assert heading in shown.splitlines()[0]


def test_a_number_that_is_cut_off_shows_it(run: Run, small: Any) -> None:
    table = small(*(workflow.item(f"S{number}", "todo") for number in range(1200)))
    ended = run("pyanamo.py", "status", "-t", table.name, env={"COLUMNS": "12"})
    cells = ended.stdout.splitlines()[1].split()
    whole = {table.name, "1,200", "0"}
    assert all(cell in whole or cell.endswith("…") for cell in cells), cells
    assert not whole.issuperset(cells)
