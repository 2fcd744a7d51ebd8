"""Items: identity, form in DynamoDB, size."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from anamo.core.codec import decode, encode
from anamo.core.item import (
    NULL,
    Item,
    NestedTask,
    State,
    nested_item,
    new_values,
    single_item,
    task_order,
)
from anamo.core.item_size import ITEM_LIMIT, size_of, value_size
from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
items = st.builds(single_item, texts, texts) | st.builds(
    nested_item, texts, st.lists(texts, min_size=1, max_size=12)
)


@pytest.mark.parametrize("script", [{}, {"Task_0": "seq 1"}, []])
def test_a_task_script_that_cannot_be_read_is_one_empty_task(script: object) -> None:
    item = Item.from_values({"itemID": 7, "TaskScript": script})
    assert (item.script, item.tasks) == ("", 1)


def test_ids_are_those_of_every_other_day() -> None:
    """If this fails, importing a file again would run all of it again."""
    assert single_item("Task-1", "seq 1").item_id == 2445651813031579
    assert nested_item("Task-1", ["seq 1", "seq 2"]).item_id == 5072882633842657
    assert single_item("Größe 7/ä", "echo ü").item_id == 1384013058841518


@given(items)
def test_ids_have_at_most_53_bits(item: Item) -> None:
    assert 0 <= item.item_id < 2**53


def test_ids_differ_where_anything_differs() -> None:
    made = [
        single_item("a", "b c"),
        single_item("a b", "c"),
        single_item("a", "b  c"),
        nested_item("a", ["b c"]),
        nested_item("a", ["b", "c"]),
        nested_item("a", ["c", "b"]),
        nested_item("a", ["b,c"]),
        nested_item("a", ['b","c']),
    ]
    assert len({item.item_id for item in made}) == len(made)


@given(items)
def test_an_item_comes_back_from_its_attributes(item: Item) -> None:
    assert Item.from_values(decode(encode(new_values(item)))) == item


def test_a_new_item_is_todo_and_nobodys() -> None:
    attributes = encode(new_values(single_item("Task-1", "seq 1")))
    assert attributes == {
        "itemID": {"N": "2445651813031579"},
        "taskID": {"S": "Task-1"},
        "TaskScript": {"S": "seq 1"},
        "ItemState": {"S": "todo"},
    }


def test_a_new_nested_item_has_its_tasks_and_their_number() -> None:
    attributes = encode(new_values(nested_item("Task-1", ["seq 1", "seq 2"])))
    assert attributes["Nested_Tasks"] == {"N": "2"}
    assert attributes["TaskScript"] == {
        "M": {
            "Task_0": {"M": {"Status": {"S": "todo"}, "Script": {"S": "seq 1"}}},
            "Task_1": {"M": {"Status": {"S": "todo"}, "Script": {"S": "seq 2"}}},
        }
    }


def test_a_held_item_is_read_whole() -> None:
    attributes = {
        **encode(new_values(nested_item("Task-1", ["seq 1"]))),
        "ItemState": {"S": "locked"},
        "lockID": {"S": "mine"},
        "InstanceID": {"S": "i-1"},
        "Lease_Expires": {"N": "1700000000"},
        "Attempts": {"N": "3"},
        "Failures": {"N": "2"},
        "S3_Prefixes": {"L": [{"S": "s3://bucket/T/Task-1/7-first-"}]},
        "Comment": {"S": "of another tool"},
    }
    item = Item.from_values(decode(attributes))
    expected = dataclasses.replace(
        nested_item("Task-1", ["seq 1"]),
        state=State.LOCKED.value,
        lock_id="mine",
        instance_id="i-1",
        lease_expires=1_700_000_000,
        attempts=3,
        failures=2,
        s3_prefixes=("s3://bucket/T/Task-1/7-first-",),
    )
    assert item == expected


def test_what_another_tool_left_out_counts_as_unset() -> None:
    item = Item.from_values({"itemID": 7})
    assert item == Item(7, NULL, "", state=NULL)


def test_nested_tasks_of_another_tool_may_lack_their_status() -> None:
    item = Item.from_values({"itemID": 7, "TaskScript": {"Task_0": {"Script": "seq 1"}}})
    assert item.nested == (NestedTask("Task_0", "seq 1", "todo"),)


def test_nested_tasks_come_in_the_order_of_their_numbers() -> None:
    item = nested_item("Task-1", [f"seq {k}" for k in range(12)])
    values = new_values(item)
    shuffled = dict(sorted(values["TaskScript"].items()))
    assert list(shuffled)[2] == "Task_10"
    read = Item.from_values({**values, "TaskScript": shuffled})
    assert [task.name for task in read.nested] == [f"Task_{k}" for k in range(12)]


def test_names_without_a_number_come_last() -> None:
    names = ["Task_10", "last", "Task_x", "Task_9", "Task_²"]
    assert sorted(names, key=task_order)[:2] == ["Task_9", "Task_10"]


def test_an_item_counts_its_tasks() -> None:
    assert single_item("a", "b").tasks == 1
    assert nested_item("a", ["b", "c"]).tasks == 2
    assert not single_item("a", "b").is_nested
    assert nested_item("a", ["b"]).is_nested


def test_a_state_prints_as_its_value() -> None:
    assert f"{State.TODO} {State.FAILED}" == "todo failed"


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("", 0),
        ("ä", 2),
        (b"abc", 3),
        ([], 3),
        (["ab", "c"], 8),
        (7, 2),
        (Decimal("12.345"), 5),
        (Binary(b"abc"), 3),
        ({}, 3),
        ({"k": "v"}, 6),
        (True, 1),
        (None, 1),
    ],
)
def test_sizes_are_those_of_the_developer_guide(value: object, size: int) -> None:
    assert value_size(value) == size


def test_the_largest_item_by_that_measure_is_taken_and_a_larger_one_refused(
    dynamodb_client: DynamoDBClient, table: Table
) -> None:
    values = new_values(single_item("Task-1", "x"))
    room = ITEM_LIMIT - size_of(values)
    values["TaskScript"] = "x" * (1 + room)
    assert size_of(values) == ITEM_LIMIT
    dynamodb_client.put_item(TableName=table.name, Item=encode(values))

    # Numbers are counted generously, by some bytes
    values["TaskScript"] = "x" * (1 + room + 50)
    with pytest.raises(ClientError, match="size"):
        dynamodb_client.put_item(TableName=table.name, Item=encode(values))


@pytest.mark.parametrize(
    ("scripts", "arguments"),
    [
        (["call S1 chr1", "call S1 chr2"], ["chr1", "chr2"]),
        (["call -c chr1 S1.bam", "call -c chr2 S1.bam"], ["chr1", "chr2"]),
        (["call S1 1 100", "call S1 2 200"], ["1 100", "2 200"]),
        (["call S1", "call S1 chr2"], ["", "chr2"]),
        (["seq 1", "seq 1"], ["", ""]),
        (["call S1 chr1"], ["chr1"]),
    ],
)
def test_an_argument_is_what_tells_a_nested_task_from_the_others(
    scripts: list[str], arguments: list[str]
) -> None:
    item = nested_item("S1", scripts)
    assert [item.arguments[task.name] for task in item.nested] == arguments


def test_an_item_whose_task_scripts_were_not_read_has_no_arguments() -> None:
    assert dataclasses.replace(nested_item("S1", ["seq 1"]), nested=()).arguments == {}
