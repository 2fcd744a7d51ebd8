"""The worker through the real script: what it runs, records, logs, says and ends with."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.both_kinds import both_kinds
from tests.support.fleet import Fleet, children
from tests.support.proxy import Forward, Proxy, Reply, Request, cutting, failing, on
from tests.support.scripts import ROOT
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ITEMS = 200
WORKERS = 4


def executions(fleet: Fleet) -> Counter[int]:
    """How often each item's task was started, with 4 workers on 200 items."""
    fleet.add([f"{fleet.ledger.script}|0"] * ITEMS, "-n", ",")
    workers = [fleet.start("-i", "2", "-q") for _ in range(WORKERS)]
    for worker in workers:
        worker.wait(120)
    return Counter(start.item_id for start in fleet.ledger.starts())


@both_kinds
def test_four_workers_run_each_of_200_items_exactly_once(fleet: Fleet) -> None:
    counted = executions(fleet)
    assert set(counted.values()) == {1}
    assert len(counted) == ITEMS
    assert fleet.table.states() == {"done": ITEMS}


def test_without_the_claims_condition_items_run_more_than_once(fleet: Fleet) -> None:
    fleet.guard = "claim_condition"
    assert max(executions(fleet).values()) > 1


def whole_log(entry: dict[str, Any], client: S3Client) -> bytes:
    """A task's whole log, by the address and the range in its entry."""
    bucket, _, key = entry["S3"].removeprefix("s3://").partition("/")
    reply = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={entry['S3_Range']}")
    return gzip.decompress(reply["Body"].read())


def only_item(fleet: Fleet) -> dict[str, Any]:
    """The table's one item."""
    (item,) = fleet.table.items()
    return item


def test_a_single_items_log_has_stdout_stderr_tags_and_whole_log(
    fleet: Fleet, s3_client: S3Client
) -> None:
    fleet.add([r"bash -c 'echo out; echo err >&2; printf PyAnamo:\\tbam=a.bam\\n'"])
    ended = fleet.start().wait()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    item = only_item(fleet)
    log = item["Log"]
    assert item["ItemState"] == "done"
    assert log["Status"] == "Execution Successful"
    assert log["stdout"] == "out\nPyAnamo:\tbam=a.bam\n"
    assert log["stderr"] == "err\n"
    assert log["Tags"] == ["bam=a.bam"]
    assert log["Exit_Code"] == 0
    assert log["Seconds"] < 30
    assert log["Max_RSS_MB"] > 0
    assert item["Log_Length"] == 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item["Done_Date"])
    assert "Lease_Expires" not in item
    whole = whole_log(log, s3_client).decode()
    assert f"lockID: {item['lockID']}" in whole
    assert "== stdout, 23 bytes ==\nout\n" in whole
    assert "== stderr, 4 bytes ==\nerr\n" in whole


@pytest.mark.parametrize(
    ("script", "status", "code", "stderr"),
    [
        ("bash -c 'exit 3'", "exit 3", 3, ""),
        ("no-such-program", "exit 127", 127, "pyanamo: no-such-program: not found\n"),
        ("/etc/passwd", "exit 126", 126, "pyanamo: /etc/passwd: Permission denied\n"),
        ("bash -c 'kill -9 $$'", "killed by signal 9", 137, ""),
    ],
)
def test_a_task_that_fails_is_recorded_truthfully(
    script: str, status: str, code: int, stderr: str, fleet: Fleet
) -> None:
    fleet.add([script])
    ended = fleet.start().wait()
    item = only_item(fleet)
    assert ended.returncode == 1
    assert item["ItemState"] == "failed"
    assert item["Log"]["Status"] == f"Execution Failed: {status}"
    assert item["Log"]["Exit_Code"] == code
    assert item["Log"].get("stderr", "") == stderr
    assert f"failed T0  {item['Log']['Seconds']:.0f}"[:10] in ended.stderr
    assert "items: 1 failed; tasks: 0 done, 1 failed" in ended.stderr


