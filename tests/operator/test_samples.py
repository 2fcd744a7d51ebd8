"""Samples across the steps of a workflow, as their owner asks for them in a day."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator.conftest import held
from tests.operator.test_requeue import SCRIPT, always, unguarded
from tests.support import workflow
from tests.support.proxy import dropping_reply, on
from tests.support.scripts import ROOT, Scripts
from tests.support.table import Table
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Run = Callable[..., Any]

SAMPLES = [f"Sample{number}" for number in range(1, 10)]


def partly_failed(task_id: str, *bad: int, nested: int = 5) -> dict[str, Any]:
    """Return a failed item of which some nested tasks failed, chr1 being the first."""
    made = workflow.item(task_id, "failed", nested)
    for number in range(nested):
        name = f"Task_{number}"
        failed = number + 1 in bad
        made["TaskScript"][name]["Status"] = "failed" if failed else "done"
        cause = (3, "Execution Failed: exit 3", "no space left") if failed else ()
        address: dict[str, Any] = {"S3": f"s3://logs/{task_id}-{name}.log.gz"}
        made["Log"][name] = workflow.entry(task_id, *cause, **address)
    return made


def states_by_task(table: Table) -> dict[str, str]:
    return {item["taskID"]: item["ItemState"] for item in table.items()}


def statuses(table: Table, task_id: str) -> list[str]:
    """Return the statuses of an item's nested tasks in their order."""
    (item,) = (item for item in table.items() if item["taskID"] == task_id)
    tasks = item["TaskScript"]
    return [tasks[name]["Status"] for name in sorted(tasks)]


@pytest.fixture
def steps(small: Any) -> list[Table]:
    """Align, Call and QCheck: four samples, one of them in Align only."""
    align = [workflow.item(f"S{k}", "done") for k in range(1, 5)]
    call = [
        workflow.item("S1", "done", 2),
        partly_failed("S2", 4),
        workflow.item("S3", "locked", 2, Lease_Expires=1),
    ]
    quality = [
        workflow.item("S1", "done"),
        workflow.item("S2", "held"),
        workflow.item("S3", "todo"),
    ]
    return [small(*items) for items in (align, call, quality)]


# Which words are tables and which are samples


def test_nine_removes_in_one_go_remove_all_that_is_there(run: Run, small: Any) -> None:
    tables = [small(*(workflow.item(name) for name in SAMPLES)) for _ in range(3)]
    gone = workflow.item("Sample4")["itemID"]
    tables[0].client.delete_item(TableName=tables[0].name, Key={"itemID": {"N": str(gone)}})
    names = [table.name for table in tables]
    ended = run("pyanamo.py", "remove", "-t", *names, *SAMPLES, "--yes")
    assert ended.returncode == 0, ended.stderr
    lacks = f"table {names[0]}: no item has the taskID or itemID Sample4"
    assert ended.stderr == f"pyanamo.py remove: {lacks}\n".replace(" remove:", ":")
    removed = zip(names, ("8 items", "9 items", "9 items"), strict=True)
    assert ended.stdout.splitlines() == [f"{name}: removed {items}" for name, items in removed]
    assert [table.states() for table in tables] == [{}, {}, {}]


@pytest.mark.parametrize("command", ["remove", "logs", "status"])
def test_a_name_that_no_table_has_ends_a_command_before_it_begins(
    run: Run, steps: list[Table], command: str
) -> None:
    before = [table.items() for table in steps]
    confirmed = ["--yes"] if command in ("remove", "requeue") else []
    words = ["-t", *(table.name for table in steps), "Nobody", "S1", "S2", *confirmed]
    ended = run("pyanamo.py", command, *words)
    assert (ended.returncode, ended.stdout) == (2, "")
    unknown = "no item has the taskID or itemID Nobody"
    assert f"{unknown}, and table Nobody does not exist in us-east-1" in ended.stderr
    assert [table.items() for table in steps] == before
    if command == "remove":
        bare = unguarded(
            "from anamo.operator import selection", "selection.check_names = lambda *given: None"
        )
        run("python", *bare, command, *words)
        assert [table.items() for table in steps] != before, "the test would not notice"


