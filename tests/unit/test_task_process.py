"""One Task Script: how it is started, how it ends, what is left of it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from anamo.core.errors import HostError
from anamo.core.log_entry import SUCCESSFUL
from anamo.worker.task_process import Outcome, StopReason, TaskProcess
from anamo.worker.task_processes import TaskProcesses
from tests.support.ended_tasks import descriptors
from tests.support.waiting import eventually

ENDED: list[Outcome] = []
ENVIRONMENT = {"PATH": os.environ["PATH"], "GREETING": "hello  world *"}


def ended(process: TaskProcess) -> Outcome:
    outcome = eventually(process.poll)
    assert outcome is not None
    ENDED.append(outcome)
    return outcome


def run(script: str, environment: Mapping[str, str] = ENVIRONMENT) -> Outcome:
    return ended(TaskProcess(script, environment))


def said(outcome: Outcome) -> tuple[bytes, bytes]:
    """What it has printed."""
    stdout, stderr = (
        os.pread(file.fileno(), 1 << 20, 0) for file in (outcome.stdout, outcome.stderr)
    )
    return stdout, stderr


def program(path: Path, content: str, mode: int = 0o755) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def processes(mark: str) -> list[int]:
    """The processes that have this variable in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    while ENDED:
        ENDED.pop().close()


def test_a_task_that_ends_well_is_successful() -> None:
    outcome = run("echo one two")
    assert (outcome.exit_code, outcome.signal, outcome.status) == (0, 0, SUCCESSFUL)
    assert outcome.succeeded
    assert not outcome.interrupted
    assert outcome.script == "echo one two"
    assert said(outcome) == (b"one two\n", b"")


def test_stdout_and_stderr_are_kept_apart() -> None:
    assert said(run("bash -c 'echo out; echo err >&2'")) == (b"out\n", b"err\n")


def test_variables_are_replaced_and_stay_one_word() -> None:
    outcome = run("printf '[%s]' $GREETING '$GREETING'")
    assert outcome.script == "printf '[%s]' $GREETING '$GREETING'"
    assert said(outcome) == (b"[hello  world *][$GREETING]", b"")


def test_the_environment_is_the_one_given_and_nothing_else() -> None:
    out, _ = said(run("env", {"PATH": os.environ["PATH"], "ONLY": "this"}))
    assert set(out.decode().splitlines()) == {f"PATH={os.environ['PATH']}", "ONLY=this"}


def test_standard_input_is_empty() -> None:
    assert said(run("cat")) == (b"", b"")


@pytest.mark.parametrize("code", [1, 3, 126, 127, 255])
def test_the_exit_code_is_the_tasks(code: int) -> None:
    outcome = run(f"bash -c 'exit {code}'")
    assert (outcome.exit_code, outcome.signal) == (code, 0)
    assert outcome.status == f"Execution Failed: exit {code}"
    assert not outcome.succeeded


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_named_and_its_exit_code_a_shells(number: signal.Signals) -> None:
    outcome = run(f"bash -c 'kill -{number.value} $$'")
    assert (outcome.exit_code, outcome.signal) == (128 + number, number)
    assert outcome.status == f"Execution Failed: killed by signal {number.value}"


def test_a_missing_program_is_127() -> None:
    outcome = run("no-such-program --flag")
    assert outcome.status == "Execution Failed: exit 127"
    assert said(outcome) == (b"", b"pyanamo: no-such-program: not found\n")


@pytest.mark.parametrize("secret", ["hunter2", "/", "hunter2/" * 1000])
def test_a_variable_that_names_no_program_is_named_and_not_its_value(secret: str) -> None:
    outcome = run("${SECRET} x", ENVIRONMENT | {"SECRET": secret})
    assert outcome.exit_code in (126, 127)
    assert said(outcome)[1].startswith(b"pyanamo: ${SECRET}: ")
    assert secret.encode() not in said(outcome)[1]


@pytest.mark.parametrize("script", ["", "  ", "''", "${NOT_SET:-}"])
def test_a_script_without_a_program_is_127(script: str) -> None:
    outcome = run(script)
    assert outcome.exit_code == 127
    assert said(outcome)[1].startswith(b"pyanamo: ")


def test_a_program_in_a_missing_folder_is_127(tmp_path: Path) -> None:
    outcome = run(f"{tmp_path}/missing/program")
    assert outcome.exit_code == 127


def test_a_file_that_is_not_executable_is_126(tmp_path: Path) -> None:
    outcome = run(str(program(tmp_path / "data", "x", stat.S_IRUSR)))
    assert outcome.exit_code == 126
    assert b"Permission denied" in said(outcome)[1]


def test_a_folder_is_126(tmp_path: Path) -> None:
    outcome = run(str(tmp_path))
    assert outcome.exit_code == 126


def test_an_open_quote_is_126_and_says_so() -> None:
    outcome = run("echo 'a")
    assert outcome.exit_code == 126
    assert b"quot" in said(outcome)[1]