@both_kinds
def test_a_nested_item_with_one_failure_runs_to_its_end_and_fails(fleet: Fleet) -> None:
    fleet.add(["bash -c|'exit 0','exit 4','exit 0'"], "-n", ",")
    assert fleet.start("-n", "2").wait().returncode == 1
    item = only_item(fleet)
    assert item["ItemState"] == "failed"
    assert [item["TaskScript"][f"Task_{k}"]["Status"] for k in range(3)] == [
        "done",
        "failed",
        "done",
    ]
    assert item["Log_Length"] == 3
    assert item["Log"]["Task_1"]["Exit_Code"] == 4


def test_nested_tasks_run_in_the_order_of_their_numbers(fleet: Fleet) -> None:
    fleet.add([f"{fleet.ledger.script}|" + ",".join(["0"] * 12)], "-n", ",")
    fleet.start().wait()
    assert [start.task for start in fleet.ledger.starts()] == [f"Task_{k}" for k in range(12)]


def test_nested_tasks_run_side_by_side_with_n(fleet: Fleet) -> None:
    """Each waits for the other: with -n 1 neither would ever end."""
    meet = (
        f"bash -c 'touch {fleet.folder}/$0; while ! test -e {fleet.folder}/$1; do sleep 0.02; done'"
    )
    fleet.add([f"{meet}|a b,b a"], "-n", ",")
    assert fleet.start("-n", "2").wait().returncode == 0


@pytest.mark.parametrize("nested", ["1", "3"])
def test_the_next_nested_task_does_not_wait_until_the_last_is_recorded(
    fleet: Fleet, store: Proxy, nested: str
) -> None:
    tasks, all_ran = 12, threading.Event()

    def holding(request: Request, forward: Forward) -> Reply:
        assert not request.is_upload or all_ran.wait(60)
        return forward(request)

    store.behaviour = holding
    fleet.add([f"{fleet.ledger.script}|" + ",".join(["0"] * tasks)], "-n", ",")
    worker = fleet.start("-n", nested)
    try:
        eventually(lambda: len(fleet.ledger.starts()) == tasks)
    finally:
        all_ran.set()
    assert worker.wait().returncode == 0


@both_kinds
def test_items_run_side_by_side_with_i(fleet: Fleet) -> None:
    meet = (
        f"bash -c 'touch {fleet.folder}/$0; while ! test -e {fleet.folder}/$1; do sleep 0.02; done'"
    )
    fleet.add([f"{meet} a b", f"{meet} b a"])
    assert fleet.start("-i", "2").wait().returncode == 0


def test_any_task_id_works(fleet: Fleet, s3_client: S3Client) -> None:
    task_ids = ["a b", "a/b", "Prøbe ж", "..", "100%", "x" * 1024]
    fleet.add(["echo fine"] * len(task_ids), task_ids=task_ids)
    assert fleet.start().wait().returncode == 0
    items = fleet.table.items()
    assert {item["taskID"] for item in items} == set(task_ids)
    for item in items:
        assert b"fine" in whole_log(item["Log"], s3_client)
        # One folder a task id, whatever stands in it
        assert item["Log"]["S3"].count("/") == 6


def test_output_that_is_no_text_works(fleet: Fleet, s3_client: S3Client) -> None:
    fleet.add([r"bash -c 'printf \\xff\\xfe\\x00abc'"])
    assert fleet.start().wait().returncode == 0
    log = only_item(fleet)["Log"]
    assert log["stdout"] == "\ufffd\ufffd\0abc"
    assert b"== stdout, 6 bytes ==\n\xff\xfe\0abc" in whole_log(log, s3_client)


