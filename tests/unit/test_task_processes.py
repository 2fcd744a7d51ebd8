"""Which processes belong to a task, and which of them a stop reaches."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from anamo.worker import cgroup, orphans, process_tree, task_process
from anamo.worker.orphans import PR_SET_CHILD_SUBREAPER, become_subreaper, reap_left_behind
from anamo.worker.process_tree import Readings
from anamo.worker.task_process import StopReason, TaskProcess
from anamo.worker.task_processes import TaskProcesses
from tests.support.cgroups import can_make_cgroups, cgroups_of
from tests.support.processes import lives
from tests.support.waiting import eventually

DAEMON = 'setsid bash -c "echo \\$\\$ >> $PIDS; exec sleep 600" &'
NAMELESS = 'env -i PIDS="$PIDS" PATH="$PATH" ' + DAEMON


@pytest.fixture(autouse=True)
def _as_a_worker_process() -> Iterator[None]:
    become_subreaper()
    since = process_tree.now()
    yield
    for each in process_tree.descendants():
        # Not the servers of other tests
        if process_tree.began_since(each.process, since):
            each.process.kill()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Tasks:
    """Tasks that run at the same time, as those of one worker process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.running: dict[str, TaskProcess] = {}

    def start(self, name: str, script: str) -> TaskProcess:
        """Start one that runs on after its script."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYANAMO_LOCK_ID": "a" * 32,
            "PYANAMO_NESTED_TASK": name,
            "PIDS": str(self._folder / name),
            "SCRIPT": f"({script}); exec sleep 600",
        }
        self.running[name] = TaskProcess(
            "bash -c $SCRIPT", environment, grace=0, sessions=self._sessions
        )
        return self.running[name]

    def _sessions(self) -> set[int]:
        return {task.pid or 0 for task in self.running.values()}

    def daemon(self, name: str) -> psutil.Process:
        """The process that wrote its id."""
        file = self._folder / name
        return psutil.Process(int(eventually(lambda: file.exists() and file.read_text().strip())))

    def end(self, name: str) -> None:
        """Poll until it has ended."""

        def has_ended() -> bool:
            reap_left_behind(self._sessions())
            outcome = self.running[name].poll()
            if outcome:
                outcome.close()
            return bool(outcome)

        eventually(has_ended)
        del self.running[name]


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Tasks]:
    tasks = Tasks(tmp_path)
    yield tasks
    for name, task in list(tasks.running.items()):
        task.stop(StopReason.SHUTDOWN, grace=0)
        tasks.end(name)


def test_a_daemon_is_stopped_with_its_own_task_only(tasks: Tasks) -> None:
    first, _ = tasks.start("Task_0", DAEMON), tasks.start("Task_1", DAEMON)
    mine, anothers = tasks.daemon("Task_0"), tasks.daemon("Task_1")
    first.stop(StopReason.TIMEOUT, grace=0)
    tasks.end("Task_0")
    assert (lives(mine.pid), lives(anothers.pid)) == (False, True)


def test_a_daemon_without_environment_is_stopped_with_all_tasks(tasks: Tasks) -> None:
    first, second = tasks.start("Task_0", NAMELESS), tasks.start("Task_1", "true")
    daemon = tasks.daemon("Task_0")
    for task in (second, first):
        task.stop(StopReason.SHUTDOWN, grace=0)
    tasks.end("Task_1")
    tasks.end("Task_0")
    assert not lives(daemon.pid)


def test_all_tasks_that_are_stopped_together_share_two_readings_of_the_process_table(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = [tasks.start(f"Task_{k}", "true") for k in range(4)]
    read, descendants = [], process_tree.descendants

    def counted() -> list[process_tree.Descendant]:
        read.append(True)
        return descendants()

    monkeypatch.setattr(process_tree, "descendants", counted)
    readings = Readings()
    for task in running:
        task.stop(StopReason.SHUTDOWN, 0, readings)
    assert len(read) == 1

    def all_have_ended() -> bool:
        before, readings = len(read), Readings()
        for name, task in list(tasks.running.items()):
            if outcome := task.poll(readings):
                outcome.close()
                del tasks.running[name]
        assert len(read) - before <= 2
        return not tasks.running

    eventually(all_have_ended)


@pytest.fixture
def daemon_of_ended_task(tasks: Tasks) -> tuple[psutil.Process, TaskProcesses]:
    """A daemon whose task has ended while another runs, and what finds it."""
    first, second = tasks.start("Task_0", DAEMON), tasks.start("Task_1", "true")
    daemon = tasks.daemon("Task_0")
    assert first.pid
    os.kill(first.pid, signal.SIGKILL)
    tasks.end("Task_0")
    marks = {"PYANAMO_LOCK_ID": "a" * 32, "PYANAMO_NESTED_TASK": "Task_0"}
    return daemon, TaskProcesses(first.pid, 0.0, marks, lambda: {second.pid or 0})


def test_what_ended_after_a_reading_counts_as_running_until_the_next(
    daemon_of_ended_task: tuple[psutil.Process, TaskProcesses],
) -> None:
    """It may have started something that the reading lacks."""
    daemon, processes = daemon_of_ended_task
    readings = Readings()
    assert len(list(readings.first_two())) == 2
    daemon.kill()
    daemon.wait()
    assert processes.are_alive(readings)
    assert not processes.are_alive(Readings())


def test_what_only_the_second_reading_shows_is_killed(
    daemon_of_ended_task: tuple[psutil.Process, TaskProcesses], monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, processes = daemon_of_ended_task
    made = iter([[], process_tree.descendants()])
    readings = Readings()
    with monkeypatch.context() as missed:
        missed.setattr(process_tree, "descendants", lambda: next(made))
        assert processes.are_alive(readings)
    processes.kill(readings)
    assert eventually(lambda: not lives(daemon.pid))


def test_a_daemon_without_environment_is_stopped_with_the_only_task(tasks: Tasks) -> None:
    task = tasks.start("Task_0", NAMELESS)
    daemon = tasks.daemon("Task_0")
    task.stop(StopReason.TIMEOUT, grace=0)
    tasks.end("Task_0")
    assert not lives(daemon.pid)


def test_a_daemon_that_an_earlier_task_left_behind_runs_on(tasks: Tasks) -> None:
    earlier = tasks.start("Task_0", NAMELESS)
    daemon = tasks.daemon("Task_0")
    assert earlier.pid
    os.kill(earlier.pid, signal.SIGKILL)
    tasks.end("Task_0")
    # What began within the same tick as a task counts as the task's
    ended = process_tree.now()
    eventually(lambda: process_tree.now() > ended + process_tree.TICK)
    later = tasks.start("Task_1", DAEMON)
    tasks.daemon("Task_1")
    later.stop(StopReason.SHUTDOWN, grace=0)
    tasks.end("Task_1")
    assert lives(daemon.pid)


def in_its_cgroup(tasks: Tasks, name: str, script: str, go: Path) -> TaskProcess:
    """Start a task that runs its script once it has its cgroup, if it gets one."""
    ready = go.with_name("ready")
    waiting = f"touch {ready}; until [ -e {go} ]; do sleep 0.02; done"
    task = tasks.start(name, f"{waiting}; {script}")
    eventually(ready.exists)
    eventually(lambda: task.poll() or cgroups_of(os.getpid()) or not cgroup.own_folder())
    go.touch()
    return task


def test_without_a_descriptor_to_look_with_the_group_is_stopped(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptor(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    task = tasks.start("Task_0", "true")
    with monkeypatch.context() as without:
        for name in ("children", "is_running"):
            without.setattr(psutil.Process, name, no_descriptor)
        task.stop(StopReason.SHUTDOWN, grace=0)
        tasks.end("Task_0")
    assert task.pid
    assert not psutil.pid_exists(task.pid)


def test_what_a_dead_worker_process_left_and_cannot_be_killed_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(orphans, "ORPHANS_KILLED_SECONDS", 0)
    since = process_tree.now()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as left:
        with monkeypatch.context() as powerless:
            powerless.setattr(psutil.Process, "send_signal", lambda self, number: None)
            orphans.kill_tasks(worker=0, living=set(), since=since)
        left.kill()
    said = f"cannot kill process {left.pid}; it may overlap with the retry of its task"
    assert said in caplog.text


@pytest.fixture
def _cgroups_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_make_cgroups():
        pytest.skip("this user can make no cgroups here")
    monkeypatch.setattr(task_process, "CGROUP_SECONDS", 0)


@pytest.mark.usefixtures("_cgroups_at_once")
@pytest.mark.parametrize("has_cgroup", [True, False])
def test_a_daemon_without_environment_is_found_in_the_cgroup_of_its_task(
    has_cgroup: bool, tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_cgroup:
        monkeypatch.setattr(cgroup, "own_folder", lambda: None)
    tasks.start("Task_1", "true")
    task = in_its_cgroup(tasks, "Task_0", NAMELESS, tmp_path / "go")
    daemon = tasks.daemon("Task_0")
    task.stop(StopReason.TIMEOUT, grace=0)
    tasks.end("Task_0")
    assert lives(daemon.pid) is not has_cgroup


@pytest.mark.usefixtures("_cgroups_at_once")
@pytest.mark.parametrize("has_cgroup", [True, False])
def test_what_no_look_finds_is_killed_with_the_cgroup(
    has_cgroup: bool, tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process that has forked and ended whenever somebody looks."""
    if not has_cgroup:
        monkeypatch.setattr(cgroup, "own_folder", lambda: None)
    task = in_its_cgroup(tasks, "Task_0", DAEMON, tmp_path / "go")
    daemon = tasks.daemon("Task_0")
    with monkeypatch.context() as blind:
        blind.setattr(process_tree, "is_alive", lambda process: False)
        task.stop(StopReason.TIMEOUT, grace=0)
        tasks.end("Task_0")
    assert lives(daemon.pid) is not has_cgroup


