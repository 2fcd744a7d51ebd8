"""The forms of an export, and what is held in memory meanwhile."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest

from anamo.core.errors import Throttled, UsageError
from anamo.core.record import Record
from anamo.core.task import COLUMNS, Task
from anamo.operator import tasks as operator_tasks
from anamo.operator.export import check_form, export

FIRST = {"reads": "81234"}
HOSTILE = {"=cmd": '=cmd|" /C calc"!A0', "note": "a\tb\nc"}


def task(number: int = 0, **more: Any) -> Task:
    return replace(Task("Call", f"S{number}", number, "", "", "seq 1", "done", "done"), **more)


def exported(
    tasks: Iterator[Task] | list[Task], form: str, capsys: pytest.CaptureFixture[str]
) -> str:
    export(tasks, form)
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def test_tsv_has_a_column_for_each_tag_that_any_task_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks = [task(), task(1, tags=FIRST), task(2, seconds=1.5, exit_code=0)]
    head, *lines = exported(tasks, "tsv", capsys).splitlines()
    assert head.split("\t") == [*COLUMNS, "tag_reads"]
    rows = [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]
    assert [row["tag_reads"] for row in rows] == ["", "81234", ""]
    assert [(row["seconds"], row["exit_code"], row["signal"]) for row in rows] == [
        ("", "", ""),
        ("", "", ""),
        ("1.5", "0", ""),
    ]


def test_a_spreadsheet_finds_no_formula_in_tsv(capsys: pytest.CaptureFixture[str]) -> None:
    said = exported([task(tags=HOSTILE, script="=1+1", argument="-3.5")], "tsv", capsys)
    head, line = said.split("\n")[:2]
    cells = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    # A number stays one
    assert (cells["script"], cells["argument"]) == ("'=1+1", "-3.5")
    assert cells["tag_=cmd"] == '\'=cmd|" /C calc"!A0'
    assert cells["tag_note"] == r"a\tb\nc"
    assert len(said.splitlines()) == 2


def test_json_is_a_list_with_an_object_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = exported([task(), task(1, tags=HOSTILE)], "json", capsys)
    assert json.loads(said)[1]["tag_=cmd"] == HOSTILE["=cmd"]
    assert [json.loads(line.rstrip(","))["taskID"] for line in said.splitlines()[1:-1]] == [
        "S0",
        "S1",
    ]
    assert json.loads(exported([], "json", capsys)) == []


@pytest.mark.parametrize("form", ["tsv", "json"])
def test_an_export_does_not_hold_its_tasks_in_memory(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nowhere(io.StringIO):
        def write(self, text: str) -> int:
            return len(text)

    monkeypatch.setattr(sys, "stdout", Nowhere())

    def made(number: int) -> Iterator[Task]:
        return (
            Task("Call", f"S{k}", k, "", "", "seq 1", "done", "done", tags=FIRST)
            for k in range(number)
        )

    def peak(number: int) -> int:
        tracemalloc.start()
        export(made(number), form)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # What the first export loads and compiles stays
    peak(1)
    assert peak(4000) < peak(400) + 200_000
    # Control: as a list, so many tasks take more than that
    tracemalloc.start()
    kept = [*made(4000)]
    assert tracemalloc.get_traced_memory()[0] > 400_000
    tracemalloc.stop()
    assert kept


def test_an_error_on_the_way_leaves_no_tsv_that_looks_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> Iterator[Task]:
        yield task()
        raise Throttled

    with pytest.raises(Throttled):
        export(broken(), "tsv")
    assert capsys.readouterr().out == ""
    with pytest.raises(Throttled):
        export(broken(), "json")
    with pytest.raises(json.JSONDecodeError):
        json.loads(capsys.readouterr().out)


def test_without_pyarrow_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Python takes for a module that is not there
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError) as caught:
        check_form("parquet")
    assert str(caught.value).endswith(": pip install pyarrow")
    assert "\n" not in str(caught.value)
    check_form("tsv")


def test_an_item_that_has_changed_since_it_was_listed_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listed(item_id: int) -> Record:
        return Record.from_values({"itemID": item_id, "ItemState": "locked", "Nested_Tasks": 2})

    tasks = {f"Task_{k}": {"Status": "done", "Script": f"call chr{k}"} for k in range(2)}
    now = {"itemID": 7, "taskID": "S7", "ItemState": "done", "TaskScript": tasks}
    table: Any = Mock(read=lambda ids, _: [Record.from_values(now)] if ids == [7] else [])
    table.name = "Call"
    monkeypatch.setattr(
        operator_tasks, "selected_items", lambda *_: [(table, listed(7)), (table, listed(8))]
    )
    target, say = Mock(), Mock()
    retry: Any = lambda request: request()  # noqa: E731
    found = [*operator_tasks.tasks(target, None, retry, say)]
    assert [(task.itemID, task.state, task.script) for task in found] == [
        (7, "done", "call chr0"),
        (7, "done", "call chr1"),
    ]
    assert not [*operator_tasks.tasks(target, "locked", retry, say)]
