"""Rate, time left and machine-hours, from records alone."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from anamo.core.record import Record
from anamo.operator.pace import Pace, machine_hours, overall, seconds_to_go

NOW = 1_800_000_000.0


def date(age: float) -> str:
    """The date so many seconds before NOW, as the table holds it."""
    return datetime.fromtimestamp(NOW - age, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def record(
    state: str,
    locked: float | None = None,
    ended: float | None = None,
    instance: str = "i-1",
    lease: float = 600,
) -> Record:
    """An item that was claimed and ended so many seconds before NOW."""
    return Record.from_values(values(state, locked, ended, instance, lease))


def values(
    state: str, locked: float | None, ended: float | None, instance: str, lease: float
) -> dict[str, object]:
    made: dict[str, object] = {"itemID": 1, "taskID": "S", "ItemState": state}
    made |= {"Lock_Date": date(locked), "InstanceID": instance} if locked is not None else {}
    made |= {"Done_Date": date(ended)} if ended is not None else {}
    made |= {"Lease_Expires": int(NOW + lease)} if state == "locked" else {}
    return made


def nested(locked: float, tasks: int, done: int) -> Record:
    """An item of which some nested tasks have ended, under a live lease."""
    scripts = {
        f"Task_{k}": {"Script": "x", "Status": "done" if k < done else "todo"} for k in range(tasks)
    }
    made = values("locked", locked, None, "i-1", 600)
    return Record.from_values(made | {"Nested_Tasks": tasks, "TaskScript": scripts})


def pace(*records: Record, table: str = "Call") -> Pace:
    made = Pace(table, NOW)
    for each in records:
        made.add(each)
    return made


def steady(lanes: int, seconds: int, standstill: float = 0) -> list[Record]:
    """What `lanes` workers have ended in 50 rounds, the last ones `standstill` seconds ago."""
    return [
        record("done", standstill + (k + 1) * seconds, standstill + k * seconds, f"i-{lane}")
        for k in range(50)
        for lane in range(lanes)
    ]


def todo(number: int) -> list[Record]:
    return [record("todo")] * number


def test_the_rate_is_what_runs_at_once_by_what_a_task_takes() -> None:
    running = [record("locked", 0, instance=f"i-{k}") for k in range(4)]
    made = pace(*steady(4, 100), *running, *todo(40))
    assert made.rate == pytest.approx(4 / 100, rel=0.05)
    assert made.seconds_left == pytest.approx(44 * 100 / 4, rel=0.05)
    assert str(made) == "Call: 2.4 tasks/min, 18 min to go; 4 items running, S for 0 s"


def test_a_minute_in_which_nothing_worked_changes_nothing_once_work_goes_on() -> None:
    before = pace(*steady(2, 10), record("locked", 5), record("locked", 5), *todo(20))
    after = pace(*steady(2, 10, standstill=65), record("locked", 5), record("locked", 5), *todo(20))
    assert after.seconds_left == pytest.approx(before.seconds_left, rel=0.1)
    assert after.rate == pytest.approx(before.rate, rel=0.1)


def test_while_nothing_works_no_time_to_go_is_given() -> None:
    made = pace(*steady(2, 10, standstill=60), *todo(20))
    assert made.stands_still
    assert (made.rate, made.seconds_left) == (None, None)
    assert str(made) == "no worker is active on Call"
    # Between two short items nothing is locked, and work goes on all the same
    assert not pace(*steady(2, 1), *todo(20)).stands_still


def test_an_item_whose_lease_has_ended_is_no_work() -> None:
    made = pace(*steady(1, 10, standstill=1000), record("locked", 900, lease=-300))
    assert made.stands_still
    assert made.left == 1


def test_short_items_are_counted_over_a_minute_and_not_at_a_glance() -> None:
    # 20 a second: dates of whole seconds, and just now nothing is locked
    made = pace(*[record("done", k // 20, k // 20) for k in range(1200)], *todo(6000))
    assert made.rate == pytest.approx(20, rel=0.1)
    assert made.seconds_left == pytest.approx(300, rel=0.1)


def test_what_ends_soon_takes_less_time_than_what_has_just_begun() -> None:
    ended = [record("done", 9000, 1800), record("done", 9000, 1800)]
    assert pace(*ended, record("locked", 1800)).seconds_left == pytest.approx(5400)
    assert pace(*ended, record("locked", 7000)).seconds_left == pytest.approx(700, rel=0.1)
    # What takes longer than the others is not about to end at each moment
    assert pace(*ended, record("locked", 72000)).seconds_left == pytest.approx(7200)


def test_the_last_items_are_not_shared_among_many_workers() -> None:
    running = [record("locked", 0, instance=f"i-{k}") for k in range(10)]
    made = pace(*steady(10, 600), *running)
    assert made.seconds_left == pytest.approx(600)


def test_before_the_first_end_there_is_no_rate_but_nested_tasks_that_ended_give_one() -> None:
    assert pace(record("locked", 50), *todo(3)).rate is None
    assert str(pace(record("locked", 50), *todo(3))) == (
        "Call: no rate yet: nothing has finished; 1 item running, S for 50 s"
    )
    made = pace(nested(100, tasks=10, done=5))
    assert made.seconds_left == pytest.approx(100)
    assert (made.tasks, made.tasks_ended) == (10, 5)


def test_what_has_ended_is_finished_and_what_failed_is_said() -> None:
    failed = [record("failed", 60, 50)] * 15
    assert str(pace(*steady(2, 10), *failed)) == "Call: finished, 15 failed"
    assert str(pace(*steady(2, 10))) == "Call: finished"
    assert str(pace(*steady(2, 10), record("held"))) == "Call: nothing to do, 1 held"
    assert str(pace()) == "Call: no items"


def test_machine_hours_are_those_in_which_an_instance_held_an_item() -> None:
    made = pace(
        # At once, one after the other with a short pause, and after a long one
        record("done", 7200, 3600, "i-1"),
        record("failed", 6000, 3600, "i-1"),
        record("done", 3595, 3000, "i-1"),
        record("done", 1000, 400, "i-1"),
        record("locked", 360, instance="i-2"),
        record("locked", 360, instance="i-3", lease=-1),
    )
    assert machine_hours([made]) * 3600 == pytest.approx(4200 + 600 + 360)
    # An instance that works on two tables at once is one machine
    other = pace(record("done", 7200, 3600, "i-1"), table="Align")
    assert machine_hours([made, other]) == machine_hours([made])
    assert (made.first, made.last) == (NOW - 7200, NOW)


def test_several_tables_are_worked_through_by_all_that_work_now() -> None:
    align = pace(*steady(2, 100), record("locked", 0), record("locked", 0), table="Align")
    call = pace(*steady(2, 100, standstill=10_000), *todo(18), table="Call")
    assert call.stands_still
    assert seconds_to_go([align, call]) == pytest.approx(20 * 100 / 2, rel=0.05)
    assert overall([align, call]).startswith("200 of 220 tasks ended (91%), 17 min to go, ")
    assert overall([align, call]).endswith(" machine-hours in 4 h 10 min")
    done = pace(record("done", 7200, 3600))
    assert overall([done]) == "1 of 1 task ended (100%), 1.0 machine-hours in 60 min"
    assert overall([pace(*todo(2))]) == "0 of 2 tasks ended (0%)"
    # One of which nothing has ended yet leaves the whole unknown
    assert seconds_to_go([align, pace(*todo(3))]) is None
    assert seconds_to_go([pace(*steady(2, 10))]) == 0


@pytest.mark.parametrize("stamp", ["NULL", "yesterday", "9999-12-31T23:59:59Z", ""])
def test_dates_of_other_tools_do_not_matter(stamp: str) -> None:
    odd = {"itemID": 1, "ItemState": "done", "Lock_Date": stamp, "Done_Date": stamp}
    made = pace(Record.from_values(odd), *todo(1))
    assert (made.rate, made.tasks_ended, machine_hours([made])) == (None, 1, 0)
