"""The model of DynamoDB that the documents' ceilings come from."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from anamo.aws.table_admin import workflow_indexes
from anamo.core.capacity import PARTITION_WRITES, Index
from anamo.core.item import nested_item, single_item
from anamo.operator.plan import item_life
from anamo.operator.plan.forecast import Plan, forecast
from anamo.operator.plan.price import Price
from benchmarks.simulate.__main__ import main
from benchmarks.simulate.fleet import Work, images
from benchmarks.simulate.partitions import Capacity, KeyRange, Limits
from benchmarks.simulate.run import (
    Estimate,
    Result,
    simulate,
    steady_work,
    throttled_requests,
    work_to_the_end,
)
from benchmarks.simulate.virtual_time import Event, VirtualTime

SMALL = Work(workers=6, items=60, task_seconds=1.0, ramp=2.0, lease=60_000)
BUSY = Work(workers=12, items=400, task_seconds=0.01, ramp=0.1, lease=60_000)
"""More than a table with TIGHT limits can take."""

TIGHT = Limits(partition_writes=PARTITION_WRITES / 10)
"""A tenth of DynamoDB's, which a tenth of the workers reach."""


def figures(result: Result) -> tuple[object, ...]:
    meter = result.meter
    return result.ended, result.conflicts, meter.requests, meter.units, meter.throttled


