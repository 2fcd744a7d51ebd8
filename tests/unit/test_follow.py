"""What `logs --follow` writes, check by check."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from anamo.aws.log_store import LogStore
from anamo.aws.retry import OperatorRetry
from anamo.core.errors import LogMissing, TransientError
from anamo.core.record import Record
from anamo.operator import follow
from anamo.operator.follow import Follower
from anamo.operator.log_writer import LogWriter
from anamo.operator.logs import LogsRequest
from anamo.operator.target import Words


def asked(**how: Any) -> LogsRequest:
    return LogsRequest(Words([], [], None), None, **how)


class Stage:
    """An item and its objects in S3, as they are at each look; what was written and said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = "Align"
        self.looks: list[tuple[Record | None, dict[str, bytes]]] = []
        self.written = b""
        self.headings: list[str] = []
        self.ended: list[str] = []
        self.said: list[str] = []
        self.breaks_after: int | None = None
        stage = self

        def read(_: LogStore, key: str, __: str) -> Iterator[bytes]:
            objects = stage.looks[0][1]
            if key not in objects:
                raise LogMissing(key)
            # In pieces that end anywhere
            for position, each in enumerate(objects[key]):
                if position == stage.breaks_after:
                    stage.breaks_after = None
                    raise TransientError("bucket logs: out of order")
                yield bytes([each])

        monkeypatch.setattr(LogStore, "read", read)
        monkeypatch.setattr(follow, "FOLLOW_SECONDS", 0)

    def read(self, *_: Any) -> list[Record]:
        record = self.looks[0][0]
        return [record] if record else []

    def follow(self, request: LogsRequest | None = None, *, with_table: bool = False) -> None:
        stage: Any = self
        retry = OperatorRetry(self.said.append, sleep=lambda seconds: None)
        writer: Any = Writer(self)
        follower = Follower(
            None, retry, request or asked(), writer, self.said.append,
            sleep=lambda _: self.looks.pop(0),
        )  # fmt: skip
        first = self.looks[0][0]
        assert first
        follower.follow([(stage, first)], with_table=with_table)


