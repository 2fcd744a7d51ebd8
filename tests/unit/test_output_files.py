"""Files for output: which are used again, and that no task's output gets into another's log."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from anamo.core.errors import HostError
from anamo.worker import orphans, task_process
from anamo.worker.orphans import PR_SET_CHILD_SUBREAPER, become_subreaper
from anamo.worker.output_files import OutputFiles
from anamo.worker.task_process import Outcome, TaskProcess
from tests.support.ended_tasks import descriptors
from tests.support.waiting import eventually

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def files() -> Iterator[OutputFiles]:
    """Those of a worker process, which adopts what its tasks leave behind."""
    become_subreaper()
    files = OutputFiles()
    yield files
    files.close()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def start(script: str, files: OutputFiles) -> TaskProcess:
    # Servers of other tests may be children of this process
    others = {child.pid for child in psutil.Process().children()}
    return TaskProcess(script, ENVIRONMENT, sessions=lambda: others, output_files=files)


def run(script: str, files: OutputFiles) -> Outcome:
    outcome = eventually(start(script, files).poll)
    assert outcome is not None
    return outcome


def printed(outcome: Outcome) -> tuple[bytes, bytes]:
    stdout, stderr = (os.pread(file.fileno(), 1000, 0) for file in (outcome.stdout, outcome.stderr))
    return stdout, stderr


def inodes(outcome: Outcome) -> set[int]:
    return {os.fstat(file.fileno()).st_ino for file in (outcome.stdout, outcome.stderr)}


def test_short_tasks_write_to_the_same_files_each_to_empty_ones(files: OutputFiles) -> None:
    first = run("bash -c 'echo out; echo err >&2'", files)
    before = inodes(first)
    assert printed(first) == (b"out\n", b"err\n")
    first.close()
    second = run("echo again", files)
    assert inodes(second) == before
    assert printed(second) == (b"again\n", b"")
    second.close()


def test_a_file_in_use_is_given_to_no_other_task(files: OutputFiles) -> None:
    first, second = run("echo 1", files), run("echo 2", files)
    assert not inodes(first) & inodes(second)
    assert (printed(first)[0], printed(second)[0]) == (b"1\n", b"2\n")
    first.close()
    second.close()


@pytest.mark.parametrize("guard", [True, False])
def test_what_a_task_left_behind_writes_into_no_other_log(
    files: OutputFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: bool
) -> None:
    """It has a session of its own, and writes once it is told to; into the next task's log only if
    nobody looks whether it is there.
    """
    if not guard:
        monkeypatch.setattr(task_process, "has_left_behind", lambda tasks: False)
    go, done = tmp_path / "go", tmp_path / "done"
    daemon = tmp_path / "daemon.sh"
    daemon.write_text(f"until [ -e {go} ]; do sleep 0.02; done\necho from it\ntouch {done}\n")
    first = run(f"bash -c 'setsid bash {daemon} & echo $!'", files)
    pid = int(printed(first)[0])
    first.close()
    second = run("echo second", files)
    try:
        go.touch()
        eventually(done.exists)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: os.waitpid(pid, os.WNOHANG)[0])
    assert (b"from it" in b"".join(printed(second))) is not guard
    second.close()


def test_the_files_of_a_longer_task_are_not_used_again(
    files: OutputFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_process, "SHORT_SECONDS", 0.0)
    before = descriptors()
    run("echo first", files).close()
    assert descriptors() == before


def test_files_are_not_used_again_where_the_system_does_not_tell_what_is_left(
    files: OutputFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(orphans, "CHILDREN", tmp_path / "missing")
    before = descriptors()
    run("echo first", files).close()
    assert descriptors() == before


def test_files_that_another_thread_has_read_are_not_used_again(files: OutputFiles) -> None:
    before = descriptors()
    process = start("true", files)
    with process.output() as output:
        assert output
    outcome = eventually(process.poll)
    assert outcome
    outcome.close()
    assert descriptors() == before


def test_a_task_finds_its_files_at_their_beginning_and_unlocked(files: OutputFiles) -> None:
    first = run("bash -c 'echo 1; echo 2 >&2; flock 1; flock 2'", files)
    before = inodes(first)
    first.close()
    script = """bash -c 'exec 9>>/dev/stdout; flock -n 9 && perl -e "print tell(STDOUT)"'"""
    second = run(script, files)
    assert inodes(second) == before
    assert printed(second) == (b"0", b"")
    second.close()


def test_space_that_a_task_has_reserved_is_given_back(files: OutputFiles) -> None:
    outcome = run("fallocate -n -l 1M /dev/stdout", files)
    assert outcome.succeeded
    file = outcome.stdout
    assert os.fstat(file.fileno()).st_blocks
    outcome.close()
    assert not os.fstat(file.fileno()).st_blocks


def test_flags_that_a_task_sets_do_not_last(files: OutputFiles) -> None:
    script = "python3 -c 'import fcntl, os; fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK); print(1)'"
    outcome = run(script, files)
    assert fcntl.fcntl(outcome.stdout, fcntl.F_GETFL) & os.O_NONBLOCK
    outcome.close()
    with files.take() as first, files.take() as second:
        for file in (first, second):
            flags = fcntl.fcntl(file, fcntl.F_GETFL)
            assert flags & os.O_APPEND
            assert not flags & os.O_NONBLOCK


def test_no_more_are_kept_than_a_process_can_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (33, 1024))
    files = OutputFiles()
    before = descriptors()
    taken = [files.take() for _ in range(10)]
    for file in taken:
        files.give_back(file)
    assert descriptors() == before + 4
    files.close()
    assert descriptors() == before


def test_no_file_is_an_error_of_the_host(
    files: OutputFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(HostError, match="no file for a task's output"):
        files.take()
