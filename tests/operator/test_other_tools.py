"""Items that another tool wrote in ways of its own: passed over and named, shown, and removable."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from anamo.core.codec import encode
from anamo.core.item import new_values, single_item
from tests.support.fleet import Fleet
from tests.support.table import Table

Run = Callable[..., Any]

DIGITS = "Task_" + 5000 * "1"
LEASE_ENDED = {"ItemState": {"S": "locked"}, "Lease_Expires": {"N": "1000"}}
LOG = {"Status": {"S": "Execution Successful"}, "S3": {"S": "s3://bucket/key"}}

KEYS = ("1.5", "1E-100", "1E+40", "1E+125", "-1E+40")
"""ItemIDs that no worker of ours may have claimed, as they are shown."""


def odd(name: str, **attributes: Any) -> dict[str, Any]:
    """Return a todo item in DynamoDB's own form; None leaves an attribute out."""
    image = {**encode(new_values(single_item(name, "true"))), **attributes}
    return {key: value for key, value in image.items() if value is not None}


def unclaimable() -> list[dict[str, Any]]:
    """Items that cannot be claimed."""
    return [
        *(odd(f"Key{key}", itemID={"N": key}) for key in KEYS),
        odd("Unnamed", itemID={"N": "2"}, lockID=None, **LEASE_ENDED),
        odd("Attempts", itemID={"N": "3"}, Attempts={"N": "1E+125"}),
    ]


def runnable() -> list[dict[str, Any]]:
    """Items that are run although they are odd."""
    digits = {DIGITS: {"M": {"Status": {"S": "todo"}, "Script": {"S": "true"}}}}
    return [
        odd("Negative", itemID={"N": "-7"}),
        odd("Digits", itemID={"N": "11"}, TaskScript={"M": digits}),
        odd("Failures", itemID={"N": "12"}, Failures={"N": "1E+125"}, TaskScript={"S": "false"}),
        odd("Length", itemID={"N": "13"}, Log_Length={"N": "-1E+100"}),
    ]


def put(table: Table, *items: dict[str, Any]) -> None:
    for item in items:
        table.client.put_item(TableName=table.name, Item=item)


def states(table: Table) -> Counter[str]:
    """How many items are in each state; the library cannot read the items whole."""
    pages = table.client.get_paginator("scan").paginate(
        TableName=table.name, ProjectionExpression="ItemState"
    )
    return Counter(item["ItemState"]["S"] for page in pages for item in page["Items"])


def test_workers_pass_over_what_they_cannot_claim_and_run_the_rest(fleet: Fleet) -> None:
    fleet.add(["true"] * 3)
    put(fleet.table, *unclaimable(), *runnable())
    ended = fleet.start("-i", "2").wait()
    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "internal error" not in ended.stderr
    said = [line for line in ended.stderr.splitlines() if "cannot be claimed" in line]
    remove = f"pyanamo.py remove -t {fleet.table.name} -r us-east-1 --state todo -- -1E+40"
    why = "item -1E+40: its itemID is not a whole number"
    assert said == [f"pyanamo.py: 7 items cannot be claimed: {why}; to remove it: python {remove}"]
    assert states(fleet.table) == {"done": 6, "failed": 1, "todo": 6, "locked": 1}
    assert fleet.scripts.run(*remove.split(), stdin="").returncode == 2, "it asks first"
    (command, *words) = remove.split()
    assert fleet.scripts.run(command, words[0], "--yes", *words[1:]).returncode == 0
    assert states(fleet.table)["todo"] == 5


def test_an_item_whose_claims_were_all_in_vain_fails_although_its_log_is_odd(fleet: Fleet) -> None:
    fleet.add(["true"])
    task = {"M": {"Status": {"S": "todo"}, "Script": {"S": "true"}}}
    nested = {"TaskScript": {"M": {"Task_0": task}}, "Log": {"S": "NULL"}}
    put(fleet.table, odd("Log", itemID={"N": "21"}, Attempts={"N": "11"}, **nested))
    ended = fleet.start().wait()
    assert ended.returncode == 1, ended.stderr
    assert "item 21 has failed: " in ended.stderr
    assert states(fleet.table) == {"done": 1, "failed": 1}


def test_a_locked_item_without_a_lock_id_is_named(fleet: Fleet) -> None:
    put(fleet.table, odd("Unnamed", itemID={"N": "2"}, lockID=None, **LEASE_ENDED))
    ended = fleet.start().wait()
    assert ended.returncode == 3
    again = f"requeue -t {fleet.table.name} -r us-east-1 --state locked 2"
    assert "item 2: it is locked without a lockID, and its lease has ended" in ended.stderr
    assert f"to requeue it: python pyanamo.py {again}\n" in ended.stderr
    assert fleet.scripts.run("pyanamo.py", *again.split(), "--yes").returncode == 0
    assert fleet.start().wait().returncode == 0
    assert fleet.table.states() == {"done": 1}


