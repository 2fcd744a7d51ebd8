"""Tasks whose processes leave their group, their session or their environment: whatever ends a task
ends all of them, so that no two attempts run side by side.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.cgroups import can_make_cgroups, cgroups_of
from tests.support.fleet import Fleet, children
from tests.support.processes import lives
from tests.support.scripts import Running
from tests.support.waiting import eventually

# It holds a lock as long as it lives, and says so if another one like it does
WITNESS = """\
exec 9>>"$1/lock-$2"
flock -n 9 || echo "$2" >> "$1/side-by-side"
echo "$2 $$" >> "$1/started"
exec sleep 600
"""
TASK = """\
here=$(dirname "$0")
witness=(bash "$here/witness.sh" "$here" "$1")
case $1 in
  group) timeout 1h "${witness[@]}" ;;
  session) setsid "${witness[@]}" & wait ;;
  environment) env -i PATH="$PATH" timeout 1h "${witness[@]}" ;;
  daemon) (setsid "${witness[@]}" &); exec sleep 600 ;;
  nameless) (env -i PATH="$PATH" setsid "${witness[@]}" &); exec sleep 600 ;;
  behind) "${witness[@]}" & setsid "${witness[@]}" & ;;
esac
"""
FORMS = ["group", "session", "environment", "daemon", "nameless"]


class Witnesses:
    """What the processes that try to escape have written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "witness.sh").write_text(WITNESS)
        (folder / "task.sh").write_text(TASK)
        self.script = f"bash {folder / 'task.sh'}"

    def _lines(self, name: str) -> list[str]:
        with suppress(FileNotFoundError):
            return (self._folder / name).read_text().splitlines()
        return []

    def started(self) -> Counter[str]:
        """How many of each form have started."""
        return Counter(line.split()[0] for line in self._lines("started"))

    def alive(self) -> list[str]:
        """The forms of those that live."""
        started = map(str.split, self._lines("started"))
        return sorted(form for form, pid in started if lives(int(pid)))

    def side_by_side(self) -> list[str]:
        """The forms of those that found another one alive."""
        return sorted(self._lines("side-by-side"))

    def kill(self) -> None:
        """Kill all that live."""
        for line in self._lines("started"):
            with suppress(ProcessLookupError):
                os.kill(int(line.split()[1]), signal.SIGKILL)


@pytest.fixture
def witnesses(tmp_path: Path) -> Iterator[Witnesses]:
    """The witnesses of one test."""
    folder = tmp_path / "witnesses"
    folder.mkdir()
    witnesses = Witnesses(folder)
    yield witnesses
    witnesses.kill()


def begin(fleet: Fleet, witnesses: Witnesses, *flags: str) -> Running:
    """Start a worker that runs a task of each form at once, as nested tasks of one item."""
    fleet.add([f"{witnesses.script}|{','.join(FORMS)}"], "-n", ",")
    worker = fleet.start("-n", str(len(FORMS)), *flags)
    eventually(lambda: set(witnesses.started()) == set(FORMS), 60)
    return worker


def wait_for_cgroups(fleet: Fleet, worker: Running) -> list[Path]:
    """Wait until each task has its cgroup, if it is to get one; those of this worker."""
    if fleet.guard or not can_make_cgroups():
        return []
    (process,) = children(worker)
    eventually(lambda: len(cgroups_of(process.pid)) == len(FORMS), 60)
    return cgroups_of(process.pid)


@pytest.mark.parametrize("without", [None, "cgroups"])
def test_a_signal_ends_every_process_of_a_task(
    without: str | None, fleet: Fleet, witnesses: Witnesses
) -> None:
    fleet.guard = without
    worker = begin(fleet, witnesses)
    made = wait_for_cgroups(fleet, worker)
    worker.signal(signal.SIGTERM)
    assert worker.wait().returncode == 143
    assert witnesses.alive() == []
    assert fleet.table.states() == {"todo": 1}
    assert not any(path.exists() for path in made)


def test_a_timeout_ends_every_process_of_a_task(fleet: Fleet, witnesses: Witnesses) -> None:
    fleet.add([f"{witnesses.script} {form}" for form in FORMS])
    ended = fleet.start("-i", str(len(FORMS)), "--timeout", "6").wait(120)
    assert ended.returncode == 1, ended.stderr
    assert set(witnesses.started()) == set(FORMS)
    assert witnesses.alive() == []
    assert {item["Log"]["Status"] for item in fleet.table.items()} == {
        "Execution Failed: timed out"
    }


