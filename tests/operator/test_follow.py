"""The output of tasks that still run: put in S3 by their worker, followed, and not left behind."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anamo.aws.log_store import PROBE
from tests.support.fleet import Fleet, kill_machine
from tests.support.proxy import Forward, Holding, Proxy, Reply, Request
from tests.support.scripts import Running
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Run = Callable[..., Any]


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """A file that a task of `waiting` waits for."""
    return tmp_path / "go"


def waiting(go: Path) -> str:
    """A task that prints, waits, and prints again."""
    words = f"echo before $0; while [ ! -e {go} ]; do sleep 0.1; done; echo after; echo warn >&2"
    return f"bash -c {shlex.quote(words)}"


def keys(s3_client: S3Client, bucket: str) -> list[str]:
    """The names of the log objects."""
    found = s3_client.list_objects_v2(Bucket=bucket).get("Contents", [])
    names = [each["Key"].rpartition("/")[2] for each in found]
    return [name for name in names if name != PROBE]


def so_far(s3_client: S3Client, bucket: str) -> list[str]:
    return [key for key in keys(s3_client, bucket) if "so-far" in key]


def started(fleet: Fleet, *flags: str) -> Running:
    """A worker whose task's output so far is in S3, and whose item says so."""
    worker = fleet.start("--partial-logs", "1", *flags)
    eventually(lambda: "Log_So_Far" in fleet.table.items()[0], 60)
    return worker


def test_the_output_of_a_task_that_runs_is_shown_and_followed_to_its_end(
    fleet: Fleet, go: Path, run: Run, start: Run, s3_client: S3Client
) -> None:
    fleet.add([f"{waiting(go)}|chr1,chr2"], "-n", ",")
    worker = started(fleet)
    logs = ["pyanamo.py", "logs", "-t", fleet.table.name, "T0"]
    following = start(*logs, "--follow")
    eventually(lambda: "before chr1\n" in following.stdout, 60)
    shown = run(*logs)
    assert "nested task: Task_0\n" in shown.stdout
    assert "\nstatus: running\n" in shown.stdout
    assert "\noutput until: 20" in shown.stdout
    assert shown.stdout.endswith(
        "\n== stdout, 12 bytes ==\nbefore chr1\n\n== stderr, 0 bytes ==\n\n"
    )
    assert "is still running: partial output" in shown.stderr
    assert run(*logs, "--nested", "Task_1").stdout == ""
    go.touch()
    assert worker.wait().returncode == 0
    ended = following.wait()
    assert ended.returncode == 0
    lines = [line for line in ended.stdout.splitlines() if not line.startswith("==>")]
    assert lines == ["before chr1", "after", "warn", "before chr2", "after", "warn"]
    assert "is done" in ended.stderr
    assert so_far(s3_client, fleet.bucket) == []
    assert "Log_So_Far" not in fleet.table.items()[0]
    assert "no output yet" not in run(*logs).stderr


def take_over(fleet: Fleet, go: Path) -> None:
    """Have a worker's machine vanish in the middle of a task, and another end the item, which puts
    nothing by itself.
    """
    fleet.add([waiting(go)])
    kill_machine(started(fleet, "--lease", "2"))
    go.touch()
    heir = fleet.start("--lease", "2", "--idle-timeout", "20", "--partial-logs", "off")
    eventually(lambda: fleet.table.items()[0]["ItemState"] == "done", 60)
    heir.wait()


def test_what_a_worker_that_died_has_left_goes_with_the_end_of_the_item(
    fleet: Fleet, go: Path, s3_client: S3Client
) -> None:
    take_over(fleet, go)
    assert so_far(s3_client, fleet.bucket) == []
    assert len(keys(s3_client, fleet.bucket)) == 1


def test_without_the_deletion_it_would_stay(fleet: Fleet, go: Path, s3_client: S3Client) -> None:
    fleet.guard = "deletion"
    take_over(fleet, go)
    assert len(so_far(s3_client, fleet.bucket)) == 1


def hang(fleet: Fleet, go: Path, proxy: Proxy) -> int:
    """Have S3 not answer while a worker puts output so far there, for several leases, and another
    worker look for work; how often the item was claimed.
    """
    holding = Holding()

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        if request.method == "PUT" and "so-far" in request.path:
            return holding(request, forward)
        return forward(request)

    proxy.behaviour = behaviour
    fleet.add([waiting(go)])
    fleet.environment = {"AWS_ENDPOINT_URL_S3": proxy.url}
    worker = fleet.start("--lease", "2", "--partial-logs", "1")
    eventually(lambda: holding.seen, 60)
    fleet.guard = None
    first = fleet.table.items()[0]["Lease_Expires"]
    other = fleet.start("--lease", "2", "--idle-timeout", "7", "--partial-logs", "off")

    def over() -> bool:
        (item,) = fleet.table.items()
        return bool(item["Lease_Expires"] >= first + 5 or item["Attempts"] > 1)

    eventually(over, 60)
    go.touch()
    holding.release()
    worker.wait()
    other.wait()
    return int(fleet.table.items()[0]["Attempts"])


def test_no_lease_ends_while_s3_does_not_answer(
    fleet: Fleet, go: Path, s3: str, make_proxy: Callable[[str], Proxy], s3_client: S3Client
) -> None:
    assert hang(fleet, go, make_proxy(s3)) == 1
    assert so_far(s3_client, fleet.bucket) == []


def test_in_the_thread_that_renews_leases_it_would(
    fleet: Fleet, go: Path, s3: str, make_proxy: Callable[[str], Proxy]
) -> None:
    fleet.guard = "own_thread"
    assert hang(fleet, go, make_proxy(s3)) > 1


def test_without_the_permission_to_delete_nothing_is_put_and_it_is_said_once(
    fleet: Fleet, go: Path, s3: str, make_proxy: Callable[[str], Proxy], s3_client: S3Client
) -> None:
    proxy = make_proxy(s3)

    def refusing(request: Request, forward: Forward) -> Reply | None:
        if request.method != "DELETE":
            return forward(request)
        return Reply(403, Message(), b"<Error><Code>AccessDenied</Code></Error>")

    proxy.behaviour = refusing
    fleet.add([waiting(go)] * 2)
    fleet.environment = {"AWS_ENDPOINT_URL_S3": proxy.url}
    worker = fleet.start("-i", "2", "--partial-logs", "1")
    eventually(lambda: sum(each.method == "DELETE" for each in proxy.requests) == 2, 60)
    go.touch()
    ended = worker.wait()
    assert ended.returncode == 0
    assert ended.stderr.count("partial output is not uploaded to S3") == 1
    assert "--partial-logs off" in ended.stderr
    assert so_far(s3_client, fleet.bucket) == []