def test_tables_may_come_behind_one_flag_or_several_or_in_the_environment(
    run: Run, steps: list[Table]
) -> None:
    align, call, quality = (table.name for table in steps)
    asked = ["status", "--output", "tsv"]
    env = {"PYANAMO_TABLES": f"{align},{call} {quality}"}
    shown = {
        run("pyanamo.py", *asked, *words, env=more).stdout
        for words, more in (
            (["-t", align, call, quality], {}),
            (["-t", align, "-t", call, "-t", quality], {"PYANAMO_TABLES": "Other"}),
            ([], env),
        )
    }
    assert len(shown) == 1
    assert [line.split("\t")[0] for line in shown.pop().splitlines()[1:]] == [align, call, quality]
    by_name = run("pyanamo.py", *asked, "S4", env=env)
    assert [line.split("\t")[0] for line in by_name.stdout.splitlines()[1:]] == [align]


@pytest.mark.parametrize(
    "words", ["{0} Missing {1}", pytest.param("{0} {1} Missing", marks=pytest.mark.long)]
)
def test_one_missing_table_does_not_hide_the_others(
    run: Run, steps: list[Table], words: str, tmp_path: Path
) -> None:
    align, call, _ = (table.name for table in steps)
    ended = run("pyanamo.py", "status", "-t", *words.format(align, call).split())
    assert ended.returncode == 3
    assert ended.stderr == (
        "pyanamo.py: table Missing does not exist in us-east-1, "
        "and no item of the tables before it has that taskID or itemID\n"
    )
    assert [line.split()[0] for line in ended.stdout.splitlines()[1:3]] == [align, call]
    assert "in every step of the tables shown" in ended.stdout
    checked = run("pyanamo.py", "status", "--check", "-t", *words.format(align, call).split())
    assert (checked.returncode, checked.stdout) == (3, ""), "a gate is not to be passed"
    report = tmp_path / "report.html"
    written = run(
        "pyanamo.py", "status", "--html", report, "-t", *words.format(align, call).split()
    )
    assert written.returncode == 3
    assert "done in every step of the tables shown" in report.read_text()
    one = run("pyanamo.py", "status", "-t", align, "Missing").stdout.splitlines()[-1]
    assert one.partition(";")[0].endswith("done in the table shown")


def test_names_come_from_a_file_or_from_another_command(
    run: Run, steps: list[Table], tmp_path: Path
) -> None:
    tables = ["-t", *(table.name for table in steps)]
    file = tmp_path / "samples.txt"
    file.write_text("\ufeffS2\r\n\r\n  S3 \n")
    ended = run("pyanamo.py", "hold", *tables, "--names-from", str(file))
    assert ended.returncode == 0, ended.stderr
    assert "S2" in ended.stderr, "it is held already, which is said"
    assert states_by_task(steps[2])["S3"] == "held"
    where = f"{tables[1]}=done,{tables[3]}=held"
    listed = run("pyanamo.py", "status", *tables, "--by-task", "--where", where, "--output", "tsv")
    assert "2 of 4 samples" in listed.stderr
    words = ["remove", "--names-from", "-", "--yes", "--state", "held"]
    ended = run("pyanamo.py", *words, "-t", tables[3], stdin=listed.stdout)
    assert ended.stdout == f"{tables[3]}: removed 2 items\n"
    file.write_text("taskID\n\n")
    ended = run("pyanamo.py", "hold", *tables, "--names-from", str(file))
    assert (ended.returncode, ended.stdout) == (2, ""), "no name is not every item"
    assert "has no name in it" in ended.stderr


