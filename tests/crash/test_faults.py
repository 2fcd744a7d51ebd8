"""DynamoDB, S3 and the disk on a bad day: no outcome is lost, no item ends in a wrong state."""

from __future__ import annotations

import gzip
import random
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Fleet
from tests.support.proxy import (
    Behaviour,
    Forward,
    Proxy,
    Reply,
    Request,
    cutting,
    dropping_reply,
    failing,
    garbling,
    on,
    passing,
)
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FindFaults = Callable[[], list[str]]
THROTTLED = failing("ProvisionedThroughputExceededException")
BROKEN = failing("InternalServerError", 500)


def at_random(share: float, seed: int, *behaviours: Behaviour) -> Behaviour:
    """Treat that share of the writes in one of these ways, and pass all else."""
    draw, lock = random.Random(seed), threading.Lock()

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        with lock:
            chosen = draw.choice(behaviours) if draw.random() < share else passing
        return (chosen if request.operation == "UpdateItem" else passing)(request, forward)

    return behaviour


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 10))]
)
def test_dropped_replies_lose_no_claim_and_no_outcome(
    seed: int, fleet: Fleet, database: Proxy, find_faults: FindFaults
) -> None:
    database.behaviour = at_random(0.2, seed, dropping_reply)
    fleet.add([f"{fleet.ledger.script}|0,0,0"] * 30, "-n", ",")
    workers = [fleet.start("-i", "2", "-q") for _ in range(2)]
    for worker in workers:
        ended = worker.wait()
        assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 30}
    assert {item["Attempts"] for item in fleet.table.items()} == {1}
    assert len(fleet.ledger.starts()) == 90
    assert find_faults() == []


def test_without_recognition_dropped_replies_leave_items_locked(
    fleet: Fleet, database: Proxy
) -> None:
    fleet.guard = "recognition"
    # At random, only results might lose their replies: they are written all the same
    database.behaviour = on("UpdateItem", dropping_reply, first=1)
    fleet.add([f"{fleet.ledger.script}|0,0,0"] * 30, "-n", ",")
    ended = fleet.start("-i", "2", "-q").wait()
    assert fleet.table.states() == {"done": 29, "locked": 1}, ended.stderr


@pytest.mark.parametrize(
    "behaviours", [[THROTTLED], [BROKEN], [cutting], [THROTTLED, BROKEN, cutting]]
)
def test_a_database_that_refuses_half_of_the_writes_only_slows_down(
    behaviours: list[Behaviour], fleet: Fleet, database: Proxy, find_faults: FindFaults
) -> None:
    database.behaviour = at_random(0.5, 1, *behaviours)
    fleet.add([f"{fleet.ledger.script}|0,0"] * 15, "-n", ",")
    ended = fleet.start("-i", "2", "-q").wait(120)
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 15}
    assert len(fleet.ledger.starts()) == 30
    assert find_faults() == []


GARBLED = [b"\xff\xfe{}", b"[]", b"null", b"", b'{"Attributes": {"it', b"<p>Please log in</p>"]
"""Bodies that are no JSON object."""


def is_renewal(request: Request) -> bool:
    """Whether a request does nothing but renew a lease."""
    return (
        request.operation == "UpdateItem"
        and request.json["UpdateExpression"] == "SET Lease_Expires = :expires"
    )


def test_garbled_replies_to_renewals_end_no_heartbeat(fleet: Fleet, database: Proxy) -> None:
    bodies = iter(GARBLED)
    renewed = 0

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        nonlocal renewed
        if not is_renewal(request):
            return forward(request)
        if body := next(bodies, None):
            return garbling(body)(request, forward)
        renewed += 1
        return forward(request)

    database.behaviour = behaviour
    fleet.add([f"{fleet.ledger.script}|600"], "-n", ",")
    worker = fleet.start("--lease", "2")
    eventually(lambda: renewed >= 2, 60)
    assert "the response cannot be read" in worker.stderr
    worker.signal(signal.SIGTERM)
    assert worker.wait().returncode == 143
    assert fleet.table.states() == {"todo": 1}
    assert len(fleet.ledger.starts()) == 1


