"""Tasks as rows."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from anamo.core.log_entry import abandoned_entry
from anamo.core.record import Record
from anamo.core.task import COLUMNS, Task, tasks_of
from tests.support import workflow


def rows(**values: Any) -> list[dict[str, Any]]:
    return [task.row() for task in tasks_of("Call", Record.from_values(values))]


def ended(status: str = "", code: int = 0, **more: Any) -> dict[str, Any]:
    """The row of a single item's task that ended so."""
    log = workflow.entry("S7", code, status, **more)
    (row,) = rows(**workflow.item("S7", "failed" if code else "done", Log=log))
    return row


def test_a_single_item_is_a_row_with_everything_that_is_known_of_it() -> None:
    item = workflow.item("S7", "done", Log=workflow.entry("S7", Seconds=Decimal("1.5")))
    assert rows(**item) == [
        {
            "table": "Call",
            "taskID": "S7",
            "itemID": item["itemID"],
            "task": "",
            "argument": "",
            "script": "align.sh S7",
            "state": "done",
            "task_state": "done",
            "cause": "",
            "exit_code": 0,
            "signal": None,
            "seconds": 1.5,
            "max_rss_mb": 512.0,
            "attempts": 1,
            "instance": "i-0a1b2c3d4e5f60001",
            "claimed": "2026-01-31T09:30:00Z",
            "ended": "2026-01-31T09:31:01Z",
            "log": "s3://logs/PyAnamo/S7.log.gz",
            "log_range": "0-99",
        }
    ]


def test_a_nested_item_has_a_row_for_each_task_whether_it_ran_or_not() -> None:
    item = workflow.item("S7", "locked", 3, Log={"Task_1": workflow.entry("S7", 3, "exit 3")})
    item["TaskScript"]["Task_1"]["Status"] = "failed"
    found = rows(**item)
    assert [(row["task"], row["argument"], row["script"]) for row in found] == [
        (f"Task_{k}", f"chr{k + 1}", f"call.sh S7 chr{k + 1}") for k in range(3)
    ]
    assert [(row["state"], row["task_state"], row["exit_code"]) for row in found] == [
        ("locked", "todo", None),
        ("locked", "failed", 3),
        ("locked", "todo", None),
    ]
    assert {row["ended"] for row in found} == {""}


def test_a_signal_is_told_from_an_exit_code_of_the_same_number() -> None:
    killed = ended("Execution Failed: killed by signal 9", 137)
    assert (killed["cause"], killed["signal"]) == ("killed by signal 9", 9)
    exited = ended("Execution Failed: exit 137", 137)
    assert (exited["exit_code"], exited["signal"]) == (137, None)


def test_a_failed_task_without_a_status_has_its_exit_code_as_the_cause() -> None:
    (row,) = rows(**workflow.item("S7", "failed", Log={"Status": "", "Exit_Code": 3}))
    assert row["cause"] == "exit 3"


def test_what_was_not_measured_is_empty_and_not_0() -> None:
    """Of an item that was given up, or of another tool's."""
    nothing = {"exit_code": None, "seconds": None, "max_rss_mb": None}
    (row,) = rows(**workflow.item("S7", "failed", Log={"Status": "Execution Failed"}))
    assert {name: row[name] for name in nothing} == nothing
    abandoned = abandoned_entry(11).to_values()
    (row,) = rows(**workflow.item("S7", "failed", Log=abandoned))
    assert {name: row[name] for name in nothing} == {**nothing, "exit_code": 137}


def test_tags_are_columns_and_none_of_them_takes_the_place_of_another_column() -> None:
    tags = ["reads=81234", "state = odd", "expr=a=b", "only words", "reads=5", "more words", "=x"]
    row = ended(Tags=tags)
    assert {name: row[name] for name in row if name not in COLUMNS} == {
        "tag_reads": "81234; 5",
        "tag_state": "odd",
        "tag_expr": "a=b",
        "tag": "only words; more words; x",
    }
    assert row["state"] == "done"


def test_items_of_other_tools_have_rows_too() -> None:
    (row,) = rows(itemID=Decimal("1.5"), ItemState="paused", taskID="Odd", Log={"Status": 7})
    assert (row["itemID"], row["script"], row["exit_code"]) == ("1.5", "", None)
    (row,) = rows(itemID=7)
    assert (row["state"], row["attempts"], row["claimed"]) == ("NULL", 0, "")


def test_a_task_is_a_frozen_dataclass_that_data_frames_take() -> None:
    task = Task("Call", "S7", 7, "", "", "seq 1", "todo", "todo")
    assert list(asdict(task)) == [*COLUMNS, "tags"]