@pytest.mark.long
def test_very_many_names_are_found_too(run: Run, small: Any) -> None:
    tables = [small(*(workflow.item(f"S{k}") for k in range(300))) for _ in range(2)]
    ids = [workflow.item(f"S{k}")["itemID"] for k in range(150, 250)]
    words = ["hold", "-t", *(table.name for table in tables), "--names-from", "-"]
    names = [*(f"S{k}" for k in range(100)), *ids]
    ended = run("pyanamo.py", *words, stdin="\n".join(map(str, names)))
    assert ended.returncode == 0, ended.stderr
    for table in tables:
        assert table.states() == {"held": 200, "todo": 100}
    ended = run("pyanamo.py", *words, stdin="\n".join([*map(str, names), "Nobody"]))
    assert (ended.returncode, ended.stdout) == (2, "")


# What is shown


def test_a_sample_is_shown_through_every_step(run: Run, steps: list[Table]) -> None:
    tables = [table.name for table in steps]
    shown = run("pyanamo.py", "status", "-t", *tables, "S2").stdout
    lines = shown.splitlines()
    assert lines[0] == "S2"
    assert lines[1].split()[:2] == [tables[0], "done"]
    call = next(position for position, line in enumerate(lines) if tables[1] in line)
    for said in (
        "  failed  5 of 5 nested tasks ended, 1 failed, claimed 2026-01-31 09:30:00, ended",
        ", on i-0a1b2c3d4e5f60001, 1 attempt, item ",
    ):
        assert said in lines[call]
    assert lines[call + 7].split()[:3] == ["Task_3", "chr4", "failed"]
    assert lines[call + 7].endswith("61 s  exit 3; no space left")
    assert lines[call + 8].strip() == "s3://logs/S2-Task_3.log.gz (bytes 0-99)"
    item_id = workflow.item("S2", nested=5)["itemID"]
    read = f"logs -t {tables[1]} --nested Task_3 --stderr --tail 20 {item_id}"
    assert f"    python pyanamo.py {read}" in lines
    item_id = workflow.item("S3", nested=2)["itemID"]
    found = run("pyanamo.py", "status", "-t", *tables, str(item_id), "S4").stdout
    assert found.startswith("S3\n")
    assert f"\nS4\n  {tables[0]}  done" in found
    assert f"  {tables[1]}  no item" in found
    assert "its lease has ended" in found
    assert "0 of 2 nested tasks ended" in found


def test_a_sample_is_shown_to_scripts(run: Run, steps: list[Table]) -> None:
    words = ["status", "-t", *(table.name for table in steps), "S2", "--output"]
    items = json.loads(run("pyanamo.py", *words, "json").stdout)
    assert [(item["table"], item["state"]) for item in items] == [
        (table.name, state) for table, state in zip(steps, ("done", "failed", "held"), strict=True)
    ]
    assert items[1]["tasks"][3] == {
        "task": "Task_3",
        "argument": "chr4",
        "task_state": "failed",
        "cause": "exit 3",
        "exit_code": 3,
        "seconds": 61,
        "max_rss_mb": 512,
        "stderr": "no space left",
        "log": "s3://logs/S2-Task_3.log.gz",
        "log_range": "0-99",
    }
    heading, *rows = [
        line.split("\t") for line in run("pyanamo.py", *words, "tsv").stdout.split("\n")
    ]
    rows = [dict(zip(heading, row, strict=True)) for row in rows if row != [""]]
    assert [row["argument"] for row in rows] == ["", "chr1", "chr2", "chr3", "chr4", "chr5", ""]
    assert rows[4]["cause"] == "exit 3"
    assert rows[6]["exit_code"] == ""


def test_status_ends_with_how_many_samples_are_done(run: Run, steps: list[Table]) -> None:
    tables = [table.name for table in steps]
    said = (
        "1 of 4 samples is done in every step; 1 failed; 1 unfinished; 1 done (imported steps only)"
    )
    for words in ([], ["--by-task"]):
        shown = run("pyanamo.py", "status", "-t", *tables, *words).stdout
        assert shown.splitlines()[-1] == said
    one = run("pyanamo.py", "status", "-t", tables[0]).stdout
    assert one.splitlines()[-1] == "4 of 4 samples are done"