@pytest.mark.parametrize("executed", [True, False])
def test_garbled_replies_lose_no_claim_and_no_outcome(
    executed: bool, fleet: Fleet, database: Proxy, find_faults: FindFaults
) -> None:
    garbled = [garbling(body, executed=executed) for body in GARBLED]
    database.behaviour = at_random(0.3, 2, *garbled)
    fleet.add([f"{fleet.ledger.script}|0,0,0"] * 20, "-n", ",")
    ended = fleet.start("-i", "2", "-q").wait(120)
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 20}
    assert {item["Attempts"] for item in fleet.table.items()} == {1}
    assert len(fleet.ledger.starts()) == 60
    assert find_faults() == []


def test_a_recorder_that_meets_what_nobody_expected_keeps_no_item(fleet: Fleet) -> None:
    fleet.guard = "recording"
    fleet.add([f"{fleet.ledger.script}|0,0"] * 3, "-n", ",")
    ended = fleet.start().wait()
    assert ended.returncode == 3
    assert "internal error: RuntimeError: not expected" in ended.stderr
    assert fleet.table.states() == {"todo": 3}
    assert {item.get("Attempts", 0) for item in fleet.table.items()} == {0}


def lose_the_database_in_mid_task(
    fleet: Fleet, database: Proxy
) -> subprocess.CompletedProcess[str]:
    """DynamoDB is away when a task ends, and back once recording it has been tried."""
    fleet.add([f"{fleet.ledger.script}|0.5"], "-n", ",")
    worker = fleet.start("-v")
    eventually(fleet.ledger.starts)
    with database.down():
        eventually(lambda: "recording" in worker.stderr or worker.process.poll() is not None)
    return worker.wait()


def test_an_outcome_waits_for_the_database(
    fleet: Fleet, database: Proxy, find_faults: FindFaults
) -> None:
    ended = lose_the_database_in_mid_task(fleet, database)
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 1}
    assert find_faults() == []


def test_without_retries_the_outcome_is_lost(fleet: Fleet, database: Proxy) -> None:
    fleet.guard = "retry"
    ended = lose_the_database_in_mid_task(fleet, database)
    assert ended.returncode == 3
    assert fleet.table.states()["done"] == 0


def test_expired_credentials_are_read_again(
    fleet: Fleet, database: Proxy, find_faults: FindFaults, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    write_credentials(file, "OLDKEY")
    fleet.environment |= {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
    }
    fleet.add([f"{fleet.ledger.script}|0.5"], "-n", ",")
    worker = fleet.start()
    eventually(fleet.ledger.starts)
    database.behaviour = lambda request, forward: (
        failing("ExpiredTokenException")(request, forward)
        if "OLDKEY" in request.headers["Authorization"]
        else forward(request)
    )
    eventually(lambda: "expired" in worker.stderr.lower() or "renew" in worker.stderr)
    write_credentials(file, "NEWKEY")
    ended = worker.wait()
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 1}
    assert find_faults() == []


def write_credentials(file: Path, key: str) -> None:
    """A shared credentials file with this access key."""
    file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")


def log_of(entry: dict[str, str], client: S3Client) -> bytes:
    """A task's whole log, by what its entry says."""
    bucket, _, key = entry["S3"].removeprefix("s3://").partition("/")
    reply = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={entry['S3_Range']}")
    return gzip.decompress(reply["Body"].read())


def test_a_log_waits_for_s3(fleet: Fleet, store: Proxy, s3_client: S3Client) -> None:
    fleet.add(["bash -c 'sleep 0.5; echo precious'"])
    worker = fleet.start("-v")
    eventually(lambda: fleet.table.states()["locked"] == 1)
    with store.down():
        eventually(lambda: "logs:" in worker.stderr)
        assert fleet.table.states() == {"locked": 1}
    ended = worker.wait()
    assert ended.returncode == 0, ended.stderr
    (item,) = fleet.table.items()
    assert item["ItemState"] == "done"
    assert b"precious" in log_of(item["Log"], s3_client)


