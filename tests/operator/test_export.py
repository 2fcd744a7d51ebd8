"""Exports, and the library: the tasks of tables as rows, for R, pandas and scripts."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from anamo.workflow import AnamoError, UsageError, Workflow
from tests.support import workflow
from tests.support.environment import REGION
from tests.support.fleet import Fleet
from tests.support.proxy import Proxy
from tests.support.scripts import ROOT
from tests.support.table import Table

Run = Callable[..., Any]

TAGGING = r"printf 'PyAnamo:\treads=%s\n'"


def tsv(text: str) -> list[dict[str, str]]:
    # R and pandas find quotes in the cells as they are
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture
def here(dynamodb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's own clients reach DynamoDB Local, and its log be as in a new process."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb)
    logger = logging.getLogger("anamo")
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(logger, "propagate", True)


def test_what_workers_recorded_is_exported_a_line_a_task_tags_in_columns(
    fleet: Fleet, run: Run
) -> None:
    lines = [rf"{TAGGING}|5,6", "bash -c 'exit 3' _|x"]
    fleet.add(lines, "-n", ",", task_ids=["S7", "S8"])
    assert fleet.start("-n", "2").wait().returncode == 1
    ended = run("pyanamo.py", "export", "-t", fleet.table.name)
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = sorted(tsv(ended.stdout), key=lambda row: (row["taskID"], row["task"]))
    assert [(row["taskID"], row["task"], row["argument"], row["tag_reads"]) for row in rows] == [
        ("S7", "Task_0", "5", "5"),
        ("S7", "Task_1", "6", "6"),
        ("S8", "Task_0", "x", ""),
    ]
    assert [(row["state"], row["exit_code"], row["cause"]) for row in rows] == [
        ("done", "0", ""),
        ("done", "0", ""),
        ("failed", "3", "exit 3"),
    ]
    items = {item["taskID"]: item for item in fleet.table.items()}
    for row in rows:
        item = items[row["taskID"]]
        entry = item["Log"][row["task"]]
        assert (row["log"], row["log_range"]) == (entry["S3"], entry["S3_Range"])
        assert float(row["seconds"]) == entry["Seconds"]
        assert (row["claimed"], row["ended"]) == (item["Lock_Date"], item["Done_Date"])


def test_samples_states_and_several_tables_are_chosen_as_in_other_commands(
    run: Run, small: Any
) -> None:
    align = small(workflow.item("S7", "done"), workflow.item("S8", "failed"))
    call = small(workflow.item("S7", "todo", 2), workflow.item("S9"))
    both = ("-t", align.name, call.name)

    def taken(*words: str) -> list[tuple[str, str]]:
        ended = run("pyanamo.py", "export", *both, *words, "--output", "json")
        assert ended.returncode == 0, ended.stderr
        return sorted((row["table"], row["taskID"]) for row in json.loads(ended.stdout))

    of_align, of_call = (align.name, "S7"), (call.name, "S7")
    everything = [of_align, (align.name, "S8"), of_call, of_call, (call.name, "S9")]
    assert taken() == sorted(everything)
    assert taken("S7") == sorted([of_align, of_call, of_call])
    assert taken("--state", "failed") == [(align.name, "S8")]
    ended = run("pyanamo.py", "export", *both, "S7", "S99")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "S99" in ended.stderr


def test_parquet_has_the_same_rows_with_types(run: Run, small: Any, tmp_path: Path) -> None:
    from pyarrow import parquet

    tags: Any = {"Tags": ["reads=5"]}
    table = small(
        workflow.item("S7", "done", Log=workflow.entry("S7", **tags)), workflow.item("S8", "todo")
    )
    words = ("pyanamo.py", "export", "-t", table.name, "--output")
    file = tmp_path / "tasks.parquet"
    script = f'exec {sys.executable} {ROOT}/"$@" > {file}'
    ended = run("bash", "-c", script, "_", *words, "parquet")
    assert ended.returncode == 0, ended.stderr
    read = parquet.read_table(file)
    rows = json.loads(run(*words, "json").stdout)
    assert sorted(read.to_pylist(), key=lambda row: str(row["taskID"])) == [
        {"tag_reads": None, **row} for row in sorted(rows, key=lambda row: str(row["taskID"]))
    ]
    types = {field.name: str(field.type) for field in read.schema}
    assert (types["itemID"], types["seconds"], types["exit_code"]) == ("int64", "double", "int64")


# The library


@pytest.mark.usefixtures("here")
def test_the_library_imports_counts_iterates_and_requeues_as_the_commands_do(
    make_table: Callable[[], Table], run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    table = make_table()
    steps = Workflow(table.name, region=REGION)
    imported = steps.import_tasks((f"S{k}|{table.name}|false|1,2" for k in range(30)), "|", ",")
    assert imported[table.name].new == 30
    # By the command line: the same lines are the same items
    text = "".join(f"S{k}|{table.name}|false|1,2\n" for k in range(30))
    words = ("import-items-generic.py", "-t", table.name, "-d", "-", "-s", "|", "-n", ",")
    assert "0 new items, 30 already there" in run(*words, stdin=text).stdout
    counts = steps.counts()[table.name]
    assert (counts.items, counts.tasks) == (Counter(todo=30), Counter(todo=60))
    _fail_some(table, 3)
    assert sorted(record.item.task_id for _, record in steps.records(state="failed")) == [
        "S0",
        "S1",
        "S2",
    ]
    exported = json.loads(run("pyanamo.py", "export", "-t", table.name, "--output", "json").stdout)
    assert by_id(task.row() for task in steps.tasks()) == by_id(exported)
    assert len(exported) == 60
    assert len(asdict(next(steps.tasks("S5")))) == len(exported[0]) + 1
    requeued = steps.requeue("S0", "S1", state="failed")
    assert (requeued.items, requeued.left) == ({table.name: 2}, ())
    assert table.states() == Counter(todo=29, failed=1)
    # What the command line says is in `left`
    requeued = steps.requeue("S0", "S2", state="failed")
    assert requeued.items == {table.name: 1}
    assert "is todo, not failed" in requeued.left[0]
    assert capfd.readouterr() == ("", "")


def by_id(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["itemID"], row["task"]))


def _fail_some(table: Table, number: int) -> None:
    """Let the first items fail, as workers would have it."""
    ids = {item["taskID"]: item["itemID"] for item in table.items()}
    for k in range(number):
        table.client.update_item(
            TableName=table.name,
            Key={"itemID": {"N": str(ids[f"S{k}"])}},
            UpdateExpression="SET ItemState = :f, #t.Task_0.#s = :f, #t.Task_1.#s = :f",
            ExpressionAttributeNames={"#t": "TaskScript", "#s": "Status"},
            ExpressionAttributeValues={":f": {"S": "failed"}},
        )


@pytest.mark.usefixtures("here")
def test_the_library_raises_what_the_commands_say(
    table: Table, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    steps = Workflow(table.name, region=REGION)
    with pytest.raises(UsageError, match="line:2: 2 fields instead of 3"):
        steps.import_tasks([f"S7|{table.name}|seq|1", "S8|seq"], "|")
    with pytest.raises(UsageError, match="no item has the taskID or itemID S7"):
        steps.requeue("S7")
    with pytest.raises(UsageError, match="which items"):
        steps.requeue()
    with pytest.raises(UsageError, match="no item has the taskID or itemID 123"):
        steps.requeue(123)
    with pytest.raises(UsageError, match="no item is in state failing"):
        list(steps.tasks(state="failing"))
    with pytest.raises(AnamoError, match="nowhere"):
        Workflow(table.name, "nowhere", region=REGION).counts()
    with caplog.at_level(logging.WARNING, "anamo"):
        steps.import_tasks([f"S7|{table.name}|ls *.bam"], "|")
    assert "*" in caplog.text
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("state", ["todo", "held"])
def test_the_library_refuses_a_state_that_cannot_be_requeued(small: Any, state: str) -> None:
    table = small(workflow.item("A", state))
    with pytest.raises(UsageError, match=f"items that are {state} cannot be requeued"):
        Workflow(table.name, region=REGION).requeue(state=state)
    assert table.states() == {state: 1}


def test_a_whole_table_is_read_by_scans(
    run: Run, small: Any, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    """A query of an index misses an item that goes from one state to another meanwhile."""
    table = small(workflow.item("S1", "done"), workflow.item("S2", "todo", 2))
    proxy = make_proxy(dynamodb)
    words = ["export", "-t", table.name, "--output", "json"]
    ended = run("pyanamo.py", *words, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert sorted(task["taskID"] for task in json.loads(ended.stdout)) == ["S1", "S2", "S2"]
    asked = [request.json for request in proxy.requests if request.operation == "Scan"]
    assert asked
    assert not any("IndexName" in request for request in asked)
    # The one is that which finds out whether there is such a table
    assert proxy.operations["Query"] == 1
    assert not proxy.operations["BatchGetItem"]
