"""`pyanamo.py plan`: how long a table takes, what it costs, how many workers help."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from anamo.aws.table import WorkflowTable
from anamo.core.item import nested_item, single_item
from anamo.importer.importer import Importer
from tests.support.table import Table

Run = Callable[..., Any]

FLAGS = ("--workers", "500", "--task-time", "90s")


def plan(run: Run, table: str, *words: str) -> str:
    ended = run("pyanamo.py", "plan", "-t", table, *words)
    assert ended.returncode == 0, ended.stderr
    shown: str = ended.stdout
    return shown


def number(shown: str, name: str) -> float:
    """The number behind a name at the beginning of a line."""
    found = re.search(rf"^{name} +(?:up to )?([0-9,.]+)", shown, re.MULTILINE)
    assert found, shown
    return float(found[1].replace(",", ""))


def test_a_table_is_counted_and_one_of_its_items_stands_for_all(run: Run, table: Table) -> None:
    items = [nested_item(f"Sample{k}", ["true", "false"]) for k in range(7)]
    Importer(WorkflowTable(table.client, table.name)).run(items)
    shown = plan(run, table.name, *FLAGS)
    assert "7 items to do, 2 tasks each" in shown
    # However many there are: each item is one worker's
    assert number(shown, "workers") == 7
    assert number(shown, "worker hours") == 0
    # A claim, a record and a finish; 0.9 renewals of two units each
    assert 7 * 14 < number(shown, "write units") < 7 * 20


def test_a_table_that_is_done_needs_nothing(run: Run, table: Table) -> None:
    assert plan(run, table.name, *FLAGS) == f"{table.name}: nothing left to do\n"


def test_it_fits_into_sixty_columns_and_prints_what_it_assumes(run: Run) -> None:
    for more in (("--nested", "24", "-n", "4"), ("--wide", "--price", "0.7"), ()):
        shown = plan(run, "T", *FLAGS, "--items", "123456789", *more)
        assert max(map(len, shown.splitlines())) <= 60
        assert "Assumed:" in shown


def test_more_workers_than_the_ceiling_feeds_do_not_help(run: Run) -> None:
    few, many = (
        plan(run, "T", "--workers", count, "--task-time", "1s", "--items", "1000000")
        for count in ("100", "10000")
    )
    assert "help, " in many
    assert "help, " not in few
    assert number(many, "rate") == number(many, "ceiling") == 499


def test_the_price_is_that_of_the_command_line(run: Run) -> None:
    once, twice = (
        plan(run, "T", *FLAGS, "--items", "1000000", "--price", price) for price in ("1", "2")
    )
    dollars = [
        float(re.findall(r"write units .* ([0-9.]+) USD", text)[0]) for text in (once, twice)
    ]
    assert dollars[1] == 2 * dollars[0]


def test_what_the_table_says_itself_is_not_taken_from_flags(run: Run) -> None:
    ended = run("pyanamo.py", "plan", "-t", "T", *FLAGS, "--wide")
    assert ended.returncode == 2
    assert "--wide goes with --items" in ended.stderr


def test_a_single_item_takes_what_a_test_counts_on_the_database(run: Run, table: Table) -> None:
    Importer(WorkflowTable(table.client, table.name)).run([single_item("Sample1", "true")])
    shown = plan(run, table.name, "--workers", "1", "--task-time", "0.001")
    assert number(shown, "write units") == 14