LARGE = "bash -c 'echo precious $0; head -c 9000000 /dev/urandom'"
"""A task whose log goes up in parts."""


def refuse_first_logs(
    fleet: Fleet, store: Proxy, refused: int, script: str = "echo precious"
) -> subprocess.CompletedProcess[str]:
    """S3 denies so many uploads, in a run of six items."""
    denied = failing("AccessDenied", 403)
    left = iter(range(refused))
    store.behaviour = lambda request, forward: (
        denied(request, forward)
        if request.is_upload and next(left, None) is not None
        else forward(request)
    )
    fleet.add([f"{script} {number}" for number in range(6)])
    return fleet.start().wait()


@pytest.mark.parametrize("script", ["echo precious", LARGE], ids=["small", "large"])
def test_a_log_that_s3_refuses_is_kept_and_delivered_later(
    fleet: Fleet, store: Proxy, s3_client: S3Client, script: str
) -> None:
    ended = refuse_first_logs(fleet, store, 1, script)
    assert ended.returncode == 0, ended.stderr
    assert "log kept in" in ended.stderr
    assert fleet.table.states() == {"done": 6}
    entries = [item["Log"] for item in fleet.table.items()]
    assert sum("AccessDenied; kept at" in entry.get("S3_Note", "") for entry in entries) == 1
    assert all(b"\nprecious" in log_of(entry, s3_client) for entry in entries)


@pytest.mark.parametrize("script", ["echo precious", LARGE], ids=["small", "large"])
def test_a_log_is_sent_again_when_the_answer_is_not_that_of_s3(
    fleet: Fleet, store: Proxy, s3_client: S3Client, script: str
) -> None:
    uploads = iter(range(1))
    page = garbling(b"<p>Please log in</p>", executed=False)
    store.behaviour = lambda request, forward: (
        page(request, forward)
        if (request.is_upload or request.method == "POST") and next(uploads, None) is not None
        else forward(request)
    )
    fleet.add([script])
    ended = fleet.start().wait()
    assert ended.returncode == 0, ended.stderr
    assert b"\nprecious" in log_of(fleet.table.items()[0]["Log"], s3_client)


def test_without_delivery_the_log_is_lost(fleet: Fleet, store: Proxy, s3_client: S3Client) -> None:
    fleet.guard = "delivery"
    refuse_first_logs(fleet, store, refused=1)
    entries = [item["Log"] for item in fleet.table.items()]
    (refused,) = [entry for entry in entries if "S3_Note" in entry]
    with pytest.raises(s3_client.exceptions.NoSuchKey):
        log_of(refused, s3_client)


@pytest.mark.parametrize("script", ["echo precious", LARGE], ids=["small", "large"])
def test_a_worker_that_cannot_deliver_logs_claims_no_more_and_says_where_they_are(
    fleet: Fleet, store: Proxy, script: str
) -> None:
    ended = refuse_first_logs(fleet, store, 1000, script)
    assert ended.returncode == 3
    kept = [line for line in ended.stderr.splitlines() if "; kept in" in line]
    # One more item may run while the first log is refused
    assert 1 <= len(kept) == fleet.table.states()["done"] <= 2
    for line in kept:
        assert b"\nprecious" in gzip.decompress(Path(line.rpartition(" ")[2]).read_bytes())
    assert fleet.table.states()["todo"] == 6 - len(kept)
    assert "Traceback" not in ended.stderr