def test_an_index_of_another_tool_may_have_a_partition_key_only() -> None:
    definition = {
        "IndexName": "Owner",
        "KeySchema": [{"AttributeName": "Owner", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    index = Index.from_definition(definition)
    owned = {"itemID": {"N": "7"}, "Owner": {"S": "me"}}
    assert index.entry({**owned, "taskID": {"S": "Sample7"}}) == owned
    assert index.entry({"itemID": {"N": "7"}}) is None


def test_an_index_of_another_tool_may_have_several_attributes_of_a_kind_in_its_key() -> None:
    definition = {
        "IndexName": "Owner",
        "KeySchema": [
            {"AttributeName": "Owner", "KeyType": "HASH"},
            {"AttributeName": "Team", "KeyType": "HASH"},
            {"AttributeName": "Year", "KeyType": "RANGE"},
            {"AttributeName": "Month", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    index = Index.from_definition(definition)
    assert (index.partition_key, index.sort_key) == ("Owner", "Year")
    assert index.wide.keys == index.keys == ("Owner", "Year", "Team", "Month")
    owned = {"itemID": {"N": "7"}} | {name: {"S": "x"} for name in index.keys}
    assert index.entry({**owned, "taskID": {"S": "Sample7"}}) == owned
    del owned["Month"]
    assert index.entry(owned) is None


@pytest.mark.parametrize(
    ("work", "limits"),
    [
        pytest.param(SMALL, Limits(lost=0.02), id="where replies are lost"),
        pytest.param(BUSY, TIGHT, id="where requests are throttled"),
        pytest.param(replace(BUSY, left=600), TIGHT, id="where the run is cut off"),
    ],
)
def test_a_seed_gives_the_same_run(work: Work, limits: Limits) -> None:
    first, again, other = (
        figures(simulate(replace(work, seed=seed), workflow_indexes(), limits))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_it_takes_the_units_that_the_plan_says() -> None:
    result = simulate(SMALL, workflow_indexes(), Limits())
    plan = Plan(SMALL.items, single_item("Sample000001", "align --fast"), 10, 1.0)
    expected = sum(
        write.total for write in forecast(plan, workflow_indexes(), Price()).life.running
    )
    # A claim that is lost to another worker takes a unit
    lost = result.meter.refused.total()
    assert result.meter.total("write") == expected * SMALL.items + lost


@pytest.mark.parametrize("wide", [False, True])
def test_it_reaches_the_ceiling_that_the_plan_names_and_not_more(wide: bool) -> None:
    indexes = [index.wide if wide else index for index in workflow_indexes()]
    result = simulate(BUSY, indexes, TIGHT)
    plan = Plan(BUSY.items, single_item("Sample000001", "align --fast"), BUSY.workers, 0.01)
    ceiling = forecast(plan, indexes, Price()).limits[0].rate / 10
    # The units of the first second are saved
    assert 0.7 * ceiling < result.rate < 1.2 * ceiling
    assert any("locked" in place for place in result.meter.throttled)
    assert simulate(BUSY, indexes, Limits(unlimited=True)).rate > 1.5 * ceiling


def test_a_run_that_is_cut_off_ends_with_its_last_item() -> None:
    result = simulate(replace(SMALL, left=1_000), workflow_indexes(), Limits())
    assert result.last.done == SMALL.items
    assert result.ended == result.finished == result.last.seconds
    # Nobody looks for the last items, nor reads the table
    assert not result.meter.requests["Scan"]


def test_the_more_items_are_left_the_fewer_claims_are_lost() -> None:
    small, large = (
        simulate(replace(BUSY, left=left), workflow_indexes(), Limits()) for left in (0, 10_000)
    )
    assert large.meter.refused.total() < small.meter.refused.total() / 2


def test_the_steady_state_is_that_of_the_same_fleet_in_a_larger_table() -> None:
    to_the_end = work_to_the_end(1_000, 10.0)
    steady = steady_work(to_the_end)
    assert steady.items + steady.left == 1_000_000
    assert replace(steady, items=to_the_end.items, left=0) == to_the_end
    # However small the table is to be, no worker sees its end
    assert steady_work(to_the_end, 10_000, 10_000).left >= 1_000


def test_requests_throttled_at_the_beginning_and_the_end_count_for_the_whole_run() -> None:
    # Fifty tasks begin within a second, which a partition does not take, and later end one by one
    work = Work(workers=50, items=300, task_seconds=30.0, ramp=0.1, lease=60_000)
    limits = Limits(partition_writes=40)
    whole = simulate(work, workflow_indexes(), limits)
    steady = simulate(replace(work, items=250, left=500), workflow_indexes(), limits)
    estimate = Estimate(steady, whole)
    assert whole.meter.throttled.total() > 0
    assert steady.an_item(throttled_requests) == 0
    assert estimate.throttled(10_000) == whole.meter.throttled.total()


def test_each_further_item_takes_what_it_takes_in_the_steady_state() -> None:
    whole = simulate(BUSY, workflow_indexes(), TIGHT)
    steady = simulate(replace(BUSY, left=600), workflow_indexes(), TIGHT)
    estimate = Estimate(steady, whole)
    more = 1_000
    of_steady = steady.an_item(throttled_requests)
    assert of_steady > 0
    assert estimate.seconds(BUSY.items) == whole.ended
    assert estimate.seconds(BUSY.items + more) == whole.ended + more * (1 / steady.rate)
    assert estimate.throttled(BUSY.items + more) == (
        whole.meter.throttled.total() + more * of_steady
    )


def test_a_row_tells_the_throttled_requests_of_the_steady_state_from_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # All workers read the table when nothing is left to claim
    monkeypatch.setattr(f"{main.__module__}.Limits", partial(Limits, partition_reads=10))
    words = "--workers 20 --task-time 10s --items 60 --steady 60 --table 600 --of 1000"
    assert main(words.split()) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    cells = dict(zip(cells_of(header), cells_of(row), strict=True))
    assert cells["workers"] == "20"
    assert cells["throttled requests an item"] == "0.00"
    assert cells["throttled most"] == "nothing"
    assert int(cells["throttled requests to the end"]) > 0
    assert cells["throttled requests for all"] == cells["throttled requests to the end"]
    assert cells["throttled most to the end"] == "read table 100%"


def cells_of(line: str) -> list[str]:
    """The cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_item_is_done_once_although_replies_are_lost() -> None:
    result = simulate(SMALL, workflow_indexes(), Limits(lost=0.05))
    # A write that is sent again meets what it wrote itself, which is no conflict
    assert result.meter.refused.total() > result.conflicts
    done = sum(
        units
        for (kind, place), units in result.meter.units.items()
        if (kind, place) == ("write", "ItemStateIndex done")
    )
    assert done == SMALL.items


def test_a_throttled_index_throttles_writes_of_the_table() -> None:
    one = Index("ItemStateIndex", "ItemState", "itemID", None)
    limited = simulate(BUSY, [one], TIGHT)
    assert limited.meter.throttled["write ItemStateIndex locked"]
    assert not limited.meter.throttled["write table"]


@pytest.mark.parametrize(("keys", "partitions"), [(range(10), 2), ([0] * 10, 1)])
def test_a_hot_partition_is_split_between_sort_keys_that_differ(keys: Any, partitions: int) -> None:
    hot = KeyRange(Limits(split_after=300), [None], random.Random(1))
    for second in range(301):
        for key in keys:
            hot.touched(hot.at(key), key)
        hot.refused(hot.partitions[0], float(second))
    assert len(hot.partitions) == partitions


def test_heat_that_does_not_last_splits_nothing() -> None:
    hot = KeyRange(Limits(split_after=300), [None], random.Random(1))
    for second in range(0, 3_000, 100):
        hot.touched(hot.partitions[0], second)
        hot.refused(hot.partitions[0], float(second))
    assert len(hot.partitions) == 1


def test_saved_units_help_for_five_minutes() -> None:
    plain, bursting = (
        KeyRange(Limits(burst=seconds), [None], random.Random(1)).partitions[0].writes
        for seconds in (1, 300)
    )
    assert (plain.most, bursting.most) == (1_000, 300_000)


def test_a_new_table_sustains_twice_its_peak_half_an_hour_later() -> None:
    capacity = Capacity(4_000, Limits())
    taken = []
    for second in range(4_000):
        if capacity.has_any(second):
            capacity.take(5_000 if second < 3_600 else 20_000, second)
            taken.append(second)
    early = [second for second in taken if second < 1_000]
    late = [second for second in taken if 2_000 <= second < 3_000]
    assert len(early) < 0.85 * 1_000
    assert len(late) == 1_000


def test_jobs_wake_in_the_order_of_their_times() -> None:
    time = VirtualTime()
    seen: list[tuple[float, str]] = []
    event = Event(time)

    def sleeper(name: str, seconds: float) -> None:
        time.sleep(seconds)
        seen.append((time.now, name))
        if name == "last":
            event.set()

    def waiter() -> None:
        event.wait(until=1.0)
        seen.append((time.now, "in vain"))
        event.wait()
        seen.append((time.now, "woken"))

    for name, seconds in (("last", 3.0), ("first", 2.0)):
        time.start(lambda name=name, seconds=seconds: sleeper(name, seconds))  # type: ignore[misc]
    time.start(waiter)
    time.run()
    assert seen == [(1.0, "in vain"), (2.0, "first"), (3.0, "last"), (3.0, "woken")]


def test_the_items_are_those_that_an_import_makes() -> None:
    image = images(Work(1, 1, 1.0))[0]
    assert image["ItemState"] == {"S": "todo"}
    assert image["taskID"] == {"S": "Sample000000"}
    assert image.size > 100


def test_results_of_nested_tasks_are_written_in_groups() -> None:
    life = item_life.item_life(nested_item("S", ["true"] * 7), workflow_indexes(), 3)
    assert len(life.recorded) == 2
