"""Whole logs: members, tails, tags, lines; flat memory."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anamo.aws.log_store import CHUNK, IN_MEMORY
from anamo.core.item_size import STREAM_TAIL
from anamo.core.log_entry import LogEntry
from anamo.worker.log_packer import TAG_WINDOW, Ended, pack
from anamo.worker.task_process import Outcome, StopReason
from tests.support.ended_tasks import HEADER, Tasks, content, descriptors, member


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    with ExitStack() as stack:
        yield Tasks(stack)


def test_a_member_holds_header_stdout_and_stderr(tasks: Tasks) -> None:
    packed = tasks.pack([tasks.ended(b"1\n2\n3\n", b"a warning\n")])
    assert gzip.decompress(content(packed)).decode() == (
        "PyAnamo: 1\ncommand: seq 3\nstatus: Execution Successful\n"
        "\n== stdout, 6 bytes ==\n1\n2\n3\n"
        "\n== stderr, 10 bytes ==\na warning\n\n"
    )


def test_an_entry_says_how_the_task_ended_and_where_its_log_is(tasks: Tasks) -> None:
    packed = tasks.pack([tasks.ended(b"1\n2\n3", b"a warning\n")])
    assert packed.key == "a/b/c.log.gz"
    assert packed.entries == (
        LogEntry(
            status="Execution Successful",
            stdout="1\n2\n3",
            stderr="a warning\n",
            exit_code=0,
            seconds=1.25,
            max_rss_mb=12.5,
            s3="s3://bucket/a/b/c.log.gz",
            s3_range=f"0-{len(content(packed)) - 1}",
            lines=4,
        ),
    )


def test_each_range_is_one_tasks_member_and_zcat_reads_them_all(tasks: Tasks) -> None:
    packed = tasks.pack([tasks.ended(f"task {k}\n".encode()) for k in range(50)])
    for k, entry in enumerate(packed.entries):
        assert f"\ntask {k}\n".encode() in member(packed, entry)
    ranges = [tuple(map(int, entry.s3_range.split("-"))) for entry in packed.entries]
    ends = [-1, *(last for _, last in ranges)]
    assert [first for first, _ in ranges] == [last + 1 for last in ends[:-1]]
    assert ends[-1] == len(content(packed)) - 1
    read = subprocess.run(["zcat"], input=content(packed), capture_output=True, check=True).stdout
    assert re.findall(rb"^task \d+$", read, re.MULTILINE) == [b"task %d" % k for k in range(50)]


def test_a_header_stays_a_line_whatever_its_values_hold(tasks: Tasks) -> None:
    ended = Ended(tasks.ended().outcome, {"command": "printf 'a\r\nstatus: fake'"})
    assert gzip.decompress(content(tasks.pack([ended]))).startswith(
        b"command: printf 'a\\r\\nstatus: fake'\n\n== stdout"
    )


@pytest.mark.parametrize(
    ("stdout", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"\n\n", 2)]
)
def test_lines_are_counted_with_an_unfinished_last_one(
    tasks: Tasks, stdout: bytes, lines: int
) -> None:
    assert tasks.entry(stdout).lines == lines


# Tails


def test_a_tail_is_the_last_of_the_output(tasks: Tasks) -> None:
    printed = "".join(f"line {k}\n" for k in range(10_000))
    assert tasks.entry(printed.encode()).stdout == printed[-STREAM_TAIL:]


def test_no_room_is_an_empty_tail(tasks: Tasks) -> None:
    entry = tasks.entry(b"PyAnamo:\ttag\nout\n", limit=0)
    assert (entry.stdout, entry.tags) == ("", ())


def test_output_that_is_no_text_leaves_a_tail_that_is(tasks: Tasks) -> None:
    assert tasks.entry(b"a\xff\xfeb\n").stdout == "a\ufffd\ufffdb\n"
    entry = tasks.entry(bytes(range(256)) * 100)
    assert 0 < len(entry.stdout.encode()) <= STREAM_TAIL


def test_the_log_in_s3_has_the_very_bytes(tasks: Tasks) -> None:
    printed = bytes(range(256)) * 100
    assert printed in gzip.decompress(content(tasks.pack([tasks.ended(printed)])))


@given(st.binary(max_size=300), st.integers(0, 100))
def test_a_tail_never_takes_more_room_than_it_has(printed: bytes, limit: int) -> None:
    with ExitStack() as stack:
        entry = Tasks(stack).entry(printed, limit)
        assert len(entry.stdout.encode()) <= limit
        if printed.isascii():
            assert entry.stdout == printed.decode()[max(len(printed) - limit, 0) :]


# Tags


def test_tags_are_what_stands_behind_the_mark_at_the_start_of_lines(tasks: Tasks) -> None:
    printed = (
        b"PyAnamo:\tfirst\nPyAnamo: no tab\n PyAnamo:\tnot at the start\n"
        b"PyAnamo:\twith\ttabs \nPyAnamo:\t\xff\nother\nPyAnamo:\tlast, unfinished"
    )
    assert tasks.entry(printed).tags == ("first", "with\ttabs ", "\ufffd", "last, unfinished")


def test_tags_of_stderr_do_not_count(tasks: Tasks) -> None:
    packed = tasks.pack([tasks.ended(b"", b"PyAnamo:\ttag\n")])
    assert packed.entries[0].tags == ()


@pytest.mark.parametrize("offset", [*range(-14, 3), -TAG_WINDOW, TAG_WINDOW])
def test_a_tag_across_chunks_is_found_once_and_whole(tasks: Tasks, offset: int) -> None:
    before = b"x" * (CHUNK + offset - 1) + b"\n"
    assert tasks.entry(before + b"PyAnamo:\tthe tag\nother\n").tags == ("the tag",)


def test_a_mark_in_the_middle_of_a_line_is_no_tag_even_at_a_chunks_begin(tasks: Tasks) -> None:
    printed = b"x" * CHUNK + b"PyAnamo:\tnot a tag\n" + b"x" * CHUNK
    assert tasks.entry(printed).tags == ()
    printed = b"x" * (CHUNK - TAG_WINDOW) + b"PyAnamo:\tnot a tag\n" + b"x" * CHUNK
    assert tasks.entry(printed).tags == ()


def test_tags_of_every_chunk_are_found_in_order(tasks: Tasks) -> None:
    filler = b"y" * (CHUNK // 3) + b"\n"
    printed = b"".join(b"PyAnamo:\t%d\n" % k + filler for k in range(20))
    assert tasks.entry(printed).tags == tuple(map(str, range(20)))


def test_tags_beyond_their_room_are_left_out(tasks: Tasks) -> None:
    printed = b"".join(b"PyAnamo:\ttag-%04d\n" % k for k in range(1000))
    tags = tasks.entry(printed, limit=100).tags
    assert tags == tuple(f"tag-{k:04}" for k in range(11))
    assert sum(len(tag) + 1 for tag in tags) <= 100


def test_a_tag_longer_than_its_room_is_left_out_or_cut(tasks: Tasks) -> None:
    entry = tasks.entry(b"PyAnamo:\t" + b"t" * 3_000_000 + b"\n", limit=100)
    assert sum(len(tag) + 1 for tag in entry.tags) <= 100


# Size


def test_200_mb_of_output_take_little_memory(tasks: Tasks) -> None:
    line = b"a line of some length that a program may print again and again\n"
    file = tasks.file(line * 16_384, times=200)
    size = os.fstat(file.fileno()).st_size
    assert size > 200_000_000
    ended = tasks.ended(file)
    tracemalloc.start()
    try:
        packed = tasks.pack([ended])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * IN_MEMORY
    assert packed.entries[0].lines == 200 * 16_384
    assert packed.entries[0].stdout == (line * 100)[-STREAM_TAIL:].decode()


def test_a_large_object_goes_to_disk_and_is_the_same(tasks: Tasks) -> None:
    printed = os.urandom(IN_MEMORY + 3 * CHUNK)
    small, large = tasks.ended(b"small\n"), tasks.ended(printed)
    packed = tasks.pack([small, large, small])
    assert isinstance(packed.body, Path)
    assert b"\nsmall\n" in member(packed, packed.entries[0])
    assert printed in member(packed, packed.entries[1])
    assert b"\nsmall\n" in member(packed, packed.entries[2])
    assert gzip.decompress(content(packed)).count(b"\nsmall\n") == 2


def test_a_small_object_never_touches_the_disk(
    tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = tasks.ended(b"x" * 5_000_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert isinstance(tasks.pack([ended]).body, bytes)


def test_a_large_object_has_no_name_and_ends_with_its_context(
    tasks: Tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = tasks.ended(os.urandom(IN_MEMORY + CHUNK))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = descriptors()
    with pack("key", "s3://bucket/key", [ended], STREAM_TAIL) as packed:
        assert descriptors() == before + 1
        assert isinstance(packed.body, Path)
        assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


def test_an_error_while_packing_leaves_nothing_behind(tasks: Tasks) -> None:
    broken, large = tasks.ended(), tasks.ended(os.urandom(IN_MEMORY + CHUNK))
    broken.outcome.stdout.close()
    before = descriptors()
    with pytest.raises(ValueError, match="closed"):
        tasks.pack([large, broken])
    assert descriptors() == before


@pytest.mark.parametrize("left", [b"", b"later\n"])
def test_of_output_that_is_emptied_while_it_is_read_the_rest_is_logged(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    stdout = tasks.file(os.urandom(3 * CHUNK))
    task, first, last = tasks.ended(stdout), tasks.ended(b"first\n"), tasks.ended(b"last\n")
    pread, reads = os.pread, []

    def emptied(descriptor: int, size: int, position: int) -> bytes:
        if descriptor == stdout.fileno():
            reads.append(position)
            if len(reads) == 2:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, left, 0)
        return pread(descriptor, size, position)

    monkeypatch.setattr("anamo.worker.log_packer.os.pread", emptied)
    packed = tasks.pack([first, task, last])
    assert len(reads) > 2
    entry = packed.entries[1]
    shown = f"\n== stdout, {len(left)} bytes ==\n".encode() + left + b"\n== stderr, 0 bytes ==\n"
    assert member(packed, entry).partition(b"\n\n")[2] == (shown + b"\n")[1:]
    assert (entry.stdout.encode(), entry.lines) == (left, left.count(b"\n"))
    assert gzip.decompress(content(packed)).count(b"\n== stdout, ") == 3


def test_a_stopped_task_is_packed_as_it_ended(tasks: Tasks) -> None:
    outcome = tasks.ended(b"begun\n").outcome
    stopped = Outcome(
        **{
            **{name: getattr(outcome, name) for name in outcome.__slots__},
            "exit_code": 143,
            "signal": 15,
            "stopped": StopReason.TIMEOUT,
        }
    )
    entry = tasks.pack([Ended(stopped, HEADER)]).entries[0]
    assert (entry.status, entry.exit_code) == ("Execution Failed: timed out", 143)
