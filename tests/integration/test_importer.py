"""Imports that go well: what is new is added, what is there stays as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anamo.core.codec import decode, encode
from anamo.core.item import NULL, Item, State, nested_item, new_values
from tests.support.proxy import Forward, Proxy, Reply, Request, on
from tests.support.scripts import ROOT, Scripts
from tests.support.table import KEY_TYPES, Table
from tests.support.task_files import PROGRAM, Importer, counts, lines, said, through

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def raw(table: Table) -> dict[str, Any]:
    """Every item as DynamoDB has it."""
    found = table.client.scan(TableName=table.name, ConsistentRead=True)["Items"]
    return {item["itemID"]["N"]: item for item in found}


def test_what_is_imported_is_what_the_file_says(import_file: Importer, table: Table) -> None:
    ended = import_file(table.name, lines(table.name, range(1, 251)))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{table.name}: 250 new items, 0 already there\n"
    items = [nested_item(f"Task-{k}", [f"seq {k}", "seq 2", "seq 3"]) for k in range(1, 251)]
    found = raw(table)
    assert len({image["lockID"]["S"] for image in found.values()}) == 3, "transactions"
    for item in items:
        image = found.pop(str(item.item_id))
        assert image == {**encode(new_values(item)), "lockID": image["lockID"]}
    assert found == {}


def test_importing_twice_adds_nothing(import_file: Importer, table: Table) -> None:
    content = lines(table.name, range(20))
    import_file(table.name, content)
    before = raw(table)
    again = import_file(table.name, content)
    assert again.stdout == f"{table.name}: 0 new items, 20 already there (20 todo)\n"
    assert raw(table) == before


def test_an_extended_file_adds_what_is_new(import_file: Importer, table: Table) -> None:
    import_file.fill(table, lines(table.name, range(150)))
    before = raw(table)
    longer = import_file(table.name, lines(table.name, range(-20, 180)))
    assert longer.stdout == f"{table.name}: 50 new items, 150 already there (150 todo)\n"
    assert raw(table).items() >= before.items()
    assert len(raw(table)) == 200


def test_done_failed_and_locked_items_stay_byte_for_byte(
    import_file: Importer, table: Table
) -> None:
    content = lines(table.name, range(100))
    import_file.fill(table, content)
    log = {"M": {"Task_0": {"M": {"Status": {"S": "Execution Successful"}}}}}
    for number, attributes in enumerate(raw(table).values()):
        state = ["done", "failed", "locked", "todo"][number % 4]
        changed = {**attributes, "ItemState": {"S": state}, "Attempts": {"N": "2"}, "Log": log}
        table.client.put_item(TableName=table.name, Item=changed)
    before = raw(table)
    again = import_file(table.name, content + lines(table.name, [100, 101]))
    assert again.stdout == (
        f"{table.name}: 2 new items, 100 already there (25 done, 25 failed, 25 locked, 25 todo)\n"
    )
    assert raw(table).items() >= before.items()


def test_lines_go_to_the_tables_they_name(
    import_file: Importer, make_table: Callable[[], Table]
) -> None:
    one, two = make_table(), make_table()
    content = lines(one.name, range(3)) + lines(two.name, range(2)) + lines(two.name, [1])
    ended = import_file(one.name, content, "-t", one.name, two.name)
    assert ended.stdout == (
        f"{one.name}: 3 new items, 0 already there\n"
        f"{two.name}: 2 new items, 0 already there; 1 duplicate line\n"
    )
    assert (len(one.items()), len(two.items())) == (3, 2)


def test_all_tables_are_filled_although_nobody_reads_the_lines(
    scripts: Scripts, make_table: Callable[[], Table], tmp_path: Path
) -> None:
    """Such as `| head -1` where Python does not hold output back."""
    tables = [make_table() for _ in range(3)]
    file = tmp_path / "tasks.txt"
    file.write_text("".join(lines(table.name, range(2)) for table in tables))
    names = " ".join(table.name for table in tables)
    command = f"{sys.executable} {ROOT / PROGRAM} -t {names} -d {file} -s '|' -n , | true"
    ended = scripts.run("bash", "-o", "pipefail", "-c", command, env={"PYTHONUNBUFFERED": "1"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [len(table.items()) for table in tables] == [2, 2, 2]


def test_one_bad_table_of_two_and_nothing_is_written(import_file: Importer, table: Table) -> None:
    content = lines(table.name, [1]) + lines("Missing", [1])
    ended = import_file(table.name, content, "-t", table.name, "Missing")
    assert ended.returncode == 3
    assert table.items() == []


def test_standard_input_is_read(scripts: Scripts, table: Table) -> None:
    command = (PROGRAM, "-t", table.name, "-d", "-", "-s", "|", "-n", ",")
    ended = scripts.run(*command, stdin=lines(table.name, range(3)))
    assert counts(ended) == (3, 0)
    assert len(table.items()) == 3


def test_single_items_and_a_typed_tab(scripts: Scripts, table: Table) -> None:
    command = (PROGRAM, "-t", table.name, "-d", "-", "-s", "\\t")
    ended = scripts.run(
        *command, stdin=f"A\t{table.name}\tseq\t1 2\r\nB b\t{table.name}\tseq 3\r\n"
    )
    assert counts(ended) == (2, 0)
    assert {(item["taskID"], item["TaskScript"]) for item in table.items()} == {
        ("A", "seq 1 2"),
        ("B b", "seq 3"),
    }


def test_large_items_are_spread_over_requests(import_file: Importer, table: Table) -> None:
    """A transaction holds 4 MB."""
    content = "".join(f"Task-{k}|{table.name}|echo {'x' * 300_000}|{k}\n" for k in range(20))
    assert counts(import_file(table.name, content)) == (20, 0)
    assert counts(import_file(table.name, content)) == (0, 20)


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], dynamodb: str) -> Proxy:
    return make_proxy(dynamodb)


@pytest.fixture
def new_name(dynamodb_client: DynamoDBClient, table: Table) -> Iterator[str]:
    """The name of a table that a test makes."""
    name = f"{table.name}-new"
    yield name
    dynamodb_client.delete_table(TableName=name)


def test_a_dry_run_sends_no_request_and_needs_no_account(
    import_file: Importer, proxy: Proxy
) -> None:
    nowhere = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_REGION": "",
        "AWS_DEFAULT_REGION": "",
        "AWS_ENDPOINT_URL": proxy.url,
    }
    content = lines("Testing", [1, 2, 2])
    for flags in (["--dry-run"], ["--dry-run", "--create-table"]):
        ended = import_file("Testing", content, *flags, env=through(proxy.url) | nowhere)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == (
            "Testing: 2 items, 6 tasks; 1 duplicate line\n"
            "  Task-1: seq 1\n  Task-1: seq 2\n  Task-1: seq 3\n"
            "  Task-2: seq 2\n  Task-2: seq 2\n  …\n"
            "3 valid lines; nothing was written (--dry-run)\n"
        )
    assert proxy.requests == []


def test_a_missing_table_is_made_on_demand_with_its_indexes(
    import_file: Importer, dynamodb_client: DynamoDBClient, new_name: str
) -> None:
    ended = import_file(new_name, lines(new_name, range(3)), "--create-table")
    assert said(ended) == [f"table {new_name}: created"]
    assert counts(ended) == (3, 0)
    made = dynamodb_client.describe_table(TableName=new_name)["Table"]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert {index["IndexName"] for index in made["GlobalSecondaryIndexes"]} == {
        "ItemStateIndex",
        "TaskStateIndex",
        "InstanceStateIndex",
        "LoggingIndex",
    }
    kinds = {each["AttributeName"]: each["AttributeType"] for each in made["AttributeDefinitions"]}
    assert kinds == KEY_TYPES

    again = import_file(new_name, lines(new_name, range(4)), "--create-table")
    assert (again.stderr, counts(again)) == ("", (1, 3))


def being_made(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    described = reply.json
    described["Table"]["TableStatus"] = "CREATING"
    return replace(reply, body=json.dumps(described).encode(), headers=uncounted(reply))


def uncounted(reply: Reply) -> Any:
    """The headers without the body's checksum."""
    del reply.headers["x-amz-crc32"]
    return reply.headers