def test_500_nested_tasks_work(fleet: Fleet, s3_client: S3Client) -> None:
    fleet.add(["echo|" + ",".join(f"n{k}" for k in range(500))], "-n", ",")
    ended = fleet.start("-n", "4").wait(120)
    assert ended.returncode == 0, ended.stderr
    item = only_item(fleet)
    assert item["Log_Length"] == len(item["Log"]) == 500
    assert {task["Status"] for task in item["TaskScript"].values()} == {"done"}
    assert all(item["Log"][f"Task_{k}"]["stdout"] == f"n{k}\n" for k in range(500))
    assert b"\nn321\n" in whole_log(item["Log"]["Task_321"], s3_client)


def test_200_mb_of_output_leave_memory_flat(fleet: Fleet, s3_client: S3Client) -> None:
    fleet.add(
        ["bash -c 'head -c 150000000 /dev/urandom; head -c 50000000 /dev/zero; echo; echo end'"]
    )
    worker = fleet.start()
    peak = 0

    def ended() -> bool:
        nonlocal peak
        for process in children(worker) if worker.process.poll() is None else []:
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        return worker.process.poll() is not None

    eventually(ended, 120)
    assert worker.wait().returncode == 0, worker.stderr
    assert 0 < peak < 130_000_000
    log = only_item(fleet)["Log"]
    whole = whole_log(log, s3_client)
    assert b"== stdout, 200000005 bytes ==" in whole
    assert log["stdout"].endswith("\0\nend\n")


def test_the_environment_says_what_runs(fleet: Fleet) -> None:
    names = ["TABLE", "ITEM_ID", "TASK_ID", "NESTED_TASK", "ATTEMPT", "LOCK_ID"]
    shown = " ".join(f"${{PYANAMO_{name}}}" for name in names)
    fleet.add([f"echo $PYANAMO {shown}|,".replace("|,", "|-")], "-n", ",")
    fleet.start().wait()
    item = only_item(fleet)
    folder, *values, _ = item["Log"]["Task_0"]["stdout"].split()
    assert (Path(folder) / "pyanamo.py").exists()
    assert values == [
        fleet.table.name,
        str(item["itemID"]),
        "T0",
        "Task_0",
        "1",
        item["lockID"],
    ]


def test_a_variable_that_is_not_set_fails_the_task_and_the_program_is_not_started(
    fleet: Fleet,
) -> None:
    fleet.add(["echo $OUT/x", "echo ${OUT:-} ${OUT:-none}"], task_ids=["unset", "default"])
    assert fleet.start().wait().returncode == 1
    items = {item["taskID"]: item for item in fleet.table.items()}
    assert items["unset"]["ItemState"] == "failed"
    assert items["unset"]["Log"]["Exit_Code"] == 126
    assert items["unset"]["Log"]["stderr"] == (
        "pyanamo: OUT is not set; write ${OUT:-} where it may be empty\n"
    )
    assert items["default"]["Log"]["stdout"] == " none\n"


def test_without_the_check_an_unset_variable_is_nothing_and_the_task_is_done(fleet: Fleet) -> None:
    fleet.guard = "unset_check"
    fleet.add(["echo $OUT/x"])
    assert fleet.start().wait().returncode == 0
    assert only_item(fleet)["Log"]["stdout"] == "/x\n"


def test_arguments_cannot_become_code(fleet: Fleet) -> None:
    fleet.environment["EVIL"] = "$(touch broken); `touch broken`; touch broken"
    line = 'echo $EVIL ; touch broken | cat > broken && touch broken "$EVIL"'
    fleet.add([line], "--literal")
    assert fleet.start().wait().returncode == 0
    assert not (fleet.folder / "broken").exists()


def test_terminal_escapes_of_ids_and_logs_are_not_printed(fleet: Fleet) -> None:
    fleet.add(["bash -c 'exit 5'"], task_ids=["\x1b[31mred\x1b]0;title\x07"])
    ended = fleet.start("-v").wait()
    assert "\x1b" not in ended.stderr
    assert r"\x1b[31mred" in ended.stderr


