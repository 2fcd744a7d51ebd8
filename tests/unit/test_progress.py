"""What the operator is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from anamo.aws.consumed_capacity import ConsumedCapacity
from anamo.worker.messages import ItemEnded
from anamo.worker.progress import WorkerTotals, item_cost, item_line, summarise


def ended(state: str, done: int, *failures: tuple[str, str], tasks: int = 1) -> ItemEnded:
    return ItemEnded("Testing", 7, "Task-7", "L7", state, done, failures, done, tasks, 1.26)


FAILED = "Execution Failed: exit 3"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (ended("done", 1), "done   Task-7  1.3 s"),
        (ended("done", 3, tasks=3), "done   Task-7  3 of 3 tasks done  1.3 s"),
        (ended("failed", 0, ("", FAILED)), "failed Task-7  1.3 s  exit 3"),
        (
            ended("failed", 1, ("Task_1", FAILED), tasks=2),
            "failed Task-7  1 of 2 tasks done  1.3 s  Task_1 exit 3",
        ),
        (
            ended("failed", 1, tasks=2),
            "failed Task-7  1 of 2 tasks done  1.3 s  a task failed in an earlier claim",
        ),
        (ended("todo", 0), "released Task-7  1.3 s"),
        (
            replace(ended("todo", 0, ("", FAILED)), retried=True),
            "retried Task-7  1.3 s  exit 3",
        ),
        (ended("lost", 0), "lost   Task-7  1.3 s"),
    ],
)
def test_an_items_line_says_what_became_of_it(message: ItemEnded, line: str) -> None:
    assert item_line(message) == line


def test_the_first_failures_are_named_and_the_others_counted() -> None:
    failures = [(f"Task_{k}", FAILED) for k in range(1503)]
    line = item_line(ended("failed", 0, *failures, tasks=1503))
    assert "Task_2" in line
    assert "Task_3" not in line
    assert line.endswith(" and 1,500 more")


HELD = "other workers hold {} items; use --wait to take over items if those workers die"


def summary(tally: WorkerTotals) -> list[str]:
    lines: list[str] = []
    summarise(tally, ["Testing"], 2.5, ["s3://bucket/PyAnamo/Testing/"], lines.append)
    return lines


def test_an_empty_table_is_said() -> None:
    assert summary(WorkerTotals()) == ["table Testing: nothing to do"]
    assert summary(WorkerTotals(locked_by_others=1200)) == [
        "table Testing: nothing to do; " + HELD.format("1,200")
    ]


def test_a_worker_that_waits_is_not_advised_to_wait() -> None:
    assert summary(WorkerTotals(locked_by_others=2, waits=True)) == [
        "table Testing: nothing to do; other workers hold 2 items"
    ]


def test_a_lease_of_another_tool_in_milliseconds_has_no_time_of_day() -> None:
    tally = WorkerTotals(locked_by_others=1, locked_until=1_800_000_000_000.0)
    assert summary(tally) == [
        "table Testing: nothing to do; " + HELD.format(1).replace("items;", "item;")
    ]


def test_a_table_of_several_in_which_no_item_ended_had_none_unless_the_worker_left_early() -> None:
    def of_call(tally: WorkerTotals) -> str:
        tally.items["done"] = tally.by_table["Align"]["done"] = 1
        lines: list[str] = []
        summarise(tally, ["Align", "Call"], 1, [], lines.append)
        return lines[2]

    assert of_call(WorkerTotals()) == "table Call: nothing to do"
    for early in (WorkerTotals(ended_early=True), WorkerTotals(errors=["no"])):
        assert of_call(early) == "table Call: no item ended"
    lines: list[str] = []
    summarise(WorkerTotals(errors=["no"]), ["Align"], 1, [], lines.append)
    assert lines[0] == "items: none; tasks: 0 done, 0 failed"


def test_the_summary_adds_up() -> None:
    tally = WorkerTotals(
        Counter(done=100, failed=2, todo=1, lost=1), done=9, failed=3, locked_by_others=2
    )
    tally.kept.append("/tmp/pyanamo-x/a.log.gz")
    assert summary(tally) == [
        "items: 100 done, 2 failed, 1 lost to other workers, 1 released; tasks: 9 done, 3 failed",
        "2.5 s; logs in s3://bucket/PyAnamo/Testing/",
        HELD.format(2),
        "log could not be uploaded; kept in /tmp/pyanamo-x/a.log.gz",
    ]


@pytest.mark.parametrize(
    ("retried", "said"),
    [
        (True, "1 retried; tasks: 0 done, 0 failed, 1 to be retried"),
        (False, "1 released; tasks: 0 done, 1 failed"),
    ],
)
def test_a_failure_is_to_be_tried_again_only_if_its_item_was_given_back_for_that(
    retried: bool, said: str
) -> None:
    """In an item that is released at a signal, tasks that have failed do not run again."""
    tally = WorkerTotals()
    tally.add(replace(ended("todo", 0, ("Task_0", FAILED), tasks=2), retried=retried))
    assert summary(tally)[0] == f"items: {said}"


@pytest.mark.parametrize("errors", [[], ["no process"]])
def test_where_a_worker_met_an_error_it_does_not_ask_for_another(errors: list[str]) -> None:
    tally = WorkerTotals(Counter(done=1), done=1, errors=errors, work_left=True)
    said = "work remains: start another worker" in summary(tally)
    assert said == (not errors)


def test_a_worker_that_could_not_go_on_does_not_say_nothing_to_do() -> None:
    assert "nothing to do" not in summary(WorkerTotals(errors=["denied"]))[0]


def test_it_is_known_what_each_item_cost() -> None:
    consumed = ConsumedCapacity(requests=210, read_units=3, write_units=1800, objects=100)
    tally = WorkerTotals(items=Counter(done=100), done=100, consumed=consumed)
    assert item_cost(tally) == (
        "for each item: 2.10 requests to DynamoDB, 18.0 write and 0.03 read units, 1.00 log objects"
    )
