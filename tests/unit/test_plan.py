"""The arithmetic of `plan`, and the form of what it prints."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from anamo.aws.table_admin import workflow_indexes
from anamo.aws.update import GROUP_LIMIT
from anamo.core.item import Item, nested_item, single_item
from anamo.core.item_size import fitting_tasks
from anamo.operator.plan.forecast import DOUBLING_SECONDS, PROCESSES, Forecast, Plan, forecast
from anamo.operator.plan.item_life import TABLE, group_size, item_life
from anamo.operator.plan.lines import WIDTH, Basis, plan_lines
from anamo.operator.plan.price import Price
from tests.support.scripts import ROOT

SINGLE = single_item("Sample000001", "align --fast")
BASIS = Basis("every item is like the median", "indexes as the table has them", held=7)


def nested(tasks: int) -> Item:
    return nested_item("Sample000001", [f"true {number}" for number in range(tasks)])


def forecast_of(plan: Plan, *, wide: bool = False) -> Forecast:
    indexes = [index.wide if wide else index for index in workflow_indexes()]
    return forecast(plan, indexes, Price())


def lines(plan: Plan, *, wide: bool = False, price: float = 1.0, table: str = "T") -> list[str]:
    found = replace(forecast_of(plan, wide=wide), price=Price(price))
    return list(plan_lines(table, plan, found, BASIS))


def test_an_item_takes_the_units_that_the_documents_say() -> None:
    """The first table of docs/cost.md, but for its last column."""
    text = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
    _, _, *rows = re.findall(r"^\|.*\|$", text.partition("## When nested")[0], re.MULTILINE)
    kinds = [
        (single_item("Sample-17", "true 17"), 1),
        (nested(3), 3),
        (nested(50), 50),
        (nested(50), group_size(50, 0.2, 2)),
        (nested(50), 2),
        (nested(50), 1),
    ]
    for row, (item, group) in zip(rows, kinds, strict=True):
        life = item_life(item, workflow_indexes(), group)
        wide = item_life(item, [index.wide for index in workflow_indexes()], group)
        units, on_wide = (sum(write.total for write in each.running) for each in (life, wide))
        in_table = sum(write.units[TABLE] for write in life.running)
        assert row.split(" | ")[1:-1] == [
            f"{len(life.running)}, {1 + len(life.recorded)}",
            f"{units:,}",
            f"{in_table} : {units - in_table}",
            f"{on_wide:,}",
            f"{life.imported.total}",
        ], row


def units_a_task(tasks: int, task_seconds: float, at_once: int = 1) -> float:
    group = group_size(tasks, task_seconds, at_once)
    life = item_life(nested(tasks), workflow_indexes(), group)
    return sum(write.total for write in life.running) / tasks


def test_short_nested_tasks_take_the_units_that_the_documents_say() -> None:
    taken = [units_a_task(50, seconds) for seconds in (0.001, 0.2, 0.9)]
    assert [round(units, 1) for units in taken] == [0.4, 1.3, 2.9]
    assert round(units_a_task(50, 0.2, at_once=2), 1) == 0.9
    most = fitting_tasks(nested(1_000), "Table")
    assert 555 < most < 575
    assert units_a_task(most, 0.2) < 14


def test_nested_items_of_long_tasks_are_cheaper_up_to_the_number_that_the_documents_say() -> None:
    assert units_a_task(140, 60.0) < 14 < units_a_task(150, 60.0)


def test_results_share_a_write_only_if_they_end_while_one_waits() -> None:
    assert group_size(50, 1.0, 2) == 1
    assert group_size(50, 1.0, 24) == 2
    assert group_size(50, 1.0, 50) == 3
    assert group_size(50, 600.0, 50) == 1
    assert group_size(100, 0.001, 1) == GROUP_LIMIT


def test_nothing_takes_longer_than_its_tasks_where_all_workers_begin_at_once() -> None:
    days = 99_999 * 86_400.0
    assert forecast_of(Plan(3, SINGLE, 3, days)).seconds == pytest.approx(days, rel=1e-9)
    # 120,000 claims at 1,000 a second come before the last task begins
    many = forecast_of(Plan(120_000, SINGLE, 120_000, 600.0))
    assert many.seconds == pytest.approx(120 + 600, rel=0.01)


def test_the_ceiling_decides_where_more_workers_come_than_it_feeds() -> None:
    found = forecast_of(Plan(100_000, SINGLE, 10_000, 1.0))
    assert found.seconds == pytest.approx(100_000 / found.limits[0].rate)


def test_on_wide_indexes_the_ceiling_is_divided_by_the_size_of_single_items() -> None:
    plan = Plan(100_000, single_item("Sample000001", "align " + 2_900 * "x"), 10_000, 1.0)
    narrow, wide = forecast_of(plan), forecast_of(plan, wide=True)
    assert 3 * 1024 < narrow.life.bytes < 4 * 1024
    # Renewals, of which tasks of a second have few, take the same units on both
    assert wide.limits[0].rate == pytest.approx(narrow.limits[0].rate / 4, rel=0.01)


def test_whether_an_index_can_be_split_does_not_depend_on_the_items_number() -> None:
    numbered = [replace(SINGLE, item_id=number) for number in (7, 8)]
    found = [forecast_of(Plan(1_000, item, 1_000, 1.0)) for item in numbered]
    assert found[0].limits == found[1].limits
    assert found[0].limits[0].splits


def test_what_a_new_table_takes_doubles_every_half_hour_and_is_never_split() -> None:
    plan = Plan(1_000_000, nested(50), 100_000, 1.0)
    found = forecast_of(plan)
    assert found.limits[0].place == TABLE
    first = found.limits[0].rate * DOUBLING_SECONDS
    # Of the first three half hours, each brings twice as many items as the one before
    in_three = replace(plan, items=int(7 * first))
    assert forecast_of(in_three).seconds == pytest.approx(3 * DOUBLING_SECONDS, rel=0.001)
    printed = "\n".join(lines(plan))
    assert "which double every half hour" in " ".join(printed.split())
    assert "if DynamoDB splits it" not in printed


def test_a_split_helps_up_to_the_next_limit_that_is_not_split() -> None:
    # Results are written to the table only, so it comes before the index with equal sort keys
    found = forecast_of(Plan(1_000, nested(6), 1_000, 600.0))
    assert found.limits[0].splits
    assert found.beyond is next(limit for limit in found.limits if not limit.splits)
    assert found.beyond.place == TABLE
    single = forecast_of(Plan(1_000, SINGLE, 1_000, 1.0))
    assert single.beyond.place == ("LoggingIndex", "done")


def test_one_process_of_a_machine_reads_the_table_at_its_end() -> None:
    # All of them read a table of 4 MB
    few, many = (forecast_of(Plan(20_000, SINGLE, workers, 1.0)) for workers in (80, 800))
    assert many.read_units - few.read_units == (800 - 80) / PROCESSES * 1_024
    # Machines that get no item do not count
    assert forecast_of(Plan(10, SINGLE, 100_000, 1.0)).read_units < 30


def test_a_query_serves_fewer_claims_where_tasks_are_longer() -> None:
    served = [forecast_of(Plan(10, SINGLE, 1, s)).claims_a_page for s in (0.0, 0.9, 600.0)]
    assert served == [20, 10, 1]


def test_hundreds_of_nested_tasks_are_written_one_by_one_in_a_moment() -> None:
    life = item_life(nested(500), workflow_indexes(), 1)
    assert len(life.running) == 501
    assert life.bytes > 50_000


EXTREMES = [
    *itertools.product(
        (1, 10**12),
        (1, 10**9),
        (0.0, 0.25, 8.64e9),
        (SINGLE, nested(60)),
        (True, False),
        (0.0, 1e6),
    )
]
"""The smallest and the largest that the command line takes."""


@pytest.mark.parametrize("imported", [False, True])
def test_no_line_is_longer_than_sixty_columns(imported: bool) -> None:
    for items, workers, seconds, typical, wide, price in EXTREMES:
        plan = Plan(items, typical, workers, seconds, at_once=10**9, imported=imported)
        for table in ("T", "T" * 255):
            printed = lines(plan, wide=wide, price=price, table=table)
            assert max(map(len, printed)) <= WIDTH, "\n".join(printed)


def test_figures_are_written_as_people_write_them() -> None:
    printed = "\n".join(lines(Plan(3, SINGLE, 3, 99_999 * 86_400.0)))
    assert "takes     99,999 d 0 h" in printed
    assert "e+" not in printed
    assert "takes     0.3 s" in "\n".join(lines(Plan(1, SINGLE, 1, 0.2)))
    assert "import    less than a second," in printed


def test_amounts_that_are_almost_nothing_are_not_called_nothing() -> None:
    few = lines(Plan(10, SINGLE, 1, 1.0))
    assert [line.split()[-4:] for line in few if line.startswith("total")] == [
        ["less", "than", "0.01", "USD"]
    ]
    for seconds, hours in ((1.0, "less than 0.1"), (360.0, "1.0"), (3_600.0, "10")):
        (line,) = (each for each in lines(Plan(10, SINGLE, 1, seconds)) if "worker hours" in each)
        assert line.split("   ")[-2].strip() == hours
    assert "0.00 USD" in "\n".join(lines(Plan(10, SINGLE, 1, 1.0), price=0.0))


def test_the_ceiling_names_what_limits_it() -> None:
    printed = " ".join(" ".join(lines(Plan(10, SINGLE, 1, 1.0))).split())
    assert "in one table, limited by the partition of locked items in ItemStateIndex" in printed
    assert "splits it, limited by the partition of done items in LoggingIndex" in printed


@pytest.mark.parametrize(
    ("items", "workers", "said"),
    [
        (1, 51, "workers   1 helps; 50 would idle"),
        (500, 500, "workers   up to 500 help"),
        (500, 512, "workers   up to 500 help; 12 would idle"),
        (10**6, 10**6, "workers   up to 26,086 help; 973,914 would idle"),
    ],
)
def test_it_says_how_many_workers_help(items: int, workers: int, said: str) -> None:
    assert said in lines(Plan(items, SINGLE, workers, 59.9))


def test_what_is_assumed_is_printed() -> None:
    plan = Plan(100, nested(50), 10, 1.0, at_once=2, imported=True)
    printed = " ".join(" ".join(lines(plan)).split())
    for assumed in (
        "every item is like the median",
        "7 items are held, and are counted as if resumed now",
        "a command line has 7 characters",
        "tasks this long seldom end within 0.05 s of each other",
        "no claim is lost to another worker; a query of candidates serves 1 claim",
        "which is not split; no units were saved before",
        "indexes as the table has them",
        "8 workers a machine",
    ):
        assert assumed in printed
