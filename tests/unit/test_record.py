"""What the index says of an item's tasks, when the item has to be read for it, and its times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from anamo.core.record import Record
from tests.support import workflow

CLAIMED: dict[str, Any] = {"Lock_Date": "2026-01-31T09:30:00Z"}


def listed(state: str, nested: int = 3, **more: Any) -> Record:
    """An item as the index lists it, without its Task Scripts."""
    made = workflow.item("S", state, nested, **more)
    return Record.from_values({k: v for k, v in made.items() if k not in ("TaskScript", "Log")})


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (listed("todo"), {"todo": 3}),
        (listed("done"), {"done": 3}),
        (listed("failed", Failed_Tasks=1), {"done": 2, "failed": 1}),
        (listed("failed", Failed_Tasks=3), {"done": 0, "failed": 3}),
        (listed("failed", 0), {"failed": 1}),
        (listed("locked", 0), {"todo": 1}),
    ],
)
def test_what_the_index_says_is_enough(record: Record, counts: dict[str, int]) -> None:
    assert not record.unclear
    assert record.task_states() == counts


@pytest.mark.parametrize(
    "record",
    [
        listed("locked"),
        listed("todo", **CLAIMED),
        listed("held", **CLAIMED),
        listed("failed", Failed_Tasks=None),
        listed("paused"),
    ],
    ids=lambda record: str(record.state),
)
def test_where_some_tasks_may_have_ended_the_item_is_read(record: Record) -> None:
    assert record.unclear


def test_null_counts_as_absent() -> None:
    assert not Record.from_values(workflow.earlier(workflow.item("S", "todo", 3))).unclear
    nulls = workflow.earlier(workflow.item("S", "todo", 3))
    del nulls["TaskScript"]
    assert not Record.from_values(nulls).unclear


def test_a_task_has_ended_unless_it_runs_again() -> None:
    entry = {"Status": "Execution Failed: exit 3"}
    tasks = {f"Task_{k}": {"Status": s, "Script": "x"} for k, s in enumerate(["failed", "todo"])}
    values = {"itemID": 7, "ItemState": "todo", "TaskScript": tasks}
    record = Record.from_values({**values, "Log": dict.fromkeys(tasks, entry)})
    # Task_2 was taken out of the item
    assert [record.has_ended(f"Task_{k}") for k in range(3)] == [True, False, True]
    single = {"itemID": 7, "TaskScript": "x", "Log": entry}
    states = ["locked", "todo", "failed", "done"]
    ended = [Record.from_values({**single, "ItemState": state}).has_ended("") for state in states]
    assert ended == [False, False, True, True]


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("2026-01-31T09:30:00Z", "2026-01-31T09:31:01Z"),
        ("2026-01-31T09:30:00", "2026-01-31 09:31:01"),
        ("2026-01-31T04:30:00-05:00", "2026-01-31T09:31:01Z"),
    ],
)
def test_a_date_without_a_time_zone_is_in_utc_wherever_it_is_read(begin: str, end: str) -> None:
    record = listed("done", Lock_Date=begin, Done_Date=end)
    assert record.claim_span(0) == (1_769_851_800, 1_769_851_861)


@pytest.mark.parametrize("date", ["NULL", "yesterday", "0001-01-01", "9999-12-31T23:59:59"])
def test_a_date_of_another_era_or_that_is_none_counts_as_unknown(date: str) -> None:
    assert listed("done", Lock_Date=date).claim_span(0) is None
