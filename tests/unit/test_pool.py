"""The processes of -i: what the parent adds up, passes on and replaces.

A pool forks and adopts orphans, so each runs in a program of its own.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.environment import environment
from tests.support.scripts import ROOT, Scripts
from tests.support.waiting import eventually

PROGRAM = """\
import json, os, signal, subprocess, sys
from time import monotonic
from anamo.pool import Limits, Pool
from anamo.report import Drain, Finished, Held, Hurry, ItemEnded, Stop
from anamo.signals import Signals

def ended(state, done=0, failures=(), item_id=7):
    return ItemEnded(item_id, "lock", "Task", state, done, tuple(failures), 1, 0.5)

def failed():
    return ended("failed", failures=[("", "Execution Failed: exit 3")])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

processes, limits = 1, Limits()
{code}
seen = []
tally = Pool(work, processes, Signals(), limits, seen.append).run()
said = {{name: getattr(tally, name) for name in tally.__slots__}}
print(json.dumps({{**said, "seen": len(seen)}}))
"""

Run = Callable[[str], dict[str, Any]]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Scripts]:
    surroundings = environment(tmp_path, dynamodb="", s3="") | {"PYTHONPATH": str(ROOT)}
    with Scripts(surroundings, tmp_path) as scripts:
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
            connection.send(Held(7, "lock"))
            connection.send(ended("done", done=4))
            connection.send(ended("failed", done=1, failures=[("Task_0", "x"), ("Task_1", "y")]))
            connection.send(ended("lost"))
            connection.send(Finished(held=5, kept=("a",)))
    """)
    assert tally["items"] == {"done": 3, "failed": 3, "lost": 3}
    assert (tally["done"], tally["failed"], tally["held"]) == (15, 6, 5)
    assert (tally["errors"], tally["kept"], tally["seen"]) == ([], ["a"] * 3, 9)


def test_why_a_process_could_not_go_on_is_remembered(pool: Run) -> None:
    tally = pool("""
        processes = 2
        def work(connection, inherited):
            connection.send(Finished("access denied"))
    """)
    assert tally["errors"] == ["access denied"] * 2


def test_a_process_that_dies_is_replaced_and_its_claims_are_passed_on(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            if inherited:
                connection.send(Finished(kept=(repr(dict(inherited)),)))
                return
            connection.send(Held(7, "lock"))
            connection.send(Held(8, "another"))
            connection.send(ended("done", done=1, item_id=7))
            die()
    """)
    assert tally["kept"] == ["{8: 'another'}"]
    assert (tally["errors"], tally["items"]) == ([], {"done": 1})


def test_what_dies_again_and_again_is_not_replaced_for_ever(pool: Run, tmp_path: Path) -> None:
    tally = pool(f"""
        def work(connection, inherited):
            with open({str(tmp_path / "lives")!r}, "a") as lives:
                lives.write("x")
            connection.send(Held(7, "lock"))
            die()
    """)
    assert (tmp_path / "lives").read_text() == "x" * 6
    (error,) = tally["errors"]
    assert error.startswith("a worker process was killed by SIGKILL; its items (1) are taken over")


def test_a_process_that_ends_without_a_word_counts_as_dead(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            sys.exit(9)
    """)
    assert tally["errors"][0].startswith("a worker process ended with exit code 9; ")


def test_tasks_of_a_dead_process_are_ended(alone: Scripts, pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            if inherited:
                connection.send(Finished())
                return
            task = subprocess.Popen(
                ["bash", "-c", "sleep 60 & wait"],
                env={**os.environ, "PYANAMO_LOCK_ID": "lock"},
                start_new_session=True,
            )
            connection.send(Held(7, "lock"))
            die()
    """)
    assert tally["errors"] == []
    eventually(lambda: alone.alive() == [])


def test_after_so_many_failures_in_a_row_nothing_more_is_begun(pool: Run) -> None:
    tally = pool("""
        limits = Limits(failures=3)
        def work(connection, inherited):
            for _ in range(3):
                connection.send(failed())
            message = connection.recv()
            assert isinstance(message, Drain)
            connection.send(Finished(kept=(message.why,)))
    """)
    assert tally["drained"] == "3 items in a row failed (--max-failures)"
    assert tally["kept"] == [tally["drained"]]


def test_a_success_between_failures_starts_their_count_again(pool: Run) -> None:
    tally = pool("""
        limits = Limits(failures=3)
        def work(connection, inherited):
            for message in [failed(), failed(), ended("done", done=1), failed(), failed()]:
                connection.send(message)
            connection.send(Finished())
    """)
    assert (tally["drained"], tally["failed"]) == ("", 4)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ("until=monotonic()", "the wall time is over"),
        ("notice=lambda: 'Spot notice'", "Spot notice"),
    ],
)
def test_a_limit_is_told_to_every_process(pool: Run, limits: str, why: str) -> None:
    tally = pool(f"""
        processes, limits = 2, Limits({limits})
        def work(connection, inherited):
            connection.send(Finished(kept=(connection.recv().why,)))
    """)
    assert (tally["drained"], tally["kept"]) == (why, [why] * 2)


def test_signals_are_passed_on_and_the_second_one_hurries(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            os.kill(os.getppid(), signal.SIGINT)
            first = connection.recv()
            os.kill(os.getppid(), signal.SIGTERM)
            second = connection.recv()
            connection.send(Finished(kept=(repr(first), repr(second))))
    """)
    assert tally["kept"] == ["Stop(signal=2)", "Hurry()"]


def test_a_process_that_dies_while_stopping_is_not_replaced(pool: Run) -> None:
    tally = pool("""
        def work(connection, inherited):
            os.kill(os.getppid(), signal.SIGTERM)
            connection.recv()
            die()
    """)
    assert len(tally["errors"]) == 1


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
