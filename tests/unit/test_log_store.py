"""Whole logs: members, tails, tags, lines; flat memory."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anamo.aws.log_store import CHUNK, IN_MEMORY, TAG_WINDOW, Ended, LogStore, Packed, pack
from anamo.aws.session import s3_client as our_client
from anamo.core.errors import (
    AccessDenied,
    AwsError,
    BucketMissing,
    Throttled,
    TransientError,
    Unreachable,
)
from anamo.core.item_size import STREAM_TAIL
from anamo.core.log_entry import LogEntry
from anamo.worker.task_process import Outcome, StopReason
from tests.support.proxy import Behaviour, Proxy, cutting, failing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HEADER = {"PyAnamo": "1", "command": "seq 3", "status": "Execution Successful"}


class Tasks:
    """Makes tasks that have ended, and closes their files."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder

    def file(self, content: bytes = b"", times: int = 1) -> IO[bytes]:
        file: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        for _ in range(times):
            file.write(content)
        file.flush()
        return file

    def ended(self, stdout: IO[bytes] | bytes = b"", stderr: bytes = b"") -> Ended:
        outcome = Outcome(
            script="seq 3",
            exit_code=0,
            signal=0,
            stopped=None,
            started="2026-01-31T09:30:00Z",
            ended="2026-01-31T09:30:01Z",
            seconds=1.25,
            max_rss_mb=12.5,
            stdout=self.file(stdout) if isinstance(stdout, bytes) else stdout,
            stderr=self.file(stderr),
        )
        return Ended(outcome, HEADER)

    def pack(self, tasks: Sequence[Ended], limit: int = STREAM_TAIL) -> Packed:
        return pack("a/b/c.log.gz", "s3://bucket/a/b/c.log.gz", tasks, limit, lambda: self.folder)

    def entry(self, stdout: IO[bytes] | bytes, limit: int = STREAM_TAIL) -> LogEntry:
        return self.pack([self.ended(stdout)], limit).entries[0]


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Tasks]:
    with ExitStack() as stack:
        yield Tasks(stack, tmp_path)


def content(packed: Packed) -> bytes:
    return packed.body if isinstance(packed.body, bytes) else packed.body.read_bytes()


def member(packed: Packed, entry: LogEntry) -> bytes:
    first, last = map(int, entry.s3_range.split("-"))
    return gzip.decompress(content(packed)[first : last + 1])


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
        entry = Tasks(stack, Path("/nowhere")).entry(printed, limit)
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
    assert packed.body == tasks.folder / "c.log.gz"
    assert b"\nsmall\n" in member(packed, packed.entries[0])
    assert printed in member(packed, packed.entries[1])
    assert b"\nsmall\n" in member(packed, packed.entries[2])
    assert gzip.decompress(content(packed)).count(b"\nsmall\n") == 2


def test_a_small_object_never_touches_the_disk(tasks: Tasks) -> None:
    assert isinstance(tasks.pack([tasks.ended(b"x" * 5_000_000)]).body, bytes)
    assert list(tasks.folder.iterdir()) == []


def test_an_error_while_packing_leaves_nothing_behind(tasks: Tasks) -> None:
    broken = tasks.ended()
    broken.outcome.stdout.close()
    with pytest.raises(ValueError, match="closed"):
        tasks.pack([tasks.ended(os.urandom(IN_MEMORY + CHUNK)), broken])
    assert list(tasks.folder.iterdir()) == []


def test_output_that_gets_shorter_while_it_is_read_is_an_error(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anamo.aws.log_store.os.pread", lambda *_: b"")
    with pytest.raises(OSError, match="stdout of a task got shorter"):
        tasks.pack([tasks.ended(b"output")])


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


# S3


@pytest.mark.parametrize("size", [1000, IN_MEMORY + 3 * CHUNK])
def test_a_member_is_read_back_from_s3_by_its_range(
    tasks: Tasks, s3_client: S3Client, bucket: str, size: int
) -> None:
    printed = os.urandom(size)
    packed = tasks.pack([tasks.ended(b"small\n"), tasks.ended(printed), tasks.ended(b"last\n")])
    LogStore(s3_client, bucket).put(packed)
    for text, entry in zip((b"small\n", printed, b"last\n"), packed.entries, strict=True):
        reply = s3_client.get_object(Bucket=bucket, Key=packed.key, Range=f"bytes={entry.s3_range}")
        assert text in gzip.decompress(reply["Body"].read())
    head = s3_client.head_object(Bucket=bucket, Key=packed.key)
    assert head["ContentType"] == "application/gzip"


def test_a_missing_bucket_is_named(tasks: Tasks, s3_client: S3Client) -> None:
    store = LogStore(s3_client, "no-such-bucket")
    with pytest.raises(BucketMissing, match="bucket no-such-bucket does not exist"):
        store.check()
    with pytest.raises(BucketMissing, match="bucket no-such-bucket does not exist"):
        store.put(tasks.pack([tasks.ended()]))


def test_a_usable_bucket_passes(s3_client: S3Client, bucket: str) -> None:
    LogStore(s3_client, bucket).check()
    assert LogStore(s3_client, bucket).address("a/b") == f"s3://{bucket}/a/b"


@pytest.fixture
def refused(
    make_proxy: Callable[[str], Proxy], s3: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Behaviour], LogStore]]:
    """Make a store whose requests are treated in a certain way."""
    proxy = make_proxy(s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
    client = our_client(None, attempts=1)

    def store(behaviour: Behaviour) -> LogStore:
        proxy.behaviour = behaviour
        return LogStore(client, bucket)

    yield store
    client.close()


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (failing("AccessDenied", 403), AccessDenied),
        (failing("InternalError", 500), TransientError),
        (failing("SlowDown", 503), Throttled),
        (failing("InvalidRequest", 400), AwsError),
        (cutting, Unreachable),
    ],
    ids=["denied", "failing", "throttling", "refusing", "away"],
)
@pytest.mark.parametrize("size", [1000, IN_MEMORY + 3 * CHUNK])
def test_what_s3_says_is_told_apart(
    tasks: Tasks,
    refused: Callable[[Behaviour], LogStore],
    behaviour: Behaviour,
    error: type[AwsError],
    size: int,
) -> None:
    store = refused(behaviour)
    with pytest.raises(error) as caught:
        store.put(tasks.pack([tasks.ended(os.urandom(size))]))
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"bucket {store.bucket}: ")