def test_a_table_of_nothing_else_ends_a_worker_soon(fleet: Fleet) -> None:
    put(fleet.table, *(odd(f"T{k}", itemID={"N": f"{k}.5"}) for k in range(60)))
    ended = fleet.start().wait()
    assert ended.returncode == 3
    assert "60 items cannot be claimed: item 0.5: " in ended.stderr


@pytest.fixture
def odd_table(table: Table) -> Table:
    marked = odd("Range", itemID={"N": "20"}, ItemState={"S": "done"})
    entries = [
        {**LOG, "S3_Range": {"S": "x-y"}},
        {**LOG, "S3": {"S": "somewhere else"}},
        {**LOG, "S3_Range": {"S": "9" * 5000 + "-1"}},
        {**LOG, "Seconds": {"N": "1E+125"}, "Max_RSS_MB": {"N": "-1E+125"}, "S3": {"L": []}},
    ]
    for number, entry in enumerate(entries):
        dates = {"Lock_Date": {"S": "0001-01-01"}, "Done_Date": {"S": "9999-12-31T23:59:59+00:00"}}
        put(table, {**marked, "itemID": {"N": str(20 + number)}, "Log": {"M": entry}, **dates})
    put(table, *unclaimable(), *runnable())
    return table


def test_status_shows_them(odd_table: Table, run: Run) -> None:
    for words in ([], ["--by-task"], ["--output", "json"], ["--html", "report.html"]):
        ended = run("pyanamo.py", "status", "-t", odd_table.name, *words)
        assert ended.returncode == 0, ended.stderr
    words = ["status", "-t", odd_table.name, "--state", "todo", "--output"]
    shown = json.loads(run("pyanamo.py", *words, "json").stdout)
    assert {item["itemID"] for item in shown} == {*KEYS, -7, 3, 11, 12, 13}
    tsv = run("pyanamo.py", *words, "tsv").stdout
    assert [key for key in KEYS if f"\t{key}\t" not in tsv] == []


def test_logs_name_what_is_no_log(odd_table: Table, run: Run) -> None:
    ended = run("pyanamo.py", "logs", "-t", odd_table.name, "--state", "done")
    assert ended.returncode == 3
    assert "item 20): s3://bucket/key: 'x-y' is not a range of bytes" in ended.stderr
    assert "item 21): somewhere else is not an s3:// address of a log" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("by", ["key", "task id"])
def test_each_of_them_can_be_removed_and_nothing_else(odd_table: Table, run: Run, by: str) -> None:
    before = states(odd_table)
    words = ["remove", "-t", odd_table.name, "--yes", "--state"]
    names = [key if by == "key" else f"Key{key}" for key in KEYS]
    for few in (names[:1], names[1:]):
        ended = run("pyanamo.py", *words, "todo", "--", *few)
        removed = "1 item" if len(few) == 1 else f"{len(few)} items"
        assert (ended.returncode, ended.stdout) == (0, f"{odd_table.name}: removed {removed}\n")
    assert states(odd_table) == before - Counter(todo=len(KEYS))
    assert run("pyanamo.py", *words, "todo").returncode == 0
    assert run("pyanamo.py", *words, "locked").returncode == 0
    assert run("pyanamo.py", *words, "done").returncode == 0
    assert states(odd_table) == {}


def test_one_that_a_worker_holds_is_removed_by_force_only(odd_table: Table, run: Run) -> None:
    lease = {"ItemState": {"S": "locked"}, "Lease_Expires": {"N": str(int(time.time()) + 3600)}}
    put(odd_table, odd("Held", itemID={"N": "1E+125"}, lockID={"N": "7"}, **lease))
    words = ["remove", "-t", odd_table.name, "--yes", "--state", "locked", "1E+125"]
    assert run("pyanamo.py", *words).returncode == 1
    assert run("pyanamo.py", *words, "--force").returncode == 0
    assert run("pyanamo.py", *words, "--force").returncode == 2


def test_all_of_them_can_be_requeued(odd_table: Table, run: Run) -> None:
    for state in ("done", "locked"):
        words = ["requeue", "-t", odd_table.name, "--state", state, "--yes"]
        assert run("pyanamo.py", *words).returncode == 0
    assert states(odd_table).keys() == {"todo"}
