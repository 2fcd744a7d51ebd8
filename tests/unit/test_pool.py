"""The processes of -i: what the parent adds up, passes on and replaces.

A pool forks and adopts orphans, so each runs in a program of its own.
"""

from __future__ import annotations

import json
import os
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.environment import environment
from tests.support.scripts import ROOT, Scripts
from tests.support.waiting import eventually

PROGRAM = """\
import json, os, signal, subprocess, sys
from time import monotonic, sleep, time
from anamo.aws.metadata import Interruption
from anamo.worker.pool import Limits, Pool
from anamo.cli.live_line import ItemLines
from anamo.worker.in_flight_claims import InFlightClaims
from anamo.worker.messages import Finished, ForceStop, ItemEnded, Said, StartNoMore, StopRequest
from anamo.worker.signals import Signals

MINE, ANOTHER = "1" * 32, "2" * 32

def ended(state, done=0, failures=(), retried=False):
    failed = tuple(failures)
    return ItemEnded("Testing", 7, "Task", MINE, state, done, failed, done, 9, 0.5, retried)

def failed():
    return ended("failed", failures=[("", "Execution Failed: exit 3")])

def said_as(value):
    return sorted(each.lock_id for each in value) if isinstance(value, set) else str(value)

def lock_ids(claims):
    return {{claim.item_id: claim.lock_id for claim in claims}}

def run_task(script):
    return subprocess.Popen(["bash", "-c", script], start_new_session=True).pid

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def die_after(connection, item_id, lock_id):
    InFlightClaims(connection.send, ()).add("Testing", item_id, lock_id)
    die()

processes, limits = 1, Limits(grace=20)
{code}
seen = []
tally = Pool(work, processes, Signals(), limits, ItemLines(seen.append, quiet=False)).run()
said = {{name: getattr(tally, name) for name in tally.__slots__}}
print(json.dumps({{**said, "seen": seen}}, default=said_as))
"""

Run = Callable[[str], dict[str, Any]]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Scripts]:
    host_metadata = environment(tmp_path, dynamodb="", s3="") | {"PYTHONPATH": str(ROOT)}
    with Scripts(host_metadata, tmp_path) as scripts:
        yield scripts


@pytest.fixture
def pool(alone: Scripts) -> Run:
    """Run a pool whose processes do what the code says; the parent's tally."""

    def run(code: str) -> dict[str, Any]:
        program = PROGRAM.format(code=textwrap.dedent(code))
        done = alone.run("python", "-c", program)
        assert done.returncode == 0, done.stderr
        tally: dict[str, Any] = json.loads(done.stdout)
        return tally

    return run


def test_what_all_processes_did_is_added_up(pool: Run) -> None:
    tally = pool("""
        processes = 3
        def work(connection, inherited):
            connection.send(ended("done", done=4))
            connection.send(ended("failed", done=1, failures=[("Task_0", "x"), ("Task_1", "y")]))
            connection.send(ended("lost"))
            connection.send(ended("todo", failures=[("Task_0", "x")], retried=True))
            connection.send(Finished(locked_by_others=5, kept=("a",)))
    """)
    assert tally["items"] == {"done": 3, "failed": 3, "lost": 3, "retried": 3}
    assert (tally["done"], tally["failed"], tally["again"]) == (15, 6, 3)
    assert tally["locked_by_others"] == 5
    assert (tally["errors"], tally["kept"], len(tally["seen"])) == ([], ["a"] * 3, 12)


def test_why_a_process_could_not_go_on_is_remembered(pool: Run) -> None:
    tally = pool("""
        processes = 2
        def work(connection, inherited):
            connection.send(Finished("access denied"))
    """)
    assert tally["errors"] == ["access denied"] * 2


def test_the_claims_of_a_process_that_nobody_can_stand_in_for_are_unfinished(pool: Run) -> None:
    tally = pool("""
        import multiprocessing.context
        fork = multiprocessing.context.ForkProcess.start
        started = []
        def start(process):
            if started:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            started.append(process)
            fork(process)
        multiprocessing.context.ForkProcess.start = start
        def work(connection, inherited):
            die_after(connection, 7, MINE)
    """)
    assert tally["unfinished"] == ["1" * 32]
    [error] = tally["errors"]
    assert error.startswith("a worker process could not be started (0 of 1 run): ")


