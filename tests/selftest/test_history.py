"""The checkers of histories find what they are there to find: each rule is broken once."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.attempts import Attempt, Witness, bad_logs, printed, side_by_side, unwitnessed
from tests.support.history import Change, Rules, Start, faults, told

ITEM = 7
A, B, C = ("a" * 32, "b" * 32, "c" * 32)
OPERATOR = Rules(operator=True)


def entry(task: str, lock_id: str, status: str = "Execution Successful", **more: Any) -> Any:
    """The log entry of a task that ran under a claim."""
    key = f"s3://logs/PyAnamo/T/S/{ITEM}-{lock_id}-{task}.log.gz"
    return {"Status": status, "S3": key, "S3_Range": "0-9"} | more


class Life:
    """The life of an item of two tasks, change by change; `set` may break any rule."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.image: dict[str, Any] = {}
        tasks = {name: {"Status": "todo", "Script": "true"} for name in ("Task_0", "Task_1")}
        self.set(
            itemID=ITEM,
            ItemState="todo",
            TaskScript=tasks,
            Log={},
            lockID="NULL",
            Attempts=0,
        )

    def set(self, **attributes: Any) -> Life:
        """Change attributes; None takes one away."""
        after = {**self.image, **attributes}
        after = {name: value for name, value in after.items() if value is not None}
        self.changes.append(Change(self.image, after))
        self.image = after
        return self

    def held(self, lock_id: str, lease: int, **more: Any) -> Life:
        """A claim, or a take-over, at the time that is 10 s before the end of its lease."""
        stamp = f"1970-01-01T00:00:{lease - 10:02}Z"
        claim = {"lockID": lock_id, "Lease_Expires": lease, "Lock_Date": stamp}
        claim |= {"ItemState": "locked", "Attempts": self.image["Attempts"] + 1}
        return self.set(**(claim | more))

    def ended(self, *names: str, failed: bool = False, **more: Any) -> Life:
        """Results of tasks."""
        status, said = ("failed", "Execution Failed: exit 1") if failed else ("done", "")
        tasks = {**self.image["TaskScript"]}
        log = {**self.image["Log"]}
        for name in names:
            tasks[name] = {**tasks[name], "Status": status}
            log[name] = entry(name, self.image["lockID"], said or "Execution Successful")
        number = sum(task["Status"] != "todo" for task in tasks.values())
        return self.set(**({"TaskScript": tasks, "Log": log, "Ended_Tasks": number} | more))

    def freed(self, **more: Any) -> Life:
        """Given back by its holder."""
        attempts = self.image["Attempts"] - 1
        free = {"ItemState": "todo", "lockID": "NULL", "Lease_Expires": None, "Attempts": attempts}
        return self.set(**(free | more))

    def todo(self, *names: str, **more: Any) -> Life:
        """Tasks that are to run again."""
        tasks = {**self.image["TaskScript"]}
        for name in names:
            tasks[name] = {**tasks[name], "Status": "todo"}
        number = sum(task["Status"] != "todo" for task in tasks.values())
        return self.set(TaskScript=tasks, Ended_Tasks=number, **more)

    def requeued(self, *names: str) -> Life:
        """By an operator."""
        free = {"ItemState": "todo", "lockID": "NULL", "Lease_Expires": None}
        return self.todo(*names, **free, Attempts=0, Failures=0)

    def faults(self, rules: Rules | None = None, starts: list[Start] | None = None) -> list[str]:
        """What the checker finds, without the item's name."""
        found = faults({ITEM: self.changes}, starts or [], rules)
        assert all(fault.startswith(f"item {ITEM}: ") for fault in found)
        return [fault.partition(": ")[2] for fault in found]


FINISH: dict[str, Any] = {"ItemState": "done", "Lease_Expires": None}
ENDED = {"Task_0": {"Status": "done"}, "Task_1": {"Status": "todo"}}


def whole_life() -> Life:
    """A life with everything that may be."""
    life = Life().held(A, 20).set(Lease_Expires=25).ended("Task_0", Lease_Expires=26)
    life.held(B, 37).freed().held(C, 50).ended("Task_1", failed=True, Lease_Expires=51)
    life.todo("Task_1", ItemState="todo", lockID="NULL", Lease_Expires=None, Failures=1, Attempts=1)
    return life.held("d" * 32, 60).ended("Task_1", **FINISH)


