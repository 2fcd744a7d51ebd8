from __future__ import annotations

import gzip
import re
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import workflow
from tests.support.fleet import Fleet
from tests.support.proxy import Proxy, Reply
from tests.support.scripts import ROOT, Scripts
from tests.support.table import Table, workflow_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def ran_table(
    shared_scripts: Scripts,
    dynamodb_client: DynamoDBClient,
    s3_client: S3Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Table]:
    """A table whose items a worker has run, which tests only read."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    s3_client.create_bucket(Bucket=bucket)
    script = "bash -c 'echo out $0; printf \"\\\\033[31mred\\\\n\"; echo err $0 >&2; exit $0'"
    with workflow_table(dynamodb_client) as table:
        fleet = Fleet(shared_scripts, table, bucket, tmp_path_factory.mktemp("ran"))
        fleet.add([f"{script}|0,3,0", "seq|3"], "-n", ",", task_ids=["Nested", "Single"])
        assert fleet.start("-q").wait().returncode == 1
        yield table


@pytest.fixture
def ran(ran_table: Table) -> str:
    """Its name."""
    return ran_table.name


def test_logs_are_whole_and_by_task_id_or_item_id(run: Run, ran: str, ran_table: Table) -> None:
    whole = run("pyanamo.py", "logs", "-t", ran, "Single").stdout
    assert "command: seq 3\n" in whole
    assert whole.endswith("\n== stdout, 6 bytes ==\n1\n2\n3\n\n== stderr, 0 bytes ==\n\n")
    assert "taskID: Single\n" in whole
    (item_id,) = (item["itemID"] for item in ran_table.items() if item["taskID"] == "Single")
    assert run("pyanamo.py", "logs", "-t", ran, str(item_id)).stdout == whole


def test_nested_logs_stand_below_their_names(run: Run, ran: str) -> None:
    shown = run("pyanamo.py", "logs", "-t", ran, "Nested", "--stderr").stdout
    heads = [line for line in shown.splitlines() if line.startswith("==>")]
    assert [head.split()[2] for head in heads] == ["Task_0", "Task_1", "Task_2"]
    assert [line for line in shown.splitlines() if line not in heads] == ["err 0", "err 3", "err 0"]
    one = run("pyanamo.py", "logs", "-t", ran, "Nested", "--nested", "Task_1", "--stderr")
    assert one.stdout == "err 3\n"


def test_state_failed_shows_what_failed(run: Run, ran: str) -> None:
    shown = run("pyanamo.py", "logs", "-t", ran, "--state", "failed", "--stderr").stdout
    assert shown == "err 3\n"


def test_tail_is_of_each_stream(run: Run, ran: str) -> None:
    words = ["logs", "-t", ran, "Nested", "--nested", "Task_1", "--tail", "1"]
    shown = run("pyanamo.py", *words).stdout
    assert "out 3" not in shown
    assert "red\n" in shown
    assert "err 3\n" in shown


def test_a_pipe_gets_every_byte_and_a_terminal_obeys_none(run: Run, typing: Run, ran: str) -> None:
    words = ["logs", "-t", ran, "Nested", "--nested", "Task_1"]
    assert "\x1b[31mred" in run("pyanamo.py", *words).stdout
    shown = typing(*words).stdout
    assert "\x1b[31m" not in shown
    assert "\\x1b[31mred" in shown


def test_names_that_mean_nothing_are_said(run: Run, ran: str) -> None:
    ended = run("pyanamo.py", "logs", "-t", ran, "Single", "Nobody")
    assert (ended.returncode, ended.stdout) == (2, "")
    ended = run("pyanamo.py", "logs", "-t", ran, "Nested", "--nested", "Task_9")
    assert ended.returncode == 2
    assert re.search(r"Nested \(item \d+\) has no nested task Task_9", ended.stderr)


def test_a_task_that_has_not_ended_has_no_log(run: Run, small: Any) -> None:
    table = small(workflow.item("Later"))
    ended = run("pyanamo.py", "logs", "-t", table.name, "Later")
    assert ended.returncode == 2
    assert "todo) has no log yet" in ended.stderr


def test_a_log_that_is_gone_is_named_and_the_others_are_shown(
    run: Run, ran: str, ran_table: Table, s3_client: S3Client
) -> None:
    (item,) = (item for item in ran_table.items() if item["taskID"] == "Single")
    bucket, _, key = item["Log"]["Task_0"]["S3"].removeprefix("s3://").partition("/")
    log = s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3_client.delete_object(Bucket=bucket, Key=key)
    try:
        ended = run("pyanamo.py", "logs", "-t", ran, "Single", "Nested", "--stderr")
    finally:
        s3_client.put_object(Bucket=bucket, Key=key, Body=log)
    assert ended.returncode == 3
    assert f"s3://{bucket}/{key}: the log no longer exists in S3" in ended.stderr
    assert "err 3" in ended.stdout


def test_200_megabytes_stream_through_a_few(
    run: Run, small: Any, s3_client: S3Client, bucket: str
) -> None:
    size = 200 << 20
    head = f"command: yes\n\n== stdout, {size} bytes ==\n".encode()
    body = head + b"0123456\n" * (size // 8) + b"\n== stderr, 0 bytes ==\n\n"
    body = gzip.compress(body, 1)
    s3_client.put_object(Bucket=bucket, Key="big.log.gz", Body=body)
    address: dict[str, Any] = {"S3": f"s3://{bucket}/big.log.gz", "S3_Range": f"0-{len(body) - 1}"}
    table = small(workflow.item("Big", "done", Log=workflow.entry("Big", **address)))
    code = (
        "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:], stdout=-3); "
        "print(r.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = ["python", str(ROOT / "pyanamo.py"), "logs", "-t", table.name, "Big"]
    for more in ([], ["--tail", "3"]):
        ended = run("python", "-c", code, *words, *more)
        returned, kilobytes = map(int, ended.stdout.split())
        assert returned == 0, ended.stderr
        assert kilobytes < 150_000
    shown = run("pyanamo.py", "logs", "-t", table.name, "Big", "--tail", "2").stdout
    assert "bytes ==\n0123456\n0123456\n" in shown


def test_a_connection_that_breaks_off_is_taken_up_again(
    run: Run, ran: str, s3: str, make_proxy: Callable[[str], Proxy]
) -> None:
    whole = run("pyanamo.py", "logs", "-t", ran, "Single").stdout
    proxy = make_proxy(s3)
    spans: list[str] = []

    def breaking_off(request: Any, forward: Any) -> Reply:
        spans.append(request.headers["Range"])
        if len(spans) == 1:
            request.headers.replace_header("Range", "bytes=0-99")
        reply: Reply = forward(request)
        for name in [name for name in reply.headers if "checksum" in name.lower()]:
            del reply.headers[name]
        return reply

    proxy.behaviour = breaking_off
    ended = run("pyanamo.py", "logs", "-t", ran, "Single", env={"AWS_ENDPOINT_URL_S3": proxy.url})
    assert ended.stdout == whole
    assert [span.split("-")[0] for span in spans] == ["bytes=0", "bytes=100"]


def test_what_is_not_a_log_is_said(run: Run, small: Any, s3_client: S3Client, bucket: str) -> None:
    log = gzip.compress(b"a log" * 1000)
    for key, body in (("text", b"not gzip"), ("half", log[: len(log) // 2])):
        s3_client.put_object(Bucket=bucket, Key=key, Body=body)
        address: dict[str, Any] = {"S3": f"s3://{bucket}/{key}", "S3_Range": ""}
        table = small(workflow.item("One", "done", Log=workflow.entry("One", **address)))
        ended = run("pyanamo.py", "logs", "-t", table.name, "One")
        assert ended.returncode == 3
        assert f"s3://{bucket}/{key}" in ended.stderr


def test_why_an_item_has_no_log_is_said(run: Run, small: Any) -> None:
    log = {"Status": "Execution Failed: abandoned after 10 claims", "Exit_Code": 137}
    reason = "10 workers died while holding it; does it use up the memory?"
    table = small(workflow.item("S1", "failed", Log={**log, "stderr": reason}))
    ended = run("pyanamo.py", "logs", "-t", table.name, "S1")
    assert ended.returncode == 2
    assert f"has no log: abandoned after 10 claims; {reason}" in ended.stderr
    # So `status` does not advise it
    shown = run("pyanamo.py", "status", "-t", table.name).stdout
    assert "run them again once the cause is fixed" in shown
    assert "read the stderr" not in shown


def test_items_to_follow_in_a_state_that_none_is_in_are_an_error(run: Run, small: Any) -> None:
    table = small(workflow.item("S1", "done"))
    ended = run("pyanamo.py", "logs", "-t", table.name, "--state", "locked", "--follow")
    assert ended.returncode == 2
    assert "no item is in state locked" in ended.stderr


def test_another_tasks_failure_is_no_reason_for_the_lack_of_a_log(run: Run, small: Any) -> None:
    item = workflow.item("S1", "locked", 2)
    item["TaskScript"]["Task_0"]["Status"] = "failed"
    item["Log"] = {"Task_0": workflow.entry("S1", 1, "Execution Failed: exit 1", "boom")}
    table = small(item)
    ended = run("pyanamo.py", "logs", "-t", table.name, "S1", "--nested", "Task_1")
    assert ended.returncode == 2
    assert ended.stderr.rstrip().endswith("has no log yet")