def test_a_secret_in_place_of_a_program_gets_into_neither_item_nor_log(
    fleet: Fleet, s3_client: S3Client
) -> None:
    fleet.environment["SECRET"] = "hunter2"
    fleet.add(["$SECRET x"])
    ended = fleet.start("-v").wait()
    item = only_item(fleet)
    assert item["Log"]["stderr"] == "pyanamo: $SECRET: not found\n"
    whole = whole_log(item["Log"], s3_client).decode()
    assert "hunter2" not in f"{item} {whole} {ended.stdout} {ended.stderr}"


def test_secrets_of_the_environment_are_not_logged(fleet: Fleet, s3_client: S3Client) -> None:
    fleet.environment["DB_PASSWORD"] = "hunter2"
    fleet.add(["test -n $DB_PASSWORD"])
    ended = fleet.start("--debug").wait()
    item = only_item(fleet)
    assert ended.returncode == 0
    seen = ended.stderr + json.dumps(item) + whole_log(item["Log"], s3_client).decode()
    assert "hunter2" not in seen


def test_an_empty_and_a_finished_table_end_well(fleet: Fleet) -> None:
    ended = fleet.start().wait()
    assert (ended.returncode, "nothing to do" in ended.stderr) == (0, True)
    fleet.add(["true"])
    fleet.start().wait()
    ended = fleet.start().wait()
    assert (ended.returncode, "nothing to do" in ended.stderr) == (0, True)


def test_with_idle_timeout_a_worker_waits_for_items(fleet: Fleet) -> None:
    worker = fleet.start("--idle-timeout", "600")
    eventually(lambda: children(worker))
    fleet.add(["true"])
    eventually(lambda: fleet.table.states() == {"done": 1})
    assert worker.process.poll() is None