@pytest.mark.usefixtures("_cgroups_at_once")
def test_the_cgroup_of_a_task_goes_with_it_and_what_it_left_behind_stays(
    tasks: Tasks, tmp_path: Path
) -> None:
    task = in_its_cgroup(tasks, "Task_0", DAEMON, tmp_path / "go")
    daemon = tasks.daemon("Task_0")
    assert len(cgroups_of(os.getpid())) == 1
    assert task.pid
    os.kill(task.pid, signal.SIGKILL)
    tasks.end("Task_0")
    assert cgroups_of(os.getpid()) == []
    assert lives(daemon.pid)


@pytest.mark.usefixtures("_cgroups_at_once")
def test_cgroups_of_worker_processes_that_are_dead_are_removed() -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    mine = cgroup.make(7)
    assert mine
    (path,) = cgroups_of(os.getpid())
    left = path.with_name(path.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
    left.mkdir()
    cgroup.remove_empty()
    assert cgroups_of(os.getpid()) == [path]
    assert cgroups_of(dead.pid) == []
    mine.remove()


Made = Callable[[str, str], Path]


@pytest.fixture
def proc(tmp_path: Path) -> Made:
    """What the kernel says of this process, in a folder that stands for /proc/self."""

    def made(cgroups: str, mountinfo: str) -> Path:
        folder = tmp_path / "proc"
        folder.mkdir()
        (folder / "cgroup").write_text(cgroups)
        (folder / "mountinfo").write_text(mountinfo)
        return folder

    return made


def test_the_folder_of_the_own_cgroup_is_found_below_any_root(proc: Made, tmp_path: Path) -> None:
    own = tmp_path / "b"
    own.mkdir()
    (own / "cgroup.procs").touch()
    mount = f"31 23 0:28 /a {tmp_path} rw,relatime shared:4 - cgroup2 cgroup2 rw"
    found = cgroup.own_folder(
        proc("4:memory:/x\n0::/a/b\n", f"30 1 0:1 / / rw - ext4 /dev/a rw\n{mount}\n")
    )
    assert found == own


@pytest.mark.parametrize(
    ("cgroups", "mountinfo"),
    [
        ("4:memory:/x\n", ""),
        ("0::/a\n", ""),
        ("0::/a\n", "31 23 0:28 / /missing rw - cgroup2 cgroup2 rw"),
        ("0::/a\n", "31 23 0:28 /b /sys/fs/cgroup rw - cgroup2 cgroup2 rw"),
    ],
)
def test_where_no_cgroups_can_be_made_there_is_no_folder(
    proc: Made, cgroups: str, mountinfo: str
) -> None:
    assert cgroup.own_folder(proc(cgroups, mountinfo)) is None


def test_a_folder_that_is_no_workers_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    folders = [tmp_path / f"pyanamo-{namespace}-{name}" for name in ("x", "9" * 20, "9999999-7")]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(cgroup, "own_folder", lambda: tmp_path)
    cgroup.remove_empty()
    assert [folder.exists() for folder in folders] == [True, True, False]


def test_a_kernel_whose_cgroups_cannot_be_killed_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "own_folder", lambda: tmp_path)
    assert cgroup.make(7) is None
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_another_thread_reaps_at_the_same_moment_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = subprocess.Popen(["true"])
    os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
    session = os.getsid

    def reaped_first(pid: int) -> int:
        program.wait()
        return session(pid)

    monkeypatch.setattr(os, "getsid", reaped_first)
    reap_left_behind(set())
    assert program.returncode == 0