def test_a_life_by_the_rules_has_no_fault() -> None:
    assert whole_life().faults() == []
    assert whole_life().requeued("Task_0", "Task_1").faults(OPERATOR) == []
    assert whole_life().set(**dict.fromkeys(whole_life().image)).faults(OPERATOR) == []


BROKEN: list[tuple[Callable[[], Life], str]] = [
    (lambda: Life().set(ItemState="done"), "went from todo to done"),
    (lambda: whole_life().set(ItemState="failed"), "went from done to failed"),
    (lambda: whole_life().held(A, 99), "went from done to locked"),
    (lambda: whole_life().requeued("Task_0", "Task_1"), "left done for todo"),
    (lambda: Life().set(**dict.fromkeys(Life().image)), "left todo for nothing"),
    (
        lambda: Life().held(A, 20).set(Lease_Expires=19),
        f"has a shorter lease than before, by 1 s ({A})",
    ),
    (lambda: Life().held(A, 20, Lease_Expires=None), "is locked without a lease"),
    (lambda: Life().held(A, 20).freed(Lease_Expires=20), "has a lease and is todo"),
    (lambda: Life().held(A, 20).held(B, 30), f"was taken over 0.0 s before its lease ended ({B})"),
    (lambda: Life().held(A, 20).held(B, 40, Attempts=1), "has 1 attempts after take over, not 2"),
    (lambda: Life().held(A, 20).freed(Attempts=5), "has 5 attempts after give back, not 0"),
    (
        lambda: Life().held(A, 20).freed().held(A, 20),
        f"was claimed again by a claim that had ended ({A})",
    ),
    (
        lambda: Life().held(A, 20).ended("Task_0").set(Ended_Tasks=0),
        "has fewer ended tasks than before, 0 after 1",
    ),
    (
        lambda: Life().held(A, 20).ended("Task_0", Ended_Tasks=2),
        "counts 2 ended tasks, and 1 have ended",
    ),
    (lambda: Life().held(A, 20).ended("Task_0").todo("Task_0"), "Task_0 left done"),
    (lambda: whole_life().held(A, 99).todo("Task_0"), "Task_0 left done"),
    (
        lambda: Life().held(A, 20).ended("Task_0").set(Log={"Task_0": entry("Task_0", B)}),
        "Task_0 has a second outcome",
    ),
    (
        lambda: Life().held(A, 20).ended("Task_0", Log={"Task_0": entry("Task_0", B)}),
        f"Task_0 ran under {B} and was recorded under {A}",
    ),
    (lambda: Life().held(A, 20).ended("Task_0", Log={}), "Task_0 ended without a log entry"),
    (
        lambda: Life().held(A, 20).held(B, 40, TaskScript=ENDED, Ended_Tasks=1),
        "Task_0 ended by take over",
    ),
    (lambda: Life().held(A, 20).set(**FINISH), "is done, and not all its tasks are"),
    (
        lambda: Life().held(A, 20).ended("Task_0", "Task_1", lockID=B, **FINISH),
        "was ended by a worker that did not hold it",
    ),
]


@pytest.mark.parametrize(("life", "fault"), BROKEN, ids=[fault for _, fault in BROKEN])
def test_each_rule_that_is_broken_is_found(life: Callable[[], Life], fault: str) -> None:
    assert fault in life().faults()


def test_an_outcome_of_a_single_item_before_its_end_is_found() -> None:
    life = Life().set(TaskScript="true").held(A, 20)
    life.set(Log={"Status": "Execution Successful", "S3": ""})
    assert "has an outcome, and has not ended" in life.faults()


def test_a_lock_id_may_stay_when_an_item_is_given_back() -> None:
    life = Life().held(A, 20).ended("Task_0", failed=True)
    life.todo("Task_0", ItemState="todo", Lease_Expires=None, Failures=1, Attempts=0)
    assert life.held(B, 30).ended("Task_0", "Task_1", **FINISH).faults() == []


def test_a_claim_is_as_old_as_the_proxy_says() -> None:
    life = Life().held(A, 20).held(B, 40)
    assert life.faults() == []
    early = Rules(claimed={B: 19.5})
    assert life.faults(early) == [f"was taken over 0.5 s before its lease ended ({B})"]