def test_samples_in_step_x_y_and_z_are_listed_and_counted(run: Run, steps: list[Table]) -> None:
    align, call, quality = (table.name for table in steps)
    words = ["status", "-t", align, call, quality, "--by-task", "--where"]
    shown = run("pyanamo.py", *words, f"{align}=done,{quality}=todo").stdout.splitlines()
    assert [line.split()[0] for line in shown[1:-1]] == ["S3"]
    assert shown[-1] == f"1 of 4 samples: {align}=done and {quality}=todo"
    listed = run("pyanamo.py", *words, f"{call}=none", "--output", "json").stdout
    assert [row["taskID"] for row in json.loads(listed)] == ["S4"]


# What is changed


def test_everything_that_failed_runs_again(run: Run, typing: Run, small: Any) -> None:
    tables = [
        small(
            partly_failed("S1", 2, 3), workflow.item("S2", "failed"), workflow.item("S3", "done")
        ),
        small(workflow.item("S1", "failed"), workflow.item("S2", "todo")),
        small(workflow.item("S1", "done")),
    ]
    names = [table.name for table in tables]
    question = (
        f"Requeue 2 failed items of table {names[0]}, 1 failed item of table {names[1]} "
        "(4 tasks to run)?"
    )
    ended = typing("retry", "-t", *names, typed="n\n")
    assert question in ended.stdout.replace("\r\n", "")
    assert ended.returncode == 1
    assert run("pyanamo.py", "retry", "-t", *names, "--yes").returncode == 0
    assert [table.states() for table in tables] == [
        {"todo": 2, "done": 1}, {"todo": 2}, {"done": 1},
    ]  # fmt: skip
    assert statuses(tables[0], "S1") == ["done", "todo", "todo", "done", "done"]


def test_without_a_state_a_name_means_every_state_that_can_be_changed(
    run: Run, steps: list[Table]
) -> None:
    align, call, quality = (table.name for table in steps)
    words = ["requeue", "-t", align, call, quality, "S2", "S3"]
    ended = run("pyanamo.py", *words)
    assert ended.returncode == 2
    assert (
        f"Requeue 2 done items of table {align}, 1 failed and 1 locked item of table {call} "
        "(5 tasks to run)?"
    ) in ended.stderr
    ended = run("pyanamo.py", *words, "--yes")
    assert ended.returncode == 0, ended.stderr
    assert f"table {quality}: S2 (item " in ended.stderr
    assert "is held; left as it is" in ended.stderr
    assert states_by_task(steps[1]) == {"S1": "done", "S2": "todo", "S3": "todo"}
    assert states_by_task(steps[2]) == {"S1": "done", "S2": "held", "S3": "todo"}
    ended = run("pyanamo.py", "remove", "-t", align, call, quality, "S2", "--yes")
    assert ended.returncode == 0
    assert not any("S2" in states_by_task(table) for table in steps)


def test_what_a_worker_holds_is_left_without_force(run: Run, small: Any) -> None:
    table = small(held("S1"), workflow.item("S2", "failed"))
    ended = run("pyanamo.py", "remove", "-t", table.name, "S1", "S2", "--yes")
    assert ended.returncode == 1
    assert "whose lease has not ended; left as it is" in ended.stderr
    assert states_by_task(table) == {"S1": "locked"}


def test_neither_names_nor_a_state_is_nothing_to_do(run: Run, steps: list[Table]) -> None:
    before = steps[1].items()
    ended = run("pyanamo.py", "remove", "-t", steps[1].name, "--yes")
    assert (ended.returncode, ended.stdout) == (2, "")
    states = "todo, held, locked, done or failed"
    assert f"Give a TASKID, or --state {states} for all of them" in ended.stderr
    assert steps[1].items() == before