def test_a_kept_log_that_something_deletes_is_named_as_lost(
    fleet: Fleet, store: Proxy, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    fleet.environment["TMPDIR"] = str(temporary)
    kept: list[Path] = []
    denied, slow = failing("AccessDenied", 403), failing("SlowDown", 503)
    refused: list[str] = []

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        if request.is_upload and not refused:
            refused.append(request.path)
            return denied(request, forward)
        if request.path not in refused:
            return forward(request)
        # The log is kept by now, and offered again
        for file in temporary.glob("pyanamo-*/*.log.gz"):
            kept.append(file)
            file.unlink()
        return slow(request, forward)

    store.behaviour = behaviour
    fleet.add(["echo precious"] * 3)
    ended = fleet.start().wait()
    (lost,) = kept
    assert ended.returncode == 3, ended.stderr
    assert f"log could not be uploaded and is lost: {lost} was deleted" in ended.stderr
    assert "; kept in" not in ended.stderr
    assert fleet.table.states() == {"done": 3}


def test_a_bucket_that_goes_away_stops_the_worker_not_the_record(
    fleet: Fleet, store: Proxy
) -> None:
    gone = failing("NoSuchBucket", 404)
    store.behaviour = lambda request, forward: (
        gone(request, forward) if request.is_upload else forward(request)
    )
    fleet.add(["true"] * 6)
    ended = fleet.start().wait()
    assert ended.returncode == 3
    assert f"bucket {fleet.bucket} does not exist" in ended.stderr
    states = fleet.table.states()
    assert 1 <= states["done"] <= 2
    assert states["todo"] == 6 - states["done"]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of so many megabytes."""
    with ExitStack() as stack:

        def mounted(megabytes: int) -> Path:
            folder = tmp_path / f"disk-of-{megabytes}-MB"
            folder.mkdir()
            size = f"size={megabytes}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
            # Lazily: what a failed test left running may still have files there
            stack.callback(lambda: subprocess.run(["umount", "--lazy", folder], check=True))
            return folder

        yield mounted


@pytest.fixture
def small_disk(mount: Callable[[int], Path]) -> Path:
    """A file system of 4 MB."""
    return mount(4)


FILLING = "head -c 30000000 /dev/urandom"
"""A task that fills a small disk."""

LOGGED = "head -c 9000000 /dev/urandom"
"""A task whose output has room on a disk of 12 MB, but not the packed log beside it."""


def filling_once(fleet: Fleet, disk: Path) -> str:
    """A task that fills the disk with a file of its own, the first time."""
    once = fleet.folder / "once"
    fill = f"if ! test -e {once}; then touch {once}; head -c 9000000 /dev/zero >{disk}/ballast; fi"
    return f"bash -c '{fill}; head -c 1000000 /dev/urandom'"


@pytest.mark.parametrize(
    ("script", "reason"),
    [(FILLING, "the disk is full"), (LOGGED, "a log could not be written: [Errno 28]")],
)
def test_an_item_that_fills_each_disk_fails_in_the_end_and_says_why(
    fleet: Fleet, mount: Callable[[int], Path], script: str, reason: str
) -> None:
    fleet.environment["TMPDIR"] = str(mount(12))
    fleet.add([script, "true", "true"])
    ended = fleet.start("--max-attempts", "2").wait()
    assert ended.returncode == 1, ended.stderr
    assert reason in ended.stderr
    assert fleet.table.states() == {"done": 2, "failed": 1}
    (item,) = (item for item in fleet.table.items() if item["ItemState"] == "failed")
    assert item["Attempts"] == 3
    assert item["Log"]["Status"] == "Execution Failed: host errors in 2 claims"
    assert item["Log"]["stderr"].startswith(f"2 of 2 claims ended in a host error: {reason}")
    again = ["requeue", "-t", fleet.table.name, "--state", "failed", "--yes"]
    assert fleet.scripts.run("pyanamo.py", *again).returncode == 0
    (item,) = (item for item in fleet.table.items() if item["ItemState"] == "todo")
    assert item.get("Attempts", 0) == 0
    assert not {"Host_Error", "Host_Errors"} & item.keys()


def test_without_counting_host_errors_it_never_fails(fleet: Fleet, small_disk: Path) -> None:
    fleet.guard = "host_count"
    fleet.environment["TMPDIR"] = str(small_disk)
    fleet.add([FILLING])
    ended = fleet.start("--max-attempts", "1").wait()
    assert ended.returncode == 3, ended.stderr
    (item,) = fleet.table.items()
    assert (item["ItemState"], item["Attempts"]) == ("todo", 0)


@pytest.mark.parametrize("guard", [None, "recovery"])
def test_a_full_disk_gives_the_item_back(fleet: Fleet, small_disk: Path, guard: str | None) -> None:
    """The worker goes on when there is space again, unless it gives up at once."""
    fleet.guard = guard
    fleet.environment["TMPDIR"] = str(small_disk)
    fleet.add([filling_once(fleet, small_disk)])
    worker = fleet.start()
    eventually(lambda: "waiting until" in worker.stderr, 60)
    (item,) = fleet.table.items()
    assert (item["ItemState"], item["Attempts"]) == ("todo", 1)
    full = f"the disk is full (TMPDIR, {small_disk})"
    assert (item["Host_Error"], item["Host_Errors"]) == (full, 1)
    (small_disk / "ballast").unlink()
    ended = worker.wait()
    (item,) = fleet.table.items()
    assert (ended.returncode, item["ItemState"]) == ((3, "todo") if guard else (0, "done"))
    assert ("Host_Error" in item) is bool(guard)


def test_a_worker_that_waits_for_its_host_ends_when_it_is_told_to(
    fleet: Fleet, small_disk: Path
) -> None:
    fleet.environment["TMPDIR"] = str(small_disk)
    fleet.add([filling_once(fleet, small_disk)])
    worker = fleet.start()
    eventually(lambda: "waiting until" in worker.stderr, 60)
    worker.signal(15)
    assert worker.wait().returncode == 143
    assert fleet.table.states() == {"todo": 1}


def test_without_the_look_at_the_disk_the_task_is_blamed(fleet: Fleet, small_disk: Path) -> None:
    fleet.guard = "disk_check"
    fleet.environment["TMPDIR"] = str(small_disk)
    fleet.add([FILLING])
    fleet.start().wait()
    assert fleet.table.states()["todo"] == 0


def test_a_machine_without_processes_gives_the_item_back(fleet: Fleet) -> None:
    """A limit of open files stands in for one of processes, which does not bind root."""
    fleet.guard = "long_wait"
    fleet.add(["true"])
    under = ["bash", "-c", 'ulimit -n 14; exec "$@"', "bash"]
    ended = fleet.start(under=under).wait()
    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "this host cannot run tasks" in ended.stderr
    (item,) = fleet.table.items()
    assert (item["ItemState"], item["Attempts"], item["Host_Errors"]) == ("todo", 1, 1)


def test_fewer_processes_than_wanted_do_the_work_and_say_so(fleet: Fleet) -> None:
    fleet.add(["true"] * 4)
    under = ["bash", "-c", 'ulimit -n 40; exec "$@"', "bash"]
    ended = fleet.start("-i", "40", under=under).wait()
    assert ended.returncode == 3, ended.stderr
    assert "of 40 run): [Errno 24]" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert fleet.table.states() == {"done": 4}


def test_a_process_left_behind_may_empty_its_output(fleet: Fleet, s3_client: S3Client) -> None:
    emptying = "for k in $(seq 300); do head -c 3000000 /dev/urandom; : >/dev/stdout; done"
    fleet.add([f"bash -c '{emptying} & head -c 3000000 /dev/urandom'"] * 8)
    ended = fleet.start("-i", "2").wait()
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 8}
    for item in fleet.table.items():
        log = log_of(item["Log"], s3_client)
        heading = re.search(rb"\n== stdout, (\d+) bytes ==\n", log)
        assert heading
        assert log[heading.end() + int(heading[1]) :].startswith(b"\n== stderr, 0 bytes ==\n")


def test_on_retry_only_the_failed_nested_tasks_run(fleet: Fleet, find_faults: FindFaults) -> None:
    mark = fleet.folder / "second-try"
    line = f'bash -c|"exit 0"@"test -e {mark} || (touch {mark}; exit 7)"@"exit 0"'
    fleet.add([line], "-n", "@")
    ended = fleet.start("--retries", "2").wait()
    assert ended.returncode == 0, ended.stderr
    (item,) = fleet.table.items()
    assert (item["ItemState"], item["Failures"], item["Attempts"]) == ("done", 1, 1)
    assert [fault for fault in find_faults() if "Task_1" not in fault] == []


def test_a_retry_leaves_what_another_tool_keeps_in_nested_tasks(fleet: Fleet) -> None:
    mark = fleet.folder / "second-try"
    fleet.add([f'bash -c|"exit 0"@"test -e {mark} || (touch {mark}; exit 7)"'], "-n", "@")
    fleet.table.client.update_item(
        TableName=fleet.table.name,
        Key={"itemID": {"N": str(fleet.table.items()[0]["itemID"])}},
        UpdateExpression="SET TaskScript.Task_0.#Owner = :owner, TaskScript.Task_1.#Owner = :owner",
        ExpressionAttributeNames={"#Owner": "Owner"},
        ExpressionAttributeValues={":owner": {"S": "another tool"}},
    )
    ended = fleet.start("--retries", "2").wait()
    assert ended.returncode == 0, ended.stderr
    (item,) = fleet.table.items()
    tasks = item["TaskScript"].values()
    assert {(task["Status"], task["Owner"]) for task in tasks} == {("done", "another tool")}


def test_an_item_fails_after_its_retries(fleet: Fleet) -> None:
    fleet.add(["bash -c 'exit 9'"])
    ended = fleet.start("--retries", "2").wait()
    assert ended.returncode == 1, ended.stderr
    (item,) = fleet.table.items()
    assert (item["ItemState"], item["Failures"]) == ("failed", 3)
    assert item["Log"]["Status"] == "Execution Failed: exit 9"
    assert ended.stderr.count("exit 9") == 3


def spoil(fleet: Fleet, attribute: str, value: dict[str, str]) -> int:
    """Give one item an attribute as no tool of ours writes it; its itemID."""
    item_id = int(fleet.table.items()[0]["itemID"])
    fleet.table.client.update_item(
        TableName=fleet.table.name,
        Key={"itemID": {"N": str(item_id)}},
        UpdateExpression="SET #name = :value",
        ExpressionAttributeNames={"#name": attribute},
        ExpressionAttributeValues={":value": value},
    )
    return item_id


def test_an_item_that_cannot_be_claimed_stops_nobody(fleet: Fleet) -> None:
    fleet.add(["true"] * 3)
    spoilt = spoil(fleet, "Attempts", {"S": "none"})
    ended = fleet.start().wait()
    assert ended.returncode == 3
    assert f"1 item cannot be claimed: item {spoilt}: " in ended.stderr
    assert fleet.table.states() == {"done": 2, "todo": 1}


def test_an_item_whose_results_cannot_be_written_fails_once(fleet: Fleet) -> None:
    fleet.add([f"{fleet.ledger.script}|0,0,0"] * 2, "-n", ",")
    spoilt = spoil(fleet, "Log", {"S": "NULL"})
    ended = fleet.start().wait()
    assert ended.returncode == 1, ended.stderr
    assert f"item {spoilt} has failed: " in ended.stderr
    assert fleet.table.states() == {"done": 1, "failed": 1}
    assert len(fleet.ledger.starts()) <= 6


def test_where_fewer_tasks_can_run_at_once_than_asked_for_fewer_do(fleet: Fleet) -> None:
    fleet.add(["sleep|" + ",".join(["0.2"] * 12)], "-n", ",")
    under = ["bash", "-c", 'ulimit -n 32; exec "$@"', "bash"]
    ended = fleet.start("-n", "12", under=under).wait()
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == {"done": 1}
