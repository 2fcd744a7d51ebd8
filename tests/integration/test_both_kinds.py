"""The same on both kinds of table: ours, and those of the original and of earlier versions.

Ours have narrow indexes, and items without what says nothing yet. Those have wide indexes, which
hold whole items, and items with NULL for what says nothing yet, some of them half finished. And an
index may lack what workers and operators can do without.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import workflow
from tests.support.fleet import Fleet
from tests.support.table import Table, workflow_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

Run = Callable[..., Any]

FAILING = "bash -c 'echo to stderr >&2; exit 3'"
NESTED = "bash -c 'echo out $0; test $0 != 2'|1,2,3"


@pytest.fixture(params=["narrow", "wide", "narrower"])
def table(dynamodb_client: DynamoDBClient, request: pytest.FixtureRequest) -> Iterator[Table]:
    """A table of each kind."""
    lacking = ["Failed_Tasks", "Failures"] if request.param == "narrower" else []
    with workflow_table(dynamodb_client, wide=request.param == "wide", lacking=lacking) as made:
        yield made


def half_finished(bucket: str, s3_client: S3Client) -> dict[str, Any]:
    """An item that an earlier version left when its machine vanished: one task of two has ended."""
    body = gzip.compress(b"PyAnamo: 1\n\n== stdout, 8 bytes ==\nearlier\n")
    s3_client.put_object(Bucket=bucket, Key="Earlier/Task_0.log.gz", Body=body)
    entry = workflow.entry("Half", S3=f"s3://{bucket}/Earlier/Task_0.log.gz", S3_Range="")
    half = workflow.item("Half", "locked", 2, Lease_Expires=1, Log={"Task_0": entry})
    tasks = {"Task_0": {"Status": "done", "Script": "false"}}
    tasks["Task_1"] = {"Status": "todo", "Script": "echo later"}
    return {**workflow.earlier(half), "TaskScript": tasks, "Log_Length": 1}


def test_items_are_imported_run_counted_shown_requeued_and_removed(
    fleet: Fleet, run: Run, table: Table, s3_client: S3Client
) -> None:
    earlier = workflow.earlier(workflow.item("Early", TaskScript="echo early"))
    half = half_finished(fleet.bucket, s3_client)
    workflow.put_all(table.client, table, [earlier, half])
    fleet.add([FAILING], task_ids=["Bad"])
    fleet.add([NESTED], "-n", ",", task_ids=["Nested"])
    ended = fleet.start("-n", "2", "--retries", "1").wait()
    assert ended.returncode == 1, ended.stderr
    assert table.states() == {"done": 2, "failed": 2}
    taken_over = table.item(half["itemID"])
    assert (taken_over["Attempts"], taken_over["Log_Length"]) == (2, 2)

    said = run("pyanamo.py", "status", "-t", table.name, "--output", "json")
    (counts,) = json.loads(said.stdout)
    assert counts["tasks"] == {"todo": 0, "done": 5, "failed": 2, "total": 7}
    said = run("pyanamo.py", "status", "-t", table.name, "-v")
    assert ("its indexes hold whole items" in said.stderr) is table.wide
    assert "2 failed tasks, by cause" in said.stdout
    assert "to stderr" in said.stdout

    shown = run("pyanamo.py", "logs", "-t", table.name, "Half", "Nested").stdout
    for printed in ("earlier\n", "later\n", "out 1\n", "out 2\n", "out 3\n"):
        assert printed in shown

    again = run("pyanamo.py", "requeue", "-t", table.name, "--state", "failed", "--yes")
    assert again.stdout == f"{table.name}: requeued 2 items\n"
    said = run("pyanamo.py", "status", "-t", table.name, "--output", "json")
    (counts,) = json.loads(said.stdout)
    assert counts["tasks"] == {"todo": 2, "done": 5, "failed": 0, "total": 7}
    assert fleet.start().wait().returncode == 1
    gone = run("pyanamo.py", "remove", "-t", table.name, "--state", "failed", "--yes")
    assert gone.stdout == f"{table.name}: removed 2 items\n"
    assert table.states() == {"done": 2}