def test_one_nested_task_runs_again_by_its_name_or_argument(run: Run, small: Any) -> None:
    table = small(
        partly_failed("S1", 2, 4), workflow.item("S2", "done", 3), workflow.item("S3", "done")
    )
    words = ["requeue", "-t", table.name, "--yes"]
    assert run("pyanamo.py", *words, "S1", "--nested", "chr4").returncode == 0
    assert statuses(table, "S1") == ["done", "failed", "done", "todo", "done"]
    (item,) = (item for item in table.items() if item["taskID"] == "S1")
    assert (item["ItemState"], item["Ended_Tasks"]) == ("todo", 4)
    assert run("pyanamo.py", *words, "S2", "--nested", "Task_0").returncode == 0
    assert statuses(table, "S2") == ["todo", "done", "done"]
    ended = run("pyanamo.py", *words, "S3", "--nested", "chr4")
    assert ended.returncode == 2
    assert "none of the items has a nested task chr4" in ended.stderr
    assert states_by_task(table)["S3"] == "done"


@pytest.mark.long
def test_a_worker_runs_the_one_nested_task_and_the_item_ends_by_all(
    run: Run, table: Table, bucket: str, tmp_path: Path
) -> None:
    script = f"bash -c 'echo $0 >>{tmp_path}/ran; test ! -e {tmp_path}/bad-$0'"
    for name in ("chr2", "chr4"):
        (tmp_path / f"bad-{name}").touch()
    imported = ["import-items-generic.py", "-t", table.name, "-d", "-", "-s", "|", "-n", ","]
    run(*imported, stdin=f"S1|{table.name}|{script}|chr1,chr2,chr3,chr4\n")
    worker = ["pyanamo.py", "-t", table.name, "-b", bucket]
    assert run(*worker).returncode == 1
    words = ["-t", table.name, "S1", "--nested"]
    shown = run("pyanamo.py", "logs", *words, "chr2").stdout
    assert "nested task: Task_1\n" in shown
    (tmp_path / "bad-chr4").unlink()
    assert run("pyanamo.py", "requeue", *words, "chr4", "--yes").returncode == 0
    assert run(*worker).returncode == 1, "chr2 has failed and did not run again"
    assert statuses(table, "S1") == ["done", "failed", "done", "done"]
    ran = (tmp_path / "ran").read_text().split()
    assert sorted(ran) == ["chr1", "chr2", "chr3", "chr4", "chr4"]


def test_logs_of_several_steps_say_whose_they_are(
    run: Run, small: Any, s3_client: Any, bucket: str
) -> None:
    log = gzip.compress(b"a log\n")
    s3_client.put_object(Bucket=bucket, Key="log", Body=log)
    address: dict[str, Any] = {"S3": f"s3://{bucket}/log", "S3_Range": f"0-{len(log) - 1}"}
    logs = {f"Task_{number}": workflow.entry("S1", **address) for number in range(2)}
    tables = [small(workflow.item("S1", "done", 2, Log=logs)) for _ in range(2)]
    names = [table.name for table in tables]
    shown = run("pyanamo.py", "logs", "-t", *names, "S1", "--nested", "chr2").stdout
    heads = [line.split()[1:5] for line in shown.splitlines() if line.startswith("==>")]
    assert heads == [[name, "S1", "Task_1", "chr2"] for name in names]
    ended = run("pyanamo.py", "logs", "-t", *names, "S1", "--nested", "chr7")
    assert ended.returncode == 2
    (item,) = tables[0].items()
    said = f"{names[0]} S1 (item {item['itemID']}) has no nested task chr7"
    assert said in ended.stderr


