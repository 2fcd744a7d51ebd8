"""The files that tasks print to: used again, never shared."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from anamo.worker.outfile import KEPT, SMALL, OutFile, OutFiles
from anamo.worker.task_process import Execution, Outcome
from tests.support.waiting import eventually

PATH = {"PATH": os.environ["PATH"]}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def ended(script: str, files: OutFiles) -> Outcome:
    execution = Execution(script, PATH, files=files)
    outcome = eventually(execution.poll)
    assert outcome is not None
    return outcome


def printed(outcome: Outcome) -> bytes:
    """Both streams, one after the other."""
    files = (outcome.stdout, outcome.stderr)
    return b"".join(os.pread(file.fileno(), 1 << 20, 0) for file in files)


@contextmanager
def holding(file: OutFile, flags: int) -> Iterator[None]:
    """While a process that the task left behind has its output open."""
    left = os.open(f"/proc/self/fd/{file.writer}", flags)
    try:
        yield
    finally:
        os.close(left)


def test_a_file_is_used_again_and_empty() -> None:
    files = OutFiles()
    first = files.new()
    os.write(first.writer, b"printed by the first task")
    first.begun()
    first.close()
    second = files.new()
    assert second is first
    assert os.fstat(second.fileno()).st_size == 0
    second.discard()


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY])
def test_a_file_that_somebody_has_open_is_not_used_again(flags: int) -> None:
    """Who can only read could open it anew."""
    files = OutFiles()
    first = files.new()
    with holding(first, flags):
        first.begun()
        first.close()
    second = files.new()
    assert second is not first
    second.discard()


def test_no_more_files_are_kept_than_a_process_can_spare() -> None:
    files = OutFiles()
    before = descriptors()
    for file in [files.new() for _ in range(KEPT + 10)]:
        file.close()
    assert descriptors() == before + KEPT
    for file in [files.new() for _ in range(KEPT)]:
        file.discard()
    assert descriptors() == before


def test_a_file_that_takes_space_is_not_kept() -> None:
    files = OutFiles()
    first = files.new()
    os.write(first.writer, bytes(SMALL + 1))
    first.close()
    assert files.new() is not first


@pytest.mark.parametrize(
    ("looks", "log"), [(True, b"second\n"), (False, b"second\nfrom the daemon\n")]
)
def test_a_process_that_a_task_left_behind_writes_into_no_other_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: bool, log: bytes
) -> None:
    """It leaves the task's session, says that it is there, and writes once it is told to; into the
    next task's log if nobody looks whether it is there.
    """
    if not looks:
        monkeypatch.setattr(OutFile, "_is_left", lambda self: True)
    ready, go, done = (tmp_path / name for name in ("ready", "go", "done"))
    daemon = tmp_path / "daemon.sh"
    daemon.write_text(
        f"touch {ready}\nuntil [ -e {go} ]; do sleep 0.02; done\n"
        f"echo from the daemon\ntouch {done}\n"
    )
    files = OutFiles()
    first = ended(f"bash -c 'echo first; setsid bash {daemon} & echo $!'", files)
    pid = int(printed(first).split()[-1])
    try:
        eventually(ready.exists)
        first.close()
        second = ended("echo second", files)
        go.touch()
        eventually(done.exists)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert printed(second) == log
    second.close()


def test_tasks_that_follow_one_another_take_no_more_descriptors() -> None:
    files = OutFiles()
    ended("echo first", files).close()
    before = descriptors()
    for _ in range(5):
        ended("echo again", files).close()
    ended("no-such-program", files).close()
    assert descriptors() == before


def test_where_leases_are_not_to_be_had_each_task_has_a_new_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_arguments: object) -> int:
        raise OSError

    monkeypatch.setattr("anamo.worker.outfile.fcntl.fcntl", refused)
    files = OutFiles()
    before = descriptors()
    for text in (b"first\n", b"second\n"):
        outcome = ended(f"echo {text.decode().strip()}", files)
        assert printed(outcome) == text
        outcome.close()
    assert descriptors() == before