def test_a_process_that_dies_is_replaced_and_its_claims_are_passed_on(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            if inherited:
                kept = tuple((each.table, each.item_id, each.lock_id) for each in inherited)
                connection.send(Finished(kept=kept))
                return
            claims = InFlightClaims(connection.send, inherited)
            claims.add("Testing", 7, MINE)
            claims.add("Testing", 8, ANOTHER)
            connection.send(ended("done", done=1))
            die()
    """)
    assert tally["kept"] == [["Testing", 8, "2" * 32]]
    assert (tally["errors"], tally["items"]) == ([], {"done": 1})


def test_what_dies_again_and_again_is_not_replaced_for_ever(pool: Run, tmp_path: Path) -> None:
    tally = pool(f"""
        def work(connection, inherited):
            with open({str(tmp_path / "lives")!r}, "a") as lives:
                lives.write("x")
            die_after(connection, 7, MINE)
    """)
    assert (tmp_path / "lives").read_text() == "x" * 6
    (error,) = tally["lost"]
    assert error.startswith(
        "a worker process was killed by SIGKILL; 1 of its items will be taken over"
    )


def test_a_process_that_ends_without_a_word_counts_as_dead(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            sys.exit(9)
    """)
    assert tally["lost"][0].startswith("a worker process ended with exit code 9; ")


def test_tasks_of_a_dead_process_are_ended(alone: Scripts, pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            if inherited:
                connection.send(Finished())
                return
            InFlightClaims(connection.send, ()).add("Testing", 7, MINE)
            run_task("setsid sleep 600 & timeout 1h sleep 600 & wait")
            die()
    """)
    assert tally["errors"] == []
    eventually(lambda: alone.alive() == [])


def test_what_ended_tasks_of_a_dead_process_left_behind_runs_on(pool: Run) -> None:
    tally = pool("""
        from anamo.worker.process_tree import TICK, now
        def work(connection, inherited):
            if inherited:
                connection.send(Finished())
                return
            left = run_task("exec sleep 600")
            connection.send(Said(str(left)))
            began = now()
            while now() < began + 2 * TICK:
                os.sched_yield()
            InFlightClaims(connection.send, ()).add("Testing", 7, MINE)
            connection.send(Said(str(run_task("exec sleep 600"))))
            die()
    """)
    left, killed = map(int, tally["seen"])
    assert not psutil.pid_exists(killed)
    os.kill(left, signal.SIGKILL)


def test_after_so_many_failures_in_a_row_nothing_more_is_begun(pool: Run) -> None:
    tally = pool("""
        limits = Limits(20, failures=3)
        def work(connection, inherited):
            for _ in range(3):
                connection.send(failed())
            connection.send(Finished(kept=(type(connection.recv()).__name__,)))
    """)
    assert (tally["ended_early"], tally["kept"]) == (True, ["StartNoMore"])


def test_a_success_between_failures_starts_their_count_again(pool: Run) -> None:
    tally = pool("""
        limits = Limits(20, failures=3)
        def work(connection, inherited):
            for message in [failed(), failed(), ended("done", done=1), failed(), failed()]:
                connection.send(message)
            connection.send(Finished())
    """)
    assert (tally["ended_early"], tally["failed"]) == (False, 4)


@pytest.mark.parametrize(
    "limits", ["until=monotonic()", "notice=lambda: Interruption('Spot notice', None)"]
)
def test_every_process_is_notified_of_a_limit(pool: Run, limits: str) -> None:
    tally = pool(f"""
        processes, limits = 2, Limits(20, {limits})
        def work(connection, inherited):
            connection.send(Finished(kept=(type(connection.recv()).__name__,)))
    """)
    assert (tally["ended_early"], tally["kept"]) == (True, ["StartNoMore"] * 2)


def test_a_process_that_starts_past_a_limit_is_notified_before_it_begins(pool: Run) -> None:
    tally = pool("""
        processes, limits = 2, Limits(20, until=monotonic())
        def work(connection, inherited):
            there = connection.recv() if connection.poll(0) else None
            connection.send(Finished(kept=(type(there).__name__,)))
    """)
    assert tally["kept"] == ["StartNoMore"] * 2


@pytest.mark.parametrize(("left", "stopped"), [(40, True), (1e6, False)])
def test_processes_are_stopped_in_time_before_the_machine_is_taken_away(
    pool: Run, left: float, stopped: bool
) -> None:
    """With a grace of 20 s and 15 s more, 40 s are 5 s too many: so it is 34.9 s."""
    tally = pool(f"""
        at = time() + {left} - 5.1
        limits = Limits(20, notice=lambda: Interruption("Spot notice", at))
        def work(connection, inherited):
            assert isinstance(connection.recv(), StartNoMore)
            told = connection.recv() if connection.poll(3) else None
            connection.send(Finished(kept=(type(told).__name__,)))
    """)
    assert tally["kept"] == ["StopRequest" if stopped else "NoneType"]


SPARING = """\
import subprocess
import psutil
from anamo.worker.orphans import become_subreaper, kill_tasks

become_subreaper()
left = "setsid sleep 600 >/dev/null 2>&1 & echo $!"
pid = int(subprocess.run(["bash", "-c", left], capture_output=True, check=True).stdout)
spared = kill_tasks(0, set(), 1e12)
assert {process.pid for process in spared} == {pid}, spared
assert kill_tasks(0, set(), 0, spared) == spared
assert psutil.pid_exists(pid)
kill_tasks(0, set(), 0)
print(psutil.Process(pid).status() if psutil.pid_exists(pid) else "gone")
"""


def test_what_one_process_left_behind_outlives_the_next_that_dies(alone: Scripts) -> None:
    done = alone.run("python", "-c", SPARING, env={"PYTHONPATH": str(ROOT)})
    assert (done.stderr, done.stdout.strip() in ("gone", "zombie")) == ("", True)


def test_a_notice_counts_past_another_limit(pool: Run) -> None:
    tally = pool("""
        noticed = lambda: Interruption("Spot notice", time() + 10)
        limits = Limits(20, until=monotonic(), notice=noticed)
        def work(connection, inherited):
            assert isinstance(connection.recv(), StartNoMore)
            told = connection.recv() if connection.poll(30) else None
            connection.send(Finished(kept=(type(told).__name__,)))
    """)
    assert tally["kept"] == ["StopRequest"]


def test_signals_are_passed_on_and_the_second_one_hurries(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            os.kill(os.getppid(), signal.SIGINT)
            first = connection.recv()
            os.kill(os.getppid(), signal.SIGTERM)
            second = connection.recv()
            connection.send(Finished(kept=(repr(first), repr(second))))
    """)
    assert tally["kept"] == ["StopRequest()", "ForceStop()"]