def test_watching_prints_what_is_new_and_when(start: Run, small: Any) -> None:
    align = small(workflow.item("A", "failed"), workflow.item("B", "failed"))
    call = small(workflow.item("A", "held"), workflow.item("B", "held"))
    words = ["resume", "-t", call.name, "--after", align.name, "--watch", "0.1"]
    watching = start("pyanamo.py", *words)
    eventually(lambda: "2 failed" in watching.stdout)
    workflow.put_all(align.client, align, [workflow.item("A", "done")])
    eventually(lambda: "1 failed" in watching.stdout)
    workflow.put_all(align.client, align, [workflow.item("B", "done")])
    assert watching.wait().returncode == 0
    lines = watching.stdout.splitlines()
    assert [line for line in lines if "UTC" not in line] == [
        f"{call.name}: resumed 0 items",
        f"{call.name}: 2 items still held, waiting for",
        f"  {align.name}: 2 failed",
        f"{call.name}: resumed 1 item",
        f"{call.name}: 1 item still held, waiting for",
        f"  {align.name}: 1 failed",
        f"{call.name}: resumed 1 item",
    ]
    assert len([line for line in lines if line.endswith("UTC")]) == 3


def test_watching_resumes_although_nobody_reads_the_lines(scripts: Scripts, small: Any) -> None:
    """Such as `| head -1`."""
    align = small(workflow.item("A", "done"), workflow.item("B", "todo"))
    call = small(workflow.item("A", "held"), workflow.item("B", "held"))
    script = ROOT / "pyanamo.py"
    watch = f"resume -t {call.name} --after {align.name} --watch 0.1"
    command = f"{sys.executable} {script} {watch} | true"
    watching = scripts.start("bash", "-o", "pipefail", "-c", command)
    eventually(lambda: "todo" in {item["ItemState"] for item in call.items()})
    workflow.put_all(align.client, align, [workflow.item("B", "done")])
    assert watching.wait().returncode == 0
    assert {item["ItemState"] for item in call.items()} == {"todo"}


def test_a_sample_that_nobody_reads_to_its_end_ends_with_0(scripts: Scripts, small: Any) -> None:
    table = small(*(workflow.item(f"S{number}", "done", 3) for number in range(100)))
    names = " ".join(f"S{number}" for number in range(100))
    command = f"{sys.executable} {ROOT / 'pyanamo.py'} status -t {table.name} {names} | true"
    ended = scripts.run("bash", "-o", "pipefail", "-c", command)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_task_id_of_one_table_is_no_item_id_of_another(run: Run, small: Any) -> None:
    """Another tool numbers its items from 1, and samples may have numbers for names."""
    align = small(workflow.item("7", "done"))
    call = small(workflow.item("12", "done", itemID=7))
    ended = run("pyanamo.py", "remove", "-t", align.name, call.name, "7", "--yes")
    assert ended.returncode == 0
    assert f"table {call.name}: no item has the taskID or itemID 7" in ended.stderr
    assert (align.items(), len(call.items())) == ([], 1)
    assert run("pyanamo.py", "remove", "-t", call.name, "7", "--yes").returncode == 0
    assert call.items() == []


# A nested task that is given up


def test_a_nested_task_that_fails_is_taken_out_of_its_item(
    run: Run, typing: Run, small: Any
) -> None:
    table = small(
        partly_failed("S1", 4), partly_failed("S2", 2, 4), workflow.item("S3", "failed", 1)
    )
    words = ["remove", "-t", table.name, "--nested"]
    ended = typing(*words, "chr4", "S1", typed="y\n")
    assert f"Remove nested task chr4 of 1 failed item of table {table.name}?" in ended.stdout
    assert f"{table.name}: removed nested task chr4 of 1 item" in ended.stdout
    before = {item["taskID"]: item for item in table.items()}
    assert before["S1"]["ItemState"] == "done"
    assert sorted(before["S1"]["TaskScript"]) == ["Task_0", "Task_1", "Task_2", "Task_4"]
    assert (before["S1"]["Nested_Tasks"], before["S1"]["Log_Length"]) == (4, 4)
    assert run("pyanamo.py", *words, "Task_3", "S2", "--yes").returncode == 0
    assert states_by_task(table)["S2"] == "failed", "chr2 has failed as well"
    assert statuses(table, "S2") == ["done", "failed", "done", "done"]
    for name, nested, why in (
        ("S2", "chr1", "has done Task_0 chr1: only nested tasks that failed can be removed"),
        ("S3", "Task_0", "has nothing but Task_0: remove the item, without --nested"),
        ("S1", "chr1", "is done, not failed; left as it is"),
    ):
        ended = run("pyanamo.py", *words, nested, name, "--yes")
        assert ended.returncode == 1
        assert why in ended.stderr
    ended = run("pyanamo.py", *words, "chr2", "--state", "todo", "--yes")
    assert ended.returncode == 2
    assert "correct the line and import it with --replace" in ended.stderr


