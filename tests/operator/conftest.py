"""A workflow in the middle of its run, for tests that only read it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import terminal, workflow
from tests.support.scripts import ROOT, Scripts
from tests.support.table import Table, workflow_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HOSTILE = 'Sample-1\x1b[31m"><script>document.title="owned"</script>'


@dataclass(frozen=True)
class Workflow:
    """Steps and the items they hold, in the order of the workflow."""

    tables: list[Table]
    items: list[list[dict[str, Any]]]

    @property
    def names(self) -> list[str]:
        """The names of the tables."""
        return [table.name for table in self.tables]

    def states(self, step: int) -> Counter[str]:
        """How many items of a step are in each state."""
        return Counter(item["ItemState"] for item in self.items[step])


@pytest.fixture(scope="session")
def steps(dynamodb_client: DynamoDBClient) -> Iterator[Workflow]:
    """Three steps of 1,300 items in all states, other tools' included. The first table is one of an
    earlier version: its indexes are wide, and its items have NULLs.
    """
    shares = {"done": 0.9, "failed": 0.05, "locked": 0.03}
    items = [
        list(workflow.run_of(1300, 0, shares)),
        list(workflow.run_of(1300, 3, {**shares, "done": 0.4}, hours=6, seed=2)),
        list(workflow.run_of(1300, 0, {"done": 0.1}, hours=1, seed=3)),
    ]
    # A hostile name, another tool's states, an item released half way, one without a lease
    items[0].append(workflow.item(HOSTILE, "failed", Log=_hostile()))
    items[2] += [workflow.item(f"Other{k}", state) for k, state in enumerate(["paused"] * 3)]
    items[2].append(workflow.item("Other9", "Zurück"))
    items[1] += [_half_way("Half"), workflow.earlier(_half_way("Half2"))]
    items[0] = list(map(workflow.earlier, items[0]))
    items[1].append(workflow.item("Foreign", "locked", 2))
    with ExitStack() as stack:
        tables = [
            stack.enter_context(workflow_table(dynamodb_client, wide=not step))
            for step, _ in enumerate(items)
        ]
        for table, content in zip(tables, items, strict=True):
            workflow.put_all(dynamodb_client, table, content)
        yield Workflow(tables, items)


def _half_way(task_id: str) -> dict[str, Any]:
    given_back = {"Lock_Date": "2026-01-31T09:30:00Z", "Ended_Tasks": 2, "Log": {}}
    made = workflow.item(task_id, "todo", 3, **given_back)
    made["TaskScript"]["Task_0"]["Status"] = "done"
    made["TaskScript"]["Task_1"]["Status"] = "failed"
    return made


def _hostile() -> Any:
    last = "\x1b]0;owned\x07<img src=x onerror=\"document.title='owned'\">"
    return workflow.entry("x", 9, "Execution Failed: exit 9", last)


@pytest.fixture
def small(make_table: Callable[[], Table], dynamodb_client: DynamoDBClient) -> Any:
    """Make a table of these items."""

    def make(*items: dict[str, Any]) -> Table:
        table = make_table()
        workflow.put_all(dynamodb_client, table, items)
        return table

    return make


@pytest.fixture
def typing(scripts: Scripts) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run pyanamo.py on a terminal, with typed input."""

    def run(*words: str, typed: str = "", columns: int = 120) -> Any:
        command = [sys.executable, str(ROOT / "pyanamo.py"), *words]
        return scripts.run("python", str(Path(terminal.__file__)), str(columns), typed, *command)

    return run


def held(task_id: str, nested: int = 0, seconds: float = 3600, **more: Any) -> dict[str, Any]:
    """Return a locked item whose lease expires in `seconds`, which may be negative."""
    return workflow.item(
        task_id, "locked", nested, Lease_Expires=int(time.time() + seconds), **more
    )