def test_an_item_of_ones_own_is_not_said_to_be_held_by_others(
    fleet: Fleet, database: Proxy, store: Proxy
) -> None:
    seen_locked = threading.Semaphore(0)

    def watching(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        asked = request.json.get("ExpressionAttributeValues", {}).get(":state")
        if request.operation == "Query" and asked == {"S": "locked"} and reply.json["Items"]:
            seen_locked.release()
        return reply

    def holding(request: Request, forward: Forward) -> Reply:
        # The item stays locked until the other process has seen it so
        if request.is_upload:
            assert seen_locked.acquire(timeout=60)
        return forward(request)

    database.behaviour, store.behaviour = watching, holding
    fleet.add(["true"])
    ended = fleet.start("-i", "2").wait()
    assert fleet.table.states() == {"done": 1}
    assert "items: 1 done" in ended.stderr
    assert "other workers hold" not in ended.stderr


def test_what_other_workers_hold_is_said(fleet: Fleet) -> None:
    fleet.add([f"{fleet.ledger.script}|60"], "-n", ",")
    fleet.start()
    eventually(fleet.ledger.starts)
    ended = fleet.start("-i", "2").wait()
    assert "nothing to do; other workers hold 1 item (leases end by " in ended.stderr
    fleet.add(["true"])
    ended = fleet.start("-i", "2").wait()
    assert "other workers hold 1 item (leases end by " in ended.stderr
    assert "; use --wait to take over items if those workers die" in ended.stderr


def test_a_quiet_worker_prints_only_its_summary(fleet: Fleet) -> None:
    fleet.add(["true"] * 3)
    ended = fleet.start("-q").wait()
    assert "done   T" not in ended.stderr
    assert "items: 3 done" in ended.stderr


def test_workers_leave_no_files_behind(fleet: Fleet) -> None:
    scratch = fleet.folder / "scratch"
    scratch.mkdir()
    fleet.environment["TMPDIR"] = str(scratch)
    fleet.add(["echo x"] * 5 + ["head -c 30000000 /dev/urandom"])
    assert fleet.start("-i", "2").wait().returncode == 0
    assert list(scratch.iterdir()) == []


def test_items_numbered_from_1_by_another_tool_are_run(fleet: Fleet) -> None:
    for number in range(1, 31):
        fleet.table.client.put_item(
            TableName=fleet.table.name,
            Item={
                "itemID": {"N": str(number)},
                "taskID": {"S": f"Task-{number}"},
                "InstanceID": {"S": "NULL"},
                "ItemState": {"S": "todo"},
                "TaskScript": {"M": {"Task_0": {"M": {"Script": {"S": "true"}}}}}
                if number % 2
                else {"S": "true"},
                "Log_Length": {"N": "0"},
            },
        )
    ended = fleet.start("-i", "2", "-q").wait()
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 30}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-t", "", "-b", "bucket"], "-t/--table: is empty (unset shell variable?)"),
        (["-t", "Table", "-b", ""], "-b/--bucket: is empty (unset shell variable?)"),
        (["-t", "Table", "-b", "bucket", "-r", ""], "-r/--region: is empty"),
        (["-t", "Table", "-b", "bucket", "-i", "0"], "-i/--items: 0 is less than 1"),
        (["-t", "Table", "-b", "bucket", "-k", "x" * 65], "has 65 bytes encoded"),
        (["-t", "Table", "-b", "bucket", "-w", "soon"], "'soon' is not a duration"),
        (["-t", "Table", "-b", "bucket", "--lease", "1"], "--lease: 1 is less than 2"),
    ],
)
def test_wrong_usage_ends_with_2(flags: list[str], said: str, fleet: Fleet) -> None:
    ended = fleet.scripts.run("pyanamo.py", *flags)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_what_aws_refuses_ends_with_3_and_one_line(fleet: Fleet) -> None:
    cases = [
        (["-t", "NoSuchTable", "-b", fleet.bucket], {}, "NoSuchTable does not exist in us-east-1:"),
        (
            ["-t", fleet.table.name, "status", "-b", fleet.bucket],
            {},
            "in us-east-1 (a command comes first: python pyanamo.py status ...): check -t and -r",
        ),
        (
            ["-t", fleet.table.name, "-b", "no-such-bucket"],
            {},
            "bucket no-such-bucket does not exist",
        ),
        (
            ["-t", fleet.table.name, "-b", fleet.bucket],
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "redentials",
        ),
        (
            ["-t", fleet.table.name, "-b", fleet.bucket],
            {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""},
            "No AWS region",
        ),
        (
            ["-t", fleet.table.name, "-b", fleet.bucket],
            {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9"},
            "Could not connect",
        ),
    ]
    for flags, environment, said in cases:
        ended = fleet.scripts.run("pyanamo.py", *flags, env=environment)
        assert ended.returncode == 3, ended.stderr
        assert said in ended.stderr
        assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_a_worker_that_is_throttled_when_it_begins_waits(
    fleet: Fleet, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on("DescribeTable", failing("ThrottlingException"), first=4)
    fleet.add(["true"])
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    ended = fleet.start().wait()
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 1}


def test_denied_logs_are_found_out_before_anything_is_claimed(
    fleet: Fleet, s3: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(s3)
    proxy.behaviour = failing("403", 403)
    fleet.add(["true"])
    fleet.environment["AWS_ENDPOINT_URL_S3"] = proxy.url
    ended = fleet.start().wait()
    assert ended.returncode == 3
    assert "lack a permission" in ended.stderr
    assert fleet.table.states() == {"todo": 1}


def test_a_traceback_is_shown_with_debug_only(
    fleet: Fleet, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on("DescribeTable", cutting)
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    assert "Traceback" not in fleet.start().wait().stderr
    assert "Traceback" in fleet.start("--debug").wait().stderr


def test_help_loads_nothing_of_aws(fleet: Fleet) -> None:
    for script in ("pyanamo.py", "import-items-generic.py"):
        code = (
            "import runpy, sys\nsys.argv[1:] = ['--help']\n"
            f"try: runpy.run_path('{script}', run_name='__main__')\n"
            "except SystemExit: pass\n"
            "print([name for name in ('boto3', 'botocore', 'rich') if name in sys.modules])"
        )
        ended = fleet.scripts.run("python", "-c", code, cwd=ROOT)
        assert ended.stdout.splitlines()[-1] == "[]"