class Writer:
    """Keeps what a LogWriter would write."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(self, pieces: Iterator[bytes], heading: str) -> None:
        self._stage.headings.append(heading)
        for piece in pieces:
            self._stage.written += piece

    def end(self, heading: str) -> None:
        self._stage.ended.append(heading)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


SO_FAR, WHOLE = "so-far.log.gz", "whole.log.gz"


def item(state: str, lock: str = "one", attempt: int = 1) -> Record:
    values: dict[str, object] = {"itemID": 7, "taskID": "S7", "ItemState": state, "lockID": lock}
    values |= {"TaskScript": "x", "Attempts": attempt}
    if state == "locked":
        values["Log_So_Far"] = f"s3://logs/{SO_FAR}"
    if state in ("done", "failed"):
        values["Log"] = {"Status": "Execution Successful", "S3": f"s3://logs/{WHOLE}"}
    return Record.from_values(values)


def log(stdout: bytes, stderr: bytes = b"", begins: int = 0, lock: str = "one") -> bytes:
    header = f"taskID: S7\nlockID: {lock}\nstdout begins at byte: {begins}\n"
    streams = b"".join(
        b"\n== %s, %d bytes ==\n" % (name, len(text)) + text
        for name, text in ((b"stdout", stdout), (b"stderr", stderr))
    )
    return header.encode() + streams + b"\n"


def test_every_byte_is_written_once_and_the_last_of_them_from_the_whole_log(stage: Stage) -> None:
    stage.looks = [
        (item("locked"), {}),
        (item("locked"), {SO_FAR: log(b"1\n")}),
        (item("locked"), {SO_FAR: log(b"1\n")}),
        (item("locked"), {SO_FAR: log(b"1\n2", b"!")}),
        (item("done"), {WHOLE: log(b"1\n2\n3\n", b"!?")}),
    ]
    stage.follow()
    assert stage.written == b"1\n2!\n3\n?"
    assert stage.ended == ["S7 (item 7) stdout", "S7 (item 7) stderr"]
    assert stage.said == ["S7 (item 7) is locked", "S7 (item 7) is done"]


def test_what_lay_between_two_objects_is_said(stage: Stage) -> None:
    stage.looks = [
        (item("locked"), {SO_FAR: log(b"123")}),
        (item("locked"), {SO_FAR: log(b"89", begins=7)}),
        (item("done"), {WHOLE: log(b"1234567890")}),
    ]
    stage.follow()
    assert stage.written == b"123890"
    assert any("4 bytes of stdout left out" in line for line in stage.said)


def test_another_claim_begins_again_and_an_old_object_is_not_taken_for_its(stage: Stage) -> None:
    stage.looks = [
        (item("locked"), {SO_FAR: log(b"12")}),
        (item("locked", "two", 2), {SO_FAR: log(b"12")}),
        (item("locked", "two", 2), {SO_FAR: log(b"ab", lock="two")}),
        (item("failed", "two", 2), {WHOLE: log(b"abc", lock="two")}),
    ]
    stage.follow()
    assert stage.written == b"12abc"
    assert "S7 (item 7) is being retried (attempt 2)" in stage.said


def test_the_first_claim_of_an_item_that_waited_is_none_again(stage: Stage) -> None:
    stage.looks = [
        (item("todo", "import", 0), {}),
        (item("locked"), {SO_FAR: log(b"1")}),
        (item("done"), {WHOLE: log(b"12")}),
    ]
    stage.follow()
    assert stage.written == b"12"
    assert stage.said == [
        "S7 (item 7) is todo; no worker has claimed it",
        "S7 (item 7) is locked",
        "S7 (item 7) is done",
    ]


def test_a_tail_is_where_it_begins_and_stderr_can_be_all(stage: Stage) -> None:
    stage.looks = [
        (item("locked"), {SO_FAR: log(b"1\n2\n3\n", b"a\nb\n")}),
        (item("done"), {WHOLE: log(b"1\n2\n3\n4\n5\n", b"a\nb\nc\nd\n")}),
    ]
    looks = [*stage.looks]
    stage.follow(asked(tail=1))
    assert stage.written == b"3\nb\n4\n5\nc\nd\n"
    stage.looks, stage.written = looks, b""
    stage.follow(asked(stderr=True))
    assert stage.written == b"a\nb\nc\nd\n"


RUNNING, ENDED = log(b"3\n4\n", b"a\n", begins=4), log(b"1\n2\n3\n4\n5\n", b"a\nb\n")


@pytest.mark.parametrize("breaks_in", [SO_FAR, WHOLE])
@pytest.mark.parametrize("tail", [None, 1])
def test_where_s3_breaks_off_it_goes_on(stage: Stage, breaks_in: str, tail: int | None) -> None:
    looks = [(item("locked"), {SO_FAR: RUNNING}), (item("done"), {WHOLE: ENDED})]
    if breaks_in == WHOLE:
        # Not left out: the log of an item that has ended when it is first looked at is not written
        looks[0] = (item("locked"), {})
    stage.looks = [*looks]
    stage.follow(asked(tail=tail))
    expected, said = stage.written, stage.said
    assert expected
    for position in range(len(RUNNING if breaks_in == SO_FAR else ENDED)):
        stage.looks, stage.written, stage.said = [*looks], b"", []
        stage.breaks_after = position
        stage.follow(asked(tail=tail))
        assert stage.written == expected
        fault = next(line for line in stage.said if "out of order; trying again for" in line)
        stage.said.remove(fault)
        assert stage.said == said


@pytest.mark.parametrize("end", [None, item("held")])
def test_an_item_that_is_gone_or_held_is_not_waited_for(stage: Stage, end: Record | None) -> None:
    stage.looks = [(item("todo"), {}), (end, {})]
    stage.follow()
    assert stage.said[0] == "S7 (item 7) is todo; no worker has claimed it"
    assert "is gone" in stage.said[1] or "is held" in stage.said[1]


def test_a_nested_task_is_meant_by_its_argument_and_of_several_tables_each_is_named(
    stage: Stage,
) -> None:
    tasks = {f"Task_{k}": {"Status": "todo", "Script": f"call chr{k}"} for k in range(2)}
    values = {"itemID": 7, "taskID": "S7", "lockID": "one", "TaskScript": tasks}
    running = {**values, "ItemState": "locked", "Log_So_Far": f"s3://logs/{SO_FAR}"}
    objects = {
        SO_FAR: b"".join(
            log(b"of %d\n" % k).replace(b"lockID", b"nested task: Task_%d\nlockID" % k, 1)
            for k in range(2)
        )
    }
    stage.looks = [
        (Record.from_values(running), objects),
        (Record.from_values({**values, "ItemState": "done"}), {}),
    ]
    stage.follow(asked(nested="chr1"), with_table=True)
    assert stage.written == b"of 1\n"
    assert stage.headings == ["Align S7 Task_1 chr1 (item 7) stdout"]
    assert stage.said == ["Align S7 (item 7) is locked", "Align S7 (item 7) is done"]


def test_a_task_that_is_run_again_is_followed_and_its_earlier_run_is_not(stage: Stage) -> None:
    def again(state: str, lock: str, log: str, attempt: int = 1) -> Record:
        values = {"itemID": 7, "taskID": "S7", "ItemState": state, "lockID": lock}
        values |= {"TaskScript": "x", "Attempts": attempt, "Log_So_Far": f"s3://logs/{SO_FAR}"}
        entry = {"Status": "Execution Failed: exit 3", "S3": f"s3://logs/{log}"}
        return Record.from_values({**values, "Log": entry})

    stage.looks = [
        # Requeued: the entry of its last run stays until the next one has ended
        (again("todo", "one", "old"), {"old": log(b"old")}),
        (again("locked", "two", "old"), {SO_FAR: log(b"12", lock="two")}),
        # It has failed and is tried again
        (again("todo", "two", "second"), {"second": log(b"123", lock="two")}),
        (again("locked", "three", "second", 2), {SO_FAR: log(b"a", lock="three")}),
        (again("failed", "three", "third", 2), {"third": log(b"ab", lock="three")}),
    ]
    stage.follow()
    assert stage.written == b"123ab"


def test_a_heading_is_written_where_another_begins(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    write = LogWriter()
    for pieces, heading in (([b"1"], "S7"), ([b"2\n"], "S7"), ([b"3\n"], "S8"), ([b"4\n"], "S7")):
        write(pieces, heading)
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == (b"==> S7 <==\n12\n==> S8 <==\n3\n==> S7 <==\n4\n")