def lose_the_claim(fleet: Fleet) -> None:
    """Take the item away from its worker, which then claims it anew."""
    flags = ["--state", "locked", "--force", "--yes"]
    where = ["-t", fleet.table.name, "-r", "us-east-1"]
    done = fleet.scripts.run("pyanamo.py", "requeue", *where, *flags)
    assert done.returncode == 0, done.stderr


def run_again(witnesses: Witnesses, worker: Running) -> None:
    """Wait until all have started a second time, and end the worker."""
    eventually(lambda: set(witnesses.started().values()) == {2}, 60)
    worker.signal(signal.SIGTERM)
    assert worker.wait().returncode == 143


def test_a_lost_claim_ends_every_process_of_a_task(fleet: Fleet, witnesses: Witnesses) -> None:
    worker = begin(fleet, witnesses, "--lease", "2")
    lose_the_claim(fleet)
    run_again(witnesses, worker)
    assert witnesses.side_by_side() == []
    assert witnesses.alive() == []


@pytest.mark.parametrize("without", [None, "cgroups"])
def test_a_killed_worker_process_takes_every_process_of_its_tasks_with_it(
    without: str | None, fleet: Fleet, witnesses: Witnesses
) -> None:
    fleet.guard = without
    worker = begin(fleet, witnesses, "--lease", "2")
    made = wait_for_cgroups(fleet, worker)
    children(worker)[0].kill()
    run_again(witnesses, worker)
    assert witnesses.side_by_side() == []
    assert witnesses.alive() == []
    assert not any(path.exists() for path in made)


@pytest.mark.parametrize("event", ["signal", "lost claim", "kill"])
def test_without_a_look_at_descendants_they_escape(
    event: str, fleet: Fleet, witnesses: Witnesses
) -> None:
    fleet.guard = "descent"
    worker = begin(fleet, witnesses, "--lease", "2")
    if event == "signal":
        worker.signal(signal.SIGTERM)
        worker.wait()
        assert witnesses.alive() == sorted(FORMS)
        return
    if event == "kill":
        children(worker)[0].kill()
    else:
        lose_the_claim(fleet)
    run_again(witnesses, worker)
    assert witnesses.side_by_side() == sorted(FORMS)


def test_without_a_look_at_descendants_they_escape_a_timeout(
    fleet: Fleet, witnesses: Witnesses
) -> None:
    fleet.guard = "descent"
    fleet.add([f"{witnesses.script} group"])
    fleet.start("--timeout", "4").wait()
    assert witnesses.alive() == ["group"]


def test_what_a_task_left_behind_runs_on_when_a_later_one_is_stopped(
    fleet: Fleet, witnesses: Witnesses
) -> None:
    fleet.add([f"{witnesses.script}|behind,group,nameless"], "-n", ",")
    worker = fleet.start("--timeout", "5")
    eventually(lambda: set(witnesses.started()) == {"behind", "group", "nameless"}, 60)
    worker.signal(signal.SIGTERM)
    worker.wait()
    assert witnesses.alive() == ["behind", "behind"]


LATE = """\
here=$(dirname "$0")
wait_for() { until [ -e "$here/$1" ]; do sleep 0.02; done; }
case $1 in
  leave) { wait_for asked; echo late; touch "$here/written"; } & ;;
  pause) wait_for recorded ;;
  ask) touch "$here/asked"; wait_for written; echo mine ;;
esac
"""


@pytest.mark.parametrize("without", [None, "look_at_children"])
def test_what_a_task_left_behind_writes_into_no_other_log(
    without: str | None, fleet: Fleet, tmp_path: Path
) -> None:
    """It writes once the files of its task could have been used again."""
    fleet.guard = without
    script = tmp_path / "late.sh"
    script.write_text(LATE)
    fleet.add([f"bash {script}|leave,pause,ask"], "-n", ",")
    worker = fleet.start()
    eventually(lambda: fleet.table.items()[0].get("Ended_Tasks") == 1, 60)
    (tmp_path / "recorded").touch()
    ended = worker.wait()
    assert ended.returncode == 0, ended.stderr
    (item,) = fleet.table.items()
    mine = item["Log"]["Task_2"]
    assert ("late" in str(mine)) is (without is not None)