def test_a_process_that_dies_while_stopping_is_not_replaced(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            os.kill(os.getppid(), signal.SIGTERM)
            connection.recv()
            die()
    """)
    assert len(tally["lost"]) == 1


def test_claims_passed_on_twice_are_not_forgotten(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            if len(inherited) == 2:
                connection.send(Finished(kept=(repr(sorted(lock_ids(inherited))),)))
                return
            die_after(connection, 8 if inherited else 7, ANOTHER if inherited else MINE)
    """)
    assert tally["kept"] == ["[7, 8]"]


def test_a_process_that_does_not_end_when_told_to_is_killed(pool: Run) -> None:
    tally = pool("""
        import anamo.worker.pool
        anamo.worker.pool.KILL_SECONDS = 0.1
        limits = Limits(grace=0)
        def work(connection, inherited):
            os.kill(os.getppid(), signal.SIGTERM)
            while True:
                sleep(1)
    """)
    assert tally["lost"][0].startswith("a worker process was killed by SIGKILL; ")


def test_a_process_that_a_signal_of_its_own_ends_is_replaced(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            stopped = None if inherited else signal.SIGTERM
            if stopped:
                InFlightClaims(connection.send, ()).add("Testing", 7, MINE)
            connection.send(Finished(kept=(repr(lock_ids(inherited)),), own_signal=stopped))
    """)
    assert tally["errors"] == []
    assert tally["kept"] == ["{}", repr({7: "1" * 32})]


def test_processes_that_signals_of_their_own_end_again_and_again_are_an_error(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            connection.send(Finished(kept=("",), own_signal=signal.SIGTERM))
    """)
    assert len(tally["kept"]) == 6
    (error,) = tally["lost"]
    assert error == (
        "a worker process was stopped by SIGTERM, sent to it alone; its items were released, and "
        "no other is started in its place"
    )