def test_a_lost_reply_to_a_removal_in_part_is_no_lost_race(
    run: Run, small: Any, make_proxy: Any, dynamodb: str
) -> None:
    table = small(partly_failed("S1", 4))
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on("UpdateItem", dropping_reply, 1)
    words = ["remove", "-t", table.name, "--nested", "chr4", "S1", "--yes"]
    ended = run("pyanamo.py", *words, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert table.states() == {"done": 1}


@pytest.mark.parametrize("guarded", [True, False])
def test_of_two_removals_in_part_at_once_each_counts(
    run: Run, small: Any, make_proxy: Any, dynamodb: str, guarded: bool
) -> None:
    table = small(partly_failed("S1", 2, 4))
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on("UpdateItem", overtaken(table), 1)
    words = ["remove", "-t", table.name, "--nested", "chr4", "S1", "--yes"]
    command = SCRIPT if guarded else unguarded(always("REMOVE_PART", "Log_Length = :length"))
    ended = run("python", *command, *words, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    (item,) = table.items()
    right = (item["Nested_Tasks"], item["ItemState"]) == (len(item["TaskScript"]), "failed")
    if guarded:
        assert ended.returncode == 1
        assert "changed meanwhile and is failed" in ended.stderr
        assert run("pyanamo.py", *words).returncode == 0
        assert table.states() == {"done": 1}
    assert guarded or not right, "this test would not notice"


def overtaken(table: Table) -> Any:
    """Let another operator take chr2 out first."""

    def behaviour(request: Any, forward: Any) -> Any:
        table.client.update_item(
            TableName=table.name,
            Key={"itemID": {"N": str(table.items()[0]["itemID"])}},
            UpdateExpression="SET Nested_Tasks = :n, Log_Length = :n REMOVE TaskScript.Task_1",
            ExpressionAttributeValues={":n": {"N": "4"}},
        )
        return forward(request)

    return behaviour


def test_retry_of_a_sample_that_failed_in_one_step_only_is_complete(run: Run, small: Any) -> None:
    align = small(workflow.item("S7", "done"))
    call = small(workflow.item("S7", "failed"))
    ended = run("pyanamo.py", "retry", "-t", align.name, call.name, "S7", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert "is done, not failed; left as it is" in ended.stderr
    assert states_by_task(call)["S7"] == "todo"
    # Asked for by name and state, it is not
    asked = ("requeue", "-t", align.name, "S7", "--state", "failed", "--yes")
    assert run("pyanamo.py", *asked).returncode == 1


def test_a_table_that_is_no_workflow_table_does_not_hide_the_others(
    run: Run, small: Any, dynamodb_client: DynamoDBClient
) -> None:
    table = small(workflow.item("S1", "done"))
    other = f"Other-{table.name}"
    dynamodb_client.create_table(
        TableName=other,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    ended = run("pyanamo.py", "status", "-t", table.name, other)
    dynamodb_client.delete_table(TableName=other)
    assert ended.returncode == 3
    assert ended.stdout.splitlines()[1].split()[0] == table.name
    assert f"table {other} is not a workflow table: " in ended.stderr
