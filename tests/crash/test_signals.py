"""SIGTERM and SIGINT: what ended is recorded, what did not is given back, in time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.fleet import Fleet, children, tree
from tests.support.proxy import Forward, Holding, Proxy, Reply, Request, failing, on
from tests.support.scripts import ROOT, Running
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("processes", ["1", "3"])
def test_a_signal_gives_items_back_with_their_progress(
    number: int, code: int, processes: str, fleet: Fleet, find_faults: Callable[[], list[str]]
) -> None:
    fleet.add([f"{fleet.ledger.script}|0,60,0"] * 3, "-n", ",")
    worker = fleet.start("-i", processes)
    eventually(lambda: any(item.get("Ended_Tasks") == 1 for item in fleet.table.items()))
    worker.signal(number)
    ended = worker.wait(20)
    assert ended.returncode == code, ended.stderr
    items = fleet.table.items()
    assert {item["ItemState"] for item in items} == {"todo"}
    assert not any("InstanceID" in item for item in items)
    assert {item.get("Attempts", 0) for item in items} == {0}
    assert not any("Lease_Expires" in item for item in items)
    recorded = [item["TaskScript"]["Task_0"]["Status"] == "done" for item in items]
    assert any(recorded)
    assert find_faults() == []


def test_nohup_is_respected(fleet: Fleet) -> None:
    fleet.add([f"{fleet.ledger.script}|1"], "-n", ",")
    worker = fleet.start(under=["nohup"])
    eventually(fleet.ledger.starts)
    os.killpg(worker.pid, signal.SIGHUP)
    assert worker.wait().returncode == 0
    assert fleet.table.states() == {"done": 1}


def test_without_releasing_the_items_stay_locked(fleet: Fleet) -> None:
    fleet.guard = "release"
    fleet.add([f"{fleet.ledger.script}|60"], "-n", ",")
    worker = fleet.start()
    eventually(fleet.ledger.starts)
    worker.signal(signal.SIGTERM)
    worker.wait()
    assert fleet.table.states() == {"locked": 1}


def test_a_signal_to_the_whole_group_counts_once(fleet: Fleet, tmp_path: Path) -> None:
    mark = tmp_path / "told"
    fleet.add([f"bash -c 'trap \"sleep 1; touch {mark}; exit 0\" TERM; echo; sleep 60 & wait'"])
    worker = fleet.start("-i", "2")
    eventually(lambda: fleet.table.states()["locked"] == 1 and has_task(worker))
    os.killpg(worker.pid, signal.SIGTERM)
    assert worker.wait().returncode == 143
    # The task had its grace, ended by itself and well: that is on record
    assert mark.exists()
    assert fleet.table.states() == {"done": 1}


def has_task(worker: Running) -> bool:
    """Whether a task of the worker runs a `sleep`."""
    for process in tree(worker):
        # A worker process that has nothing to do may end meanwhile
        with suppress(psutil.NoSuchProcess):
            if process.name() == "sleep":
                return True
    return False


def test_a_task_that_ignores_sigterm_is_killed_after_the_grace(
    fleet: Fleet, tmp_path: Path
) -> None:
    mark = tmp_path / "ready"
    fleet.add([f"bash -c 'trap \"\" TERM; touch {mark}; while true; do sleep 0.1; done'"])
    worker = fleet.start("--grace", "1")
    eventually(mark.exists)
    worker.signal(signal.SIGTERM)
    assert worker.wait(20).returncode == 143
    assert fleet.table.states() == {"todo": 1}


def test_a_second_signal_skips_the_grace(fleet: Fleet, tmp_path: Path) -> None:
    mark = tmp_path / "ready"
    fleet.add([f"bash -c 'trap \"\" TERM; touch {mark}; while true; do sleep 0.1; done'"])
    worker = fleet.start("--grace", "600")
    eventually(mark.exists)
    worker.signal(signal.SIGINT)
    eventually(lambda: "SIGINT: stopping the tasks, which have 600 s to end; " in worker.stderr)
    assert "; Ctrl-C again kills them\n" in worker.stderr
    worker.signal(signal.SIGTERM)
    assert worker.wait(20).returncode == 130
    assert fleet.table.states() == {"todo": 1}


def test_no_task_survives_its_worker(fleet: Fleet, tmp_path: Path) -> None:
    mark = tmp_path / "ready"
    fleet.add([f"bash -c '(trap \"\" TERM; touch {mark}; exec sleep 60) & exec sleep 60'"])
    worker = fleet.start("--grace", "1")
    eventually(mark.exists)
    worker.signal(signal.SIGTERM)
    worker.wait(20)
    assert fleet.scripts.alive() == []


@pytest.mark.parametrize("operation", ["Query", "UpdateItem", "DescribeTable"])
def test_a_signal_in_the_middle_of_a_request_is_obeyed(
    operation: str,
    fleet: Fleet,
    dynamodb: str,
    make_proxy: Callable[[str], Proxy],
) -> None:
    """UpdateItem is the claim: it is answered after the signal, and the item given back."""
    proxy = make_proxy(dynamodb)
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    fleet.add([f"{fleet.ledger.script}|60"], "-n", ",")
    under_way = Holding()
    proxy.behaviour = on(operation, under_way, first=1)
    worker = fleet.start()
    eventually(lambda: under_way.seen)
    # To all of them, so that it has come when the request is answered
    os.killpg(worker.pid, signal.SIGTERM)
    under_way.release()
    assert worker.wait(20).returncode == 143
    assert fleet.table.states() == {"todo": 1}
    assert fleet.ledger.starts() == []


def test_a_failure_in_an_item_that_goes_back_is_not_said_to_be_tried_again(fleet: Fleet) -> None:
    fleet.add(["bash -c 'sleep $0; exit 3'|0,600"], "-n", ",")
    worker = fleet.start("-n", "2")
    eventually(lambda: fleet.table.items()[0].get("Ended_Tasks") == 1, 60)
    worker.signal(signal.SIGTERM)
    ended = worker.wait()
    assert ended.returncode == 143
    assert "items: 1 released; tasks: 0 done, 1 failed\n" in ended.stderr
    fleet.table.client.update_item(
        TableName=fleet.table.name,
        Key={"itemID": {"N": str(fleet.table.items()[0]["itemID"])}},
        UpdateExpression="SET TaskScript.Task_1.Script = :script",
        ExpressionAttributeValues={":script": {"S": "true"}},
    )
    ended = fleet.start().wait()
    assert ended.returncode == 1
    assert "  1 of 2 tasks done" in ended.stderr
    assert "  a task failed in an earlier claim\n" in ended.stderr
    *_, last = ended.stderr.splitlines()
    command = last.partition("to see why tasks failed: ")[2]
    shown = fleet.scripts.run("bash", "-c", command, cwd=ROOT)
    assert shown.returncode == 0, shown.stderr
    assert "1 failed task, by cause" in shown.stdout


def test_a_signal_while_a_log_is_on_its_way_loses_no_outcome(
    fleet: Fleet, s3: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(s3)
    fleet.environment["AWS_ENDPOINT_URL_S3"] = proxy.url
    held = Holding()
    proxy.behaviour = lambda request, forward: (
        held(request, forward) if request.is_upload else forward(request)
    )
    fleet.add(["echo done"])
    worker = fleet.start()
    eventually(lambda: held.seen)
    worker.signal(signal.SIGTERM)
    held.release()
    assert worker.wait(20).returncode == 143
    assert fleet.table.states() == {"done": 1}


def test_a_signal_to_the_parent_is_obeyed_while_the_last_log_waits_for_s3(
    fleet: Fleet, s3: str, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    """The table is finished, so the main thread only waits for what is still to be written."""
    looks = [time.monotonic()]
    database = make_proxy(dynamodb)
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = database.url

    def noting(request: Request, forward: Forward) -> Reply | None:
        if request.operation == "Query":
            looks.append(time.monotonic())
        return forward(request)

    database.behaviour = noting
    proxy = make_proxy(s3)
    fleet.environment["AWS_ENDPOINT_URL_S3"] = proxy.url
    slow_down = failing("SlowDown", 503)
    proxy.behaviour = lambda request, forward: (
        slow_down(request, forward) if request.is_upload else forward(request)
    )
    fleet.add(["echo done"])
    worker = fleet.start("--grace", "3")
    eventually(lambda: "logs:" in worker.stderr)
    # It looks once more after a second, and then no more
    eventually(lambda: time.monotonic() > looks[-1] + 2)
    worker.signal(signal.SIGTERM)
    ended = worker.wait(20)
    assert ended.returncode == 143
    assert "log kept in" in ended.stderr
    assert fleet.table.states() == {"done": 1}


SPARSE = 'bash -c "truncate -s 50G /dev/fd/1; touch {mark}"'
"""A task with more output than can be packed in minutes, and little on disk."""


def stop_while_packing(fleet: Fleet, mark: Path, number: int) -> int:
    """Send a signal to the parent of a process that packs a log; how the parent ended."""
    fleet.add([SPARSE.format(mark=mark)])
    worker = fleet.start("--grace", "2")
    eventually(mark.exists)
    (process,) = children(worker)
    eventually(lambda: not process.children())
    worker.signal(number)
    code = worker.wait().returncode
    eventually(lambda: not process.is_running())
    return code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_item_whose_log_takes_too_long_to_pack_goes_back(
    number: int, code: int, fleet: Fleet, tmp_path: Path
) -> None:
    assert stop_while_packing(fleet, tmp_path / "mark", number) == code
    (item,) = fleet.table.items()
    assert (item["ItemState"], item.get("Attempts", 0), item.get("Log", {})) == ("todo", 0, {})


def test_without_leaving_the_recorder_the_item_stays_locked(fleet: Fleet, tmp_path: Path) -> None:
    fleet.guard = "leaving"
    assert stop_while_packing(fleet, tmp_path / "mark", signal.SIGTERM) == 143
    assert fleet.table.states() == {"locked": 1}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_item_whose_log_is_still_on_its_way_goes_back_and_leaves_no_file(
    number: int, code: int, fleet: Fleet, store: Proxy
) -> None:
    held = Holding()
    store.behaviour = lambda request, forward: (
        held(request, forward) if "partNumber=2" in request.path else forward(request)
    )
    fleet.environment["TMPDIR"] = str(fleet.folder / "temporary")
    (fleet.folder / "temporary").mkdir()
    fleet.add(["head -c 20000000 /dev/urandom"])
    worker = fleet.start("--grace", "2")
    eventually(lambda: held.seen, 60)
    (process,) = children(worker)
    worker.signal(number)
    assert worker.wait().returncode == code
    eventually(lambda: not process.is_running())
    held.release()
    assert list((fleet.folder / "temporary").iterdir()) == []
    (item,) = fleet.table.items()
    assert (item["ItemState"], item.get("Attempts", 0), item.get("Log", {})) == ("todo", 0, {})


def test_as_pid_1_signals_are_obeyed_and_orphans_reaped(fleet: Fleet, tmp_path: Path) -> None:
    """`unshare` makes the worker PID 1 of a namespace, as in a container without an init."""
    mark = tmp_path / "ready"
    orphan = "(sleep 0.2 &)"
    fleet.add([f"bash -c '{orphan}; touch {mark}; sleep 60'"])
    worker = fleet.start("-i", "2", under=["unshare", "--pid", "--fork", "--kill-child"])
    eventually(mark.exists)
    pid_1 = inner(worker.pid)
    eventually(lambda: not zombies(pid_1))
    os.kill(pid_1, signal.SIGTERM)
    worker.wait(20)
    assert fleet.table.states() == {"todo": 1}


def inner(pid: int) -> int:
    """The process that `unshare` started."""
    return int(psutil.Process(pid).children()[0].pid)


def zombies(pid: int) -> list[int]:
    """Children of a process that nobody has waited for."""
    found = []
    for process in psutil.Process(pid).children():
        # It may be waited for meanwhile
        with suppress(psutil.NoSuchProcess):
            if process.status() == psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
