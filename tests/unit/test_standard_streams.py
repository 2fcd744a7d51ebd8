"""Standard streams that are closed, or that nobody reads."""

from __future__ import annotations

import os
import pty
import select
import sys
from collections.abc import Iterator
from time import monotonic

import pytest

from anamo.cli.standard_streams import KEPT, NonBlockingStream, non_blocking_stderr
from tests.support.waiting import eventually

LINE = "x" * 999


@pytest.fixture(params=["pipe", "terminal"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """The reader's end and the writer's, of a pipe or a terminal."""
    reader, writer = os.pipe() if request.param == "pipe" else pty.openpty()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def text(reader: int) -> str:
    """What can be read now."""
    read = b""
    while select.select([reader], [], [], 0)[0]:
        read += os.read(reader, 1 << 16)
    return read.decode().replace("\r\n", "\n")


def fill(stream: NonBlockingStream) -> None:
    """Say more than the reader's end and the stream can hold."""
    for _ in range(4 * KEPT // len(LINE)):
        print(LINE, file=stream)


def test_what_is_said_is_written_at_once(ends: tuple[int, int]) -> None:
    stream = NonBlockingStream("program", ends[1])
    print("one", file=stream)
    assert eventually(lambda: text(ends[0])) == "one\n"
    print("begun", end="", file=stream)
    print("begun", end="", file=stream, flush=True)
    assert eventually(lambda: text(ends[0])) == "begunbegun"


def test_nobody_waits_and_what_was_dropped_is_counted(ends: tuple[int, int]) -> None:
    stream = NonBlockingStream("program", ends[1])
    fill(stream)
    read = ""

    def said() -> bool:
        nonlocal read
        read += text(ends[0])
        stream.flush()
        return read.endswith("nobody read stderr\n")

    eventually(said)
    *lines, last = read.splitlines()
    assert set(lines) == {LINE}
    dropped = 4 * KEPT // len(LINE) - len(lines)
    assert dropped > 0
    assert last == f"program: {dropped} messages were dropped: nobody read stderr"
    print("more", file=stream)
    assert eventually(lambda: text(ends[0])) == "more\n"


def test_waiting_for_a_reader_ends(ends: tuple[int, int]) -> None:
    stream = NonBlockingStream("program", ends[1])
    fill(stream)
    stream.drain(0.01)


def test_the_descriptor_that_others_share_waits_as_before(ends: tuple[int, int]) -> None:
    NonBlockingStream("program", ends[1])
    assert os.get_blocking(ends[1])


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    stream = NonBlockingStream("program", writer)
    os.close(reader)
    print("one", file=stream)
    began = monotonic()
    stream.drain(60)
    assert monotonic() < began + 60
    os.close(writer)


def test_a_file_is_written_on_where_it_ends(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("file") / "log"
    path.write_text("before\n")
    with path.open("a") as file:
        print("after", file=NonBlockingStream("program", file.fileno()))
    assert path.read_text() == "before\nafter\n"


def test_a_forked_process_does_not_say_again_what_its_parent_said() -> None:
    reader, writer = os.pipe()
    stream = NonBlockingStream("program", writer)
    fill(stream)
    if (child := os.fork()) == 0:
        os.read(reader, 1 << 16)
        stream.flush()
        os._exit(0)
    os.waitpid(child, 0)
    assert text(reader) == ""
    os.close(reader)
    os.close(writer)


def test_a_stream_in_the_place_of_stderr_stays(capsys: pytest.CaptureFixture[str]) -> None:
    with non_blocking_stderr("program"):
        print("one", file=sys.stderr)
    assert capsys.readouterr().err == "one\n"