def test_a_signal_to_all_processes_is_no_signal_of_their_own(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            os.kill(os.getppid(), signal.SIGTERM)
            connection.recv()
            connection.send(Finished(kept=("",), own_signal=signal.SIGTERM))
    """)
    assert (tally["kept"], tally["errors"]) == ([""], [])


def test_a_process_that_is_stopped_is_continued(pool: Run) -> None:
    tally = pool("""
        limits = Limits(grace=20, lease=1)
        def work(connection, inherited):
            os.kill(os.getpid(), signal.SIGSTOP)
            connection.send(Finished(kept=("continued",)))
    """)
    assert (tally["kept"], tally["errors"]) == (["continued"], [])


def test_a_process_that_is_stopped_again_and_again_is_replaced(pool: Run) -> None:
    tally = pool("""
        limits = Limits(grace=20, lease=1)
        def work(connection, inherited):
            if inherited:
                connection.send(Finished(kept=(repr(lock_ids(inherited)),)))
                return
            InFlightClaims(connection.send, ()).add("Testing", 7, MINE)
            while True:
                os.kill(os.getpid(), signal.SIGSTOP)
    """)
    assert tally["kept"] == [repr({7: "1" * 32})]


def test_a_process_that_is_stopped_hears_that_it_should_end(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            if os.fork() == 0:
                # Once the process is stopped
                while "T (stopped)" not in open(f"/proc/{os.getppid()}/status").read():
                    os.sched_yield()
                os.kill(parent, signal.SIGTERM)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGSTOP)
            connection.send(Finished(kept=(repr(connection.recv()),)))
        parent = os.getpid()
    """)
    assert (tally["kept"], tally["errors"]) == (["StopRequest()"], [])


def test_an_orphan_that_is_adopted_is_reaped(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            child = "import subprocess; print(subprocess.Popen(['true']).pid)"
            made = subprocess.run([sys.executable, "-c", child], capture_output=True, check=True)
            orphan = f"/proc/{int(made.stdout)}"
            until = monotonic() + 20
            while os.path.exists(orphan) and monotonic() < until:
                os.sched_yield()
            connection.send(Finished("" if not os.path.exists(orphan) else "it is a zombie"))
    """)
    assert tally["errors"] == []


def test_a_claim_whose_request_was_just_sent_is_known_although_messages_are_unread(
    pool: Run,
) -> None:
    tally = pool("""
        limits = Limits(20, notice=lambda: Interruption("Spot notice", None))
        def work(connection, inherited):
            # Unread messages of the parent turn the end of the connection into a reset
            while not connection.poll():
                os.sched_yield()
            die_after(connection, 7, MINE)
    """)
    assert tally["lost"][0].startswith(
        "a worker process was killed by SIGKILL; 1 of its items will be taken over"
    )
    assert tally["unfinished"] == ["1" * 32]


def test_any_number_of_claims_is_passed_on(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            if inherited:
                connection.send(Finished(kept=(repr(sorted(lock_ids(inherited))),)))
                return
            claims = InFlightClaims(connection.send, ())
            for number in range(9):
                claims.add("Testing", number, f"{number:032}")
            die()
    """)
    assert tally["kept"] == [repr(list(range(9)))]


def test_what_processes_say_is_said_by_the_parent_even_after_their_death(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            connection.send(Said("one"))
            connection.send(ended("done", done=1))
            connection.send(Said("two"))
            os.kill(os.getppid(), signal.SIGTERM)
            connection.recv()
            die()
    """)
    seen = [said for said in tally["seen"] if not said.startswith("SIGTERM: stopping")]
    assert (seen[0], seen[-1]) == ("one", "two")
    assert len(seen) == 3


RESTING = """\
import os, signal
from contextlib import suppress
from anamo.cli.live_line import ItemLines
from anamo.worker import metrics
from anamo.worker.pool import Limits, Pool
from anamo.worker.signals import Signals

metrics.SECONDS = 0.0
written, orphan = [], os.fork()
if not orphan:
    os._exit(0)

class Screen(ItemLines):
    refresh = 0.02

    def takes_count(self):
        raise AssertionError("there is no process that could count")

    def draw(self, running, longest):
        with suppress(ProcessLookupError):
            # It has ended; until it is reaped it can be sent a signal
            os.kill(orphan, 0)
            return
        if written:
            os.kill(os.getpid(), signal.SIGTERM)

class Sink:
    write = written.append

screen = Screen(print, quiet=False)
pool = Pool(None, 1, Signals(), Limits(20), screen, metrics.Metrics(["Testing"], [Sink]))
print(pool.rest(20))
"""


def test_while_it_waits_without_a_process_it_draws_writes_metrics_and_reaps(
    alone: Scripts,
) -> None:
    """What it draws ends the wait, once it has written metrics and reaped an orphan."""
    ended = alone.run("python", "-c", RESTING)
    assert (ended.returncode, ended.stdout) == (0, "False\n"), ended.stderr