def test_an_operator_undoes_failed_tasks_and_no_others() -> None:
    def taken(*undone: str) -> Life:
        return Life().held(A, 20).ended("Task_0").ended("Task_1", failed=True).requeued(*undone)

    rules = replace(OPERATOR, requeued={A})
    assert taken("Task_1").faults(rules) == []
    assert taken("Task_0").faults(rules) == ["Task_0 left done"]
    # No operator has touched it
    assert "Task_1 left failed" in taken("Task_1").faults(OPERATOR)


def test_a_task_that_a_later_claim_starts_again_is_found() -> None:
    life = Life().held(A, 20).ended("Task_0").held(B, 40)
    assert life.faults(starts=[Start(ITEM, "Task_0", A), Start(ITEM, "Task_1", B)]) == []
    assert life.faults(starts=[Start(ITEM, "Task_0", B)]) == ["Task_0 was run again"]


def test_a_history_is_told_in_a_line_a_change() -> None:
    lines = told(whole_life().changes)
    assert len(lines) == len(whole_life().changes)
    assert lines[0].startswith("import")
    assert lines[-1].split()[:3] == ["finish", "done", "d" * 8]


# What the tasks say


def attempt(lock_id: str, first: int, last: int | None, task: str = "Task_0") -> Attempt:
    return Attempt(ITEM, task, lock_id, first, last)


def test_attempts_side_by_side_are_found_unless_the_lease_had_ended() -> None:
    both = [attempt(A, 0, 3), attempt(B, 1, 2)]
    taken_over = Life().held(A, 20).held(B, 40).changes
    given_back = Life().held(A, 20).freed().held(B, 40).changes
    forced = replace(OPERATOR, requeued={A})
    assert not list(side_by_side(both, {ITEM: taken_over}, Rules()))
    assert not list(side_by_side(both, {ITEM: given_back}, forced))
    assert not list(side_by_side([attempt(A, 0, 1), both[1]], {ITEM: given_back}, Rules()))
    (fault,) = side_by_side(both, {ITEM: given_back}, Rules())
    assert fault.endswith("left by: give back")
    (fault,) = side_by_side(both, {ITEM: Life().held(A, 20).changes}, Rules())
    assert fault.endswith("left by: never")


def test_outcomes_that_no_task_knows_of_are_found() -> None:
    history = {ITEM: Life().held(A, 20).ended("Task_0").changes}
    assert not list(unwitnessed([attempt(A, 0, 1)], history))
    (fault,) = unwitnessed([attempt(A, 0, None)], history)
    assert "did not end under" in fault
    (fault,) = unwitnessed([attempt(B, 0, 1)], history)
    assert "never ran under" in fault


def test_a_witness_tells_starts_from_ends(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness")
    witness.path.write_text(f"start/7/Task_0/{A}\nstart/7//{B}\nend/7/Task_0/{A}\n")
    assert witness.attempts() == [attempt(A, 0, 2), attempt(B, 1, None, "")]
    assert witness.starts() == [Start(7, "Task_0", A), Start(7, "", B)]


def member(text: str) -> bytes:
    gzip = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return gzip.compress(text.encode()) + gzip.flush()


def test_logs_that_are_not_whole_are_found() -> None:
    said = printed(ITEM, "Task_0", A)
    whole = member(f"header\n\n== stdout, {len(said)} bytes ==\n{said}\n== stderr, 0 bytes ==\n\n")

    def found(body: bytes | None, **more: Any) -> str:
        ended = entry("Task_0", A, S3_Range=f"0-{len(body or b'') - 1}", **more)
        tasks = {"Task_0": {"Status": "done"}}
        item = {"itemID": ITEM, "TaskScript": tasks, "Log": {"Task_0": ended}}
        return "".join(bad_logs([item], lambda address: body))

    assert found(whole) == ""
    assert "is not one gzip member" in found(whole[:-9])
    assert "is not one gzip member" in found(whole + whole)
    assert "is no log" in found(b"<html>")
    assert "lacks what the task printed" in found(member("header\n"))
    assert f"is not at s3://logs/PyAnamo/T/S/{ITEM}-{A}-Task_0.log.gz" in found(None)
    assert found(None, S3_Note="AccessDenied; kept at /tmp/log.gz") == ""