def test_a_nul_in_a_value_is_126() -> None:
    outcome = run("echo $BAD", {"PATH": os.environ["PATH"], "BAD": "a\0b"})
    assert outcome.exit_code == 126


def test_a_script_without_a_shebang_is_run_by_the_shell(tmp_path: Path) -> None:
    script = program(tmp_path / "script", 'echo "$0" "$1"\nexit 4\n')
    outcome = run(f"{script} 'an argument'")
    assert outcome.exit_code == 4
    assert said(outcome) == (f"{script} an argument\n".encode(), b"")


def test_a_script_without_a_shebang_is_found_by_the_tasks_path(tmp_path: Path) -> None:
    script = program(tmp_path / "align", 'echo "$0" "$1"\n')
    outcome = run("align sample", {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert said(outcome) == (f"{script} sample\n".encode(), b"")


def test_arguments_longer_than_the_system_takes_are_126() -> None:
    outcome = run("echo $LONG", {"PATH": os.environ["PATH"], "LONG": "x" * 3_000_000})
    assert outcome.exit_code == 126


def test_it_runs_in_a_session_and_group_of_its_own() -> None:
    out, _ = said(run("bash -c 'ps -o pid=,pgid=,sid= -p $$'"))
    process, group, session = out.split()
    assert process == group == session
    assert int(group) != os.getpgid(0)


def test_run_time_and_peak_memory_are_measured() -> None:
    outcome = run("python3 -c 'x = bytearray(300_000_000); import time; time.sleep(0.3)'")
    assert outcome.seconds >= 0.3
    # At least the peak of this process, which other tests may have made large
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    assert 300 <= outcome.max_rss_mb < max(600, 1.1 * own)
    assert outcome.started <= outcome.ended
    assert outcome.ended.endswith("Z")


def test_nothing_is_left_in_the_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    process = TaskProcess("bash -c 'echo out; echo err >&2'", ENVIRONMENT)
    assert list(tmp_path.iterdir()) == [], "not even while it runs"
    ended(process)
    assert list(tmp_path.iterdir()) == []


def test_no_file_for_the_output_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(HostError, match="no file for a task's output"):
        TaskProcess("true", ENVIRONMENT)


def test_no_room_for_a_refusal_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    full = partial(Path("/dev/full").open, "r+b")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **given: full())
    with pytest.raises(HostError, match="no space for a task's output"):
        TaskProcess("no-such-program", ENVIRONMENT)


def test_no_process_to_be_had_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_arguments: object, **_options: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", no_process)
    with pytest.raises(HostError, match="no process for a task"):
        TaskProcess("true", ENVIRONMENT)


def test_a_task_that_takes_too_long_is_ended_and_says_so() -> None:
    process = TaskProcess("bash -c 'echo begun; exec sleep 60'", ENVIRONMENT, timeout=0.5)
    assert process.next_poll() is not None
    outcome = ended(process)
    assert outcome.status == "Execution Failed: timed out"
    assert (outcome.stopped, outcome.signal) == (StopReason.TIMEOUT, signal.SIGTERM)
    assert not outcome.interrupted
    assert said(outcome) == (b"begun\n", b"")


def test_a_task_that_exits_with_0_when_its_time_is_over_has_failed_all_the_same() -> None:
    script = "bash -c 'trap \"exit 0\" TERM; while :; do sleep 0.05; done'"
    outcome = ended(TaskProcess(script, ENVIRONMENT, timeout=0.5))
    assert outcome.exit_code == 0
    assert outcome.status == "Execution Failed: timed out"


def test_a_task_in_time_is_not_stopped() -> None:
    outcome = ended(TaskProcess("true", ENVIRONMENT, timeout=600))
    assert outcome.succeeded
    assert outcome.stopped is None


def test_a_task_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    script = "bash -c 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done'"
    process = TaskProcess(script, ENVIRONMENT, timeout=0.5, grace=0.3)
    outcome = ended(process)
    assert outcome.signal == signal.SIGKILL
    assert outcome.status == "Execution Failed: timed out"


IGNORING = 'trap "" TERM; echo ready > $READY; while :; do sleep 0.05; done'


def test_a_grandchild_that_ignores_sigterm_is_killed_with_its_group(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    mark = f"GRANDCHILD={tmp_path}"
    name, value = mark.split("=")
    environment = {**ENVIRONMENT, "READY": str(ready), name: value, "IGNORING": IGNORING}
    process = TaskProcess("bash -c 'bash -c \"$IGNORING\" & wait'", environment)
    eventually(ready.exists)
    assert len(processes(mark)) >= 2
    process.stop(StopReason.SHUTDOWN, grace=0.3)
    outcome = ended(process)
    assert outcome.signal == signal.SIGTERM, "the task itself obeyed it"
    assert outcome.interrupted
    eventually(lambda: not processes(mark))


def test_what_cannot_be_killed_is_said_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(TaskProcesses, "are_alive", lambda self, readings: True)
    process = TaskProcess("sleep 60", ENVIRONMENT)
    process.stop(StopReason.SHUTDOWN, grace=0)
    assert ended(process).interrupted
    assert "which keep running" in caplog.text
    assert "sleep 60" in caplog.text


def test_a_stopped_task_has_ended_once_its_whole_group_has(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    mark = f"GRANDCHILD={tmp_path}"
    name, value = mark.split("=")
    slow = 'trap "sleep 0.4; exit" TERM; echo ready > $READY; while :; do sleep 0.05; done'
    environment = {**ENVIRONMENT, "READY": str(ready), name: value, "SLOW": slow}
    process = TaskProcess("bash -c 'bash -c \"$SLOW\" & wait'", environment)
    eventually(ready.exists)
    process.stop(StopReason.SHUTDOWN, grace=20)
    ended(process)
    assert not processes(mark)


def test_the_first_reason_and_the_shortest_grace_count() -> None:
    script = "bash -c 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done'"
    process = TaskProcess(script, ENVIRONMENT, timeout=0.3, grace=600)
    eventually(lambda: process.poll() or process.next_poll() is not None)
    eventually(lambda: process.poll() or (process.next_poll() or 0) > time.monotonic() + 60)
    process.stop(StopReason.SHUTDOWN, grace=0)
    outcome = ended(process)
    assert (outcome.stopped, outcome.signal) == (StopReason.TIMEOUT, signal.SIGKILL)


def test_a_task_that_finishes_when_told_to_stop_has_ended_well(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"bash -c 'trap \"exit 0\" TERM; touch {ready}; while :; do sleep 0.05; done'"
    process = TaskProcess(script, ENVIRONMENT)
    eventually(ready.exists)
    process.stop(StopReason.SHUTDOWN, grace=20)
    outcome = ended(process)
    assert outcome.succeeded
    assert not outcome.interrupted


def test_a_suspended_task_sees_that_it_is_told_to_stop(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"bash -c 'trap \"exit 7\" TERM; touch {ready}; kill -STOP $$; sleep 60'"
    process = TaskProcess(script, ENVIRONMENT)
    eventually(ready.exists)
    process.stop(StopReason.SHUTDOWN, grace=20)
    outcome = ended(process)
    assert outcome.signal != signal.SIGKILL


def test_stopping_a_task_that_could_not_be_started_is_harmless() -> None:
    process = TaskProcess("no-such-program", ENVIRONMENT)
    process.stop(StopReason.SHUTDOWN, grace=20)
    outcome = ended(process)
    assert outcome.exit_code == 127


def test_a_left_over_grandchild_that_holds_stdout_does_not_hang(tmp_path: Path) -> None:
    mark = f"GRANDCHILD={tmp_path}"
    name, value = mark.split("=")
    process = TaskProcess("bash -c 'echo out; sleep 60 & exit 5'", {**ENVIRONMENT, name: value})
    outcome = ended(process)
    assert outcome.exit_code == 5
    assert said(outcome) == (b"out\n", b"")
    (left,) = processes(mark)
    os.kill(left, signal.SIGKILL)


def test_a_stream_opened_a_second_time_loses_nothing() -> None:
    script = "bash -c 'echo a; echo b >> /dev/stdout; echo c; echo d >> /dev/stdout'"
    assert said(run(script))[0] == b"a\nb\nc\nd\n"


def test_a_read_only_file_system_is_not_a_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run("false")
    real = os.statvfs("/")
    for flag, full in ((0, True), (os.ST_RDONLY, False)):
        values = [*real[:4], 0, *real[5:8], flag, real[9]]
        monkeypatch.setattr(os, "statvfs", lambda path, v=values: os.statvfs_result(v))
        assert bool(outcome.full_disk()) is full


@pytest.mark.parametrize("own_files", [True, False])
def test_a_process_that_a_task_left_behind_writes_into_no_other_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_files: bool
) -> None:
    """It leaves the task's session, says that it is there, and writes once it is told to; into the
    next task's log only if that gets the same files.
    """
    ready, go, done = (tmp_path / name for name in ("ready", "go", "done"))
    daemon = tmp_path / "daemon.sh"
    daemon.write_text(
        f"touch {ready}\nuntil [ -e {go} ]; do sleep 0.02; done\n"
        f"echo from the daemon\ntouch {done}\n"
    )
    first = run(f"bash -c 'setsid bash {daemon} & echo $!'")
    pid = int(said(first)[0])
    try:
        eventually(ready.exists)
        if not own_files:
            again = first.stdout.fileno()
            monkeypatch.setattr(
                tempfile, "TemporaryFile", lambda **given: os.fdopen(os.dup(again), "r+b", 0)
            )
        second = run("echo second")
        go.touch()
        eventually(done.exists)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert said(first)[0].endswith(b"from the daemon\n")
    assert b"second\n" in said(second)[0]
    assert (b"from the daemon" in said(second)[0]) is not own_files


def test_tasks_that_follow_one_another_take_no_more_descriptors() -> None:
    run("echo first")
    before = descriptors()
    for script in ("echo again", "no-such-program", "echo 'open"):
        ended(TaskProcess(script, ENVIRONMENT)).close()
    assert descriptors() == before
