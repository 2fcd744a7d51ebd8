"""Hosts that have few descriptors, processes or threads to give, always or for a moment."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.fleet import Fleet, children
from tests.support.proxy import Proxy
from tests.support.scripts import Running
from tests.support.waiting import eventually


def descriptors(number: int) -> list[str]:
    """What starts a worker that may open so many files."""
    return ["bash", "-c", f'ulimit -n {number}; exec "$@"', "bash"]


def test_with_too_few_descriptors_a_worker_ends_and_says_why(fleet: Fleet) -> None:
    """Which of them it first lacks depends on versions, so each number is tried."""
    fleet.add(["true"] * 3)
    workers = [fleet.start("-q", under=descriptors(number)) for number in range(9, 16)]
    for ended in [worker.wait(120) for worker in workers]:
        assert ended.returncode == 3, ended.stderr
        *_, error = ended.stderr.splitlines()
        # The folder for temporary files is found by opening one there
        assert any(text in error for text in ("Errno 24", "ulimit -n", "temporary directory"))
        assert "internal error" not in ended.stderr
        assert "Traceback" not in ended.stderr
    assert fleet.table.states() == {"todo": 3}
    # Each worker may have claimed one before it found out
    assert sum(item.get("Attempts", 0) for item in fleet.table.items()) <= len(workers)


def processes(number: int) -> list[str]:
    """What starts a worker as a user that may have so many processes and threads; it may read what
    root may. A limit of processes does not bind root.
    """
    files = "+dac_override,+dac_read_search"
    user = ["setpriv", f"--reuid={65000 + os.getpid() % 400 + number * 1000}", "--clear-groups"]
    allowed = [f"--inh-caps={files}", f"--ambient-caps={files}"]
    return [*user, *allowed, "bash", "-c", f'ulimit -u {number}; exec "$@"', "bash"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "a worker process could not be started (0 of 1 run): [Errno 11] "),
        (2, "no thread for the heartbeat: can't start new thread; "),
        # It can do without the one for partial logs, and says so
        (4, "no thread for the recorder: can't start new thread; "),
        (5, "no process for a task: [Errno 11] "),
    ],
)
def test_with_too_few_processes_a_worker_ends_and_says_why(
    fleet: Fleet, number: int, said: str
) -> None:
    fleet.guard = "long_wait"
    fleet.add(["true"])
    ended = fleet.start("-q", under=processes(number)).wait(120)
    assert ended.returncode == 3
    assert said in ended.stderr
    *_, error = ended.stderr.splitlines()
    assert "this user, or this container, has too many processes and threads" in error
    assert "'ulimit -u NUMBER' raises the user's limit" in error
    assert "work remains" not in ended.stderr
    assert "internal error" not in ended.stderr
    assert fleet.table.states() == {"todo": 1}


TASKS = 9


@contextmanager
def no_descriptors(pid: int) -> Iterator[None]:
    """A process that can open nothing while the context is open."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def begin(fleet: Fleet) -> Running:
    """Run an item of nine tasks, four at a time, each of which ends once `end` is called for it;
    after a moment without descriptors, in which the first task ends."""
    events = fleet.folder / "events"
    wait = f"until test -e {fleet.folder}/end-$0; do sleep 0.05; done"
    script = f'bash -c "echo + >> {events}; {wait}; echo - >> {events}"'
    numbers = ",".join(map(str, range(TASKS)))
    fleet.add([f"{script.replace('$0', chr(92) + '$0')}|{numbers}"], "-n", ",")
    worker = fleet.start("-n", "4", "-v")
    eventually(lambda: events.exists() and events.read_text().count("+") == 4, 60)
    (process,) = children(worker)
    with no_descriptors(process.pid):
        end(fleet, 0)
        eventually(lambda: "3 tasks at once: no file for a task's output" in worker.stderr, 60)
    return worker


def end(fleet: Fleet, number: int) -> None:
    (fleet.folder / f"end-{number}").touch()


def running(fleet: Fleet) -> list[int]:
    """How many tasks ran at once, after each start and end of one."""
    counts = [0]
    for event in (fleet.folder / "events").read_text().split():
        counts.append(counts[-1] + (1 if event == "+" else -1))
    return counts


def test_after_a_moment_without_descriptors_as_many_tasks_run_as_before(fleet: Fleet) -> None:
    worker = begin(fleet)
    eventually(lambda: running(fleet)[-1] == 4, 60)
    for number in range(1, TASKS):
        end(fleet, number)
    assert worker.wait().returncode == 0
    assert fleet.table.states() == {"done": 1}


def test_without_widening_fewer_tasks_run_for_the_rest_of_the_item(fleet: Fleet) -> None:
    fleet.guard = "widening"
    worker = begin(fleet)
    for number in range(1, TASKS):
        end(fleet, number)
    worker.wait()
    counts = running(fleet)
    assert max(counts[counts.index(4) + 1 :]) == 3


def cut_off(fleet: Fleet, database: Proxy) -> Running:
    """A worker that looks for items, and must connect anew when it can open nothing."""
    worker = fleet.start("--idle-timeout", "600")
    eventually(lambda: database.operations["Query"] > 2, 60)
    (process,) = children(worker)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, 3))
    with database.down():
        pass
    return worker


def test_a_worker_without_a_descriptor_for_a_connection_ends(fleet: Fleet, database: Proxy) -> None:
    ended = cut_off(fleet, database).wait()
    assert ended.returncode == 3
    assert "No file descriptor is left for a connection" in ended.stderr


def test_without_the_look_for_descriptors_it_waits_for_the_network(
    fleet: Fleet, database: Proxy
) -> None:
    fleet.guard = "descriptor_check"
    worker = cut_off(fleet, database)
    eventually(lambda: "check the network" in worker.stderr, 60)