def index_being_made(request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    described = reply.json
    described["Table"]["GlobalSecondaryIndexes"][2]["IndexStatus"] = "CREATING"
    return replace(reply, body=json.dumps(described).encode(), headers=uncounted(reply))


@pytest.mark.parametrize("behaviour", [being_made, index_being_made])
def test_a_table_that_is_being_made_is_waited_for(
    import_file: Importer,
    table: Table,
    proxy: Proxy,
    behaviour: Callable[[Request, Forward], Reply],
) -> None:
    proxy.behaviour = on("DescribeTable", behaviour, first=1)
    ended = import_file(table.name, lines(table.name, range(3)), env=through(proxy.url))
    assert counts(ended) == (3, 0)
    (waiting,) = said(ended)
    assert waiting.startswith(f"waiting for table {table.name}: ")
    assert waiting.endswith(" is CREATING")
    assert proxy.operations["DescribeTable"] == 2


def test_an_import_of_what_is_there_writes_nothing(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    """A put that fails its condition costs as much as one that passes."""
    content = lines(table.name, range(250))
    import_file.fill(table, content)
    assert counts(import_file(table.name, content, env=through(proxy.url))) == (0, 250)
    assert proxy.operations == {"DescribeTable": 1, "Query": len(State), "BatchGetItem": 3}


def test_items_come_back_as_they_were_meant(import_file: Importer, table: Table) -> None:
    content = f"Größe 7/ä|{table.name}|echo 'ü|ö'|\"a b\",$HOME\n"
    ended = import_file(table.name, content, "-s", "|")
    assert ended.returncode == 2, "the separator is inside quotes"
    content = f"Größe 7/ä;;{table.name};;echo 'ü|ö';;\"a b\",$HOME\n"
    assert counts(import_file(table.name, content, "-s", ";;")) == (1, 0)
    (attributes,) = raw(table).values()
    scripts = ["echo 'ü|ö' \"a b\"", "echo 'ü|ö' $HOME"]
    found = replace(Item.from_values(decode(attributes)), lock_id=NULL)
    assert found == nested_item("Größe 7/ä", scripts)
