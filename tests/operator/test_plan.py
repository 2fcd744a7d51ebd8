"""`pyanamo.py plan`: how long a table takes, what it costs, how many workers help."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anamo.aws.table import WorkflowTable
from anamo.core.item import nested_item, single_item
from anamo.importer.importer import Importer
from anamo.operator.plan.plan import SCRIPT
from tests.support import workflow
from tests.support.proxy import Proxy, Reply, failing, on
from tests.support.table import Table

Run = Callable[..., Any]

FLAGS = ("--workers", "500", "--task-time", "90s")


LEASE: Any = {"Lock_Date": "2026-01-31T09:30:00Z", "Lease_Expires": 1_800_000_000}


def plan(run: Run, table: str, *words: str, **more: Any) -> str:
    ended = run("pyanamo.py", "plan", "-t", table, *words, **more)
    assert ended.returncode == 0, ended.stderr
    shown: str = ended.stdout
    return shown


def said(shown: str) -> str:
    """What is printed, without its line breaks."""
    return " ".join(shown.split())


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
    assert number(shown, "worker hours") == 0.4
    # A claim, a record and a finish; 0.9 renewals of two units each
    assert 7 * 14 < number(shown, "write units") < 7 * 20


def test_held_items_are_yet_to_be_done(run: Run, table: Table) -> None:
    workflow.put_all(table.client, table, [workflow.item(f"Later{k}", "held") for k in range(3)])
    shown = plan(run, table.name, *FLAGS)
    assert "3 items to do, 1 task each" in shown
    assert "3 items are held, and are counted as if resumed now" in shown


def test_a_table_that_is_done_needs_nothing(run: Run, table: Table) -> None:
    assert plan(run, table.name, *FLAGS) == f"{table.name}: nothing left to do\n"


def test_it_fits_into_sixty_columns_and_prints_what_it_assumes(run: Run) -> None:
    """tests/unit/test_plan.py has the extremes."""
    for more in (("--nested", "24", "-n", "4"), ("--wide", "--price", "0.7"), ()):
        shown = plan(run, "Tab", *FLAGS, "--items", "123456789", *more)
        assert max(map(len, shown.splitlines())) <= 60
        assert "Assumed:" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--items", "1000000000001"), "--items: 1000000000001 is more than 1,000,000,000,000"),
        (("--items", "3", "--price", "1000001"), "--price: 1000001 is more than 1,000,000"),
        (("--items", "3", "--nested", "100000000"), "tasks fit"),
    ],
)
def test_what_no_table_could_hold_is_refused(run: Run, words: tuple[str, ...], said: str) -> None:
    ended = run("pyanamo.py", "plan", "-t", "Tab", *FLAGS, *words)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_it_refuses_the_items_that_the_importer_refuses(run: Run, tmp_path: Path) -> None:
    ended = run("pyanamo.py", "plan", "-t", "Call", *FLAGS, "--items", "3", "--nested", "600")
    assert ended.returncode == 2
    found = re.search(r"([0-9]+) tasks fit, if", ended.stderr)
    assert found
    most = int(found[1])
    assert "Assumed:" in plan(run, "Call", *FLAGS, "--items", "3", "--nested", str(most))
    commands = [SCRIPT.format(number, number).split() for number in range(most + 1)]
    for tasks, code in ((most, 0), (most + 1, 2)):
        # The program is one and the same, and the rest of the line is what differs
        arguments = ",".join(" ".join(words[1:]) for words in commands[:tasks])
        (tmp_path / "tasks.txt").write_text(f"Sample000001|Call|align|{arguments}\n")
        checked = run(
            "import-items-generic.py", "-t", "Call", "-d", str(tmp_path / "tasks.txt"),
            "-s", "|", "-n", ",", "--dry-run",
        )  # fmt: skip
        assert checked.returncode == code, checked.stderr


def test_it_takes_one_table(run: Run) -> None:
    ended = run("pyanamo.py", "plan", "-t", "Align", "Call", *FLAGS, "--items", "3")
    assert ended.returncode == 2
    assert "plan takes one table and no samples; it was given Align, Call" in ended.stderr


def test_items_that_are_locked_stand_for_all_where_none_is_todo(
    run: Run, table: Table, dynamodb_client: Any
) -> None:
    locked = [workflow.item(f"T{k}", "locked", 4, **LEASE) for k in range(3)]
    workflow.put_all(dynamodb_client, table, locked)
    shown = plan(run, table.name, *FLAGS)
    assert "3 items to do, 4 tasks each" in shown
    assert "every item is taken to be like the median of the 3 that were read" in said(shown)


def test_it_says_that_no_item_could_be_read(
    run: Run, table: Table, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    """All were removed after they had been counted."""
    Importer(WorkflowTable(table.client, table.name)).run([single_item("Sample1", "true")])
    proxy = make_proxy(dynamodb)
    empty = Reply.of({"Responses": {}, "UnprocessedKeys": {}})
    proxy.behaviour = on("BatchGetItem", lambda request, forward: empty)
    shown = plan(run, table.name, *FLAGS, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert "no item could be read: every item is taken to be a usual single one" in said(shown)


def test_it_says_that_it_may_not_ask_for_the_indexes(
    run: Run, table: Table, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    Importer(WorkflowTable(table.client, table.name)).run([single_item("Sample1", "true")])
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on("DescribeTable", failing("AccessDeniedException"))
    shown = plan(run, table.name, *FLAGS, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert "every item is taken to be like the one that was read" in said(shown)
    assert "narrow indexes, since dynamodb:DescribeTable is denied" in shown
    assert "indexes as the table has them" in plan(run, table.name, *FLAGS)


def test_more_workers_than_the_ceiling_feeds_do_not_help(run: Run) -> None:
    few, many = (
        plan(run, "Tab", "--workers", count, "--task-time", "1s", "--items", "1000000")
        for count in ("100", "10000")
    )
    assert "would idle" in many
    assert "would idle" not in few
    assert number(many, "rate") == number(many, "ceiling") == 499


def test_the_price_is_that_of_the_command_line(run: Run) -> None:
    once, twice = (
        plan(run, "Tab", *FLAGS, "--items", "1000000", "--price", price) for price in ("1", "2")
    )
    dollars = [
        float(re.findall(r"write units .* ([0-9.]+) USD", text)[0]) for text in (once, twice)
    ]
    assert dollars[1] == 2 * dollars[0]


def test_what_the_table_says_itself_is_not_taken_from_flags(run: Run) -> None:
    ended = run("pyanamo.py", "plan", "-t", "Tab", *FLAGS, "--wide")
    assert ended.returncode == 2
    assert "--wide needs --items; without it, the table's indexes are looked up" in ended.stderr


def test_a_single_item_takes_what_a_test_counts_on_the_database(run: Run, table: Table) -> None:
    Importer(WorkflowTable(table.client, table.name)).run([single_item("Sample1", "true")])
    shown = plan(run, table.name, "--workers", "1", "--task-time", "0.001")
    assert number(shown, "write units") == 14


def test_without_a_table_a_plan_says_how_to_do_without(run: Run) -> None:
    ended = run("pyanamo.py", "plan", "-t", "Missing", *FLAGS)
    assert ended.returncode == 3
    (line,) = ended.stderr.splitlines()
    how = "check -t and -r, or plan without a table with --items N"
    assert line == f"pyanamo.py: table Missing does not exist in us-east-1: {how}"
