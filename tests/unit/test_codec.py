"""Attribute values: what boto3 makes of them, and what another tool may have written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer
from hypothesis import given
from hypothesis import strategies as st

from anamo.aws.operator_writes import Lost
from anamo.aws.pages import Part
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.aws.table_writes import Holder
from anamo.core.codec import (
    DIGITS,
    LARGEST,
    LARGEST_ID,
    SMALLEST,
    SMALLEST_ID,
    above,
    below,
    decode,
    encode,
    key_named,
    key_of,
    number,
    text,
    whole,
)
from anamo.core.item import Item, new_values, single_item
from anamo.core.record import Record
from tests.support.scripts import ROOT
from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HUGE: dict[str, Any] = {"N": "1" + 125 * "0"}
"""1E+125, as DynamoDB returns it."""

ODD: dict[str, Any] = {
    "huge": HUGE,
    "long": {"N": "1234567890123456789012345678901234567890"},
    "set": {"NS": ["1", HUGE["N"]]},
    "texts": {"SS": ["a"]},
    "bytes": {"B": b"abc"},
    "map": {"M": {"list": {"L": [HUGE, {"NULL": True}, {"BOOL": False}]}}},
    "newer": {"X": "a type that is not known yet"},
}

values = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=5)
    | st.integers(-(10**38) + 1, 10**38 - 1)
    | st.decimals("-1000", "1000", places=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), values))
def test_plain_values_come_back(plain: dict[str, Any]) -> None:
    assert decode(encode(plain)) == plain


def test_what_the_library_refuses_is_read_all_the_same() -> None:
    with pytest.raises(ArithmeticError):
        TypeDeserializer().deserialize({"N": HUGE["N"]})
    huge = Decimal("1E+125")
    assert decode(ODD) == {
        "huge": huge,
        "long": Decimal(1234567890123456789012345678901234567890),
        "set": {1, huge},
        "texts": {"a"},
        "bytes": Binary(b"abc"),
        "map": {"list": [huge, None, False]},
        "newer": None,
    }


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (7, 7),
        (Decimal("1.5"), 1),
        (Decimal(-2), -2),
        (Decimal("1E+125"), LARGEST),
        (Decimal("-1E+125"), -LARGEST),
        (Decimal("NaN"), LARGEST),
        ("NULL", 0),
        (None, 0),
        ({}, 0),
        (b"7", 0),
    ],
)
def test_any_value_is_read_as_a_number_that_can_be_shown(value: object, read: int) -> None:
    assert whole({"a": value}, "a") == read
    assert len(f"{number({'a': value}, 'a') or 0.0:.0f}") < 20


def test_only_a_whole_number_of_38_digits_is_a_key_of_ours() -> None:
    """Any other is kept as it is, so that the item can be removed."""
    assert key_of({"itemID": Decimal("9" * 38)}) == 10**38 - 1
    assert isinstance(key_of({"itemID": Decimal("7.0")}), int)
    for other in ("1.5", "1E-100", "1E+38", "1E+125", "-1E+40"):
        key = key_of(decode({"itemID": {"N": f"{Decimal(other):f}"}}))
        assert (type(key), str(key)) == (Decimal, other)
    assert key_of({}) == key_of({"itemID": "7"}) == 0
    assert text({"a": 1}, "a", "unset") == "unset"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("7", 7),
        ("007", 7),
        ("-3", -3),
        ("1.50", Decimal("1.5")),
        ("1e+125", Decimal("1E+125")),
        ("1" + 125 * "0", Decimal("1E+125")),
        ("0.0", 0),
        ("1E+126", None),
        ("1E-131", None),
        ("1E+999999", None),
        ("1" * 39, None),
        ("1" * 5000, None),
        ("NaN", None),
        ("7\n", None),
        ("Task-7", None),
    ],
)
def test_a_name_may_be_a_key_in_any_spelling(name: str, key: object) -> None:
    assert key_named(name) == key


numbers = st.decimals(SMALLEST_ID, LARGEST_ID, allow_nan=False).filter(
    lambda number: (
        len(number.as_tuple().digits) <= DIGITS and (not number or abs(number) >= SMALLEST)
    )
)


@given(numbers)
def test_the_neighbours_of_a_number_are_numbers_of_dynamodb(number: Decimal) -> None:
    for neighbour, back in ((above(number), below), (below(number), above)):
        assert neighbour is not None
        assert not neighbour or Decimal(neighbour).copy_abs() >= SMALLEST
        assert len(Decimal(neighbour).as_tuple().digits) <= DIGITS
        assert key_of(decode(encode({"itemID": neighbour}))) == neighbour
        assert back(neighbour) == number
        assert (neighbour > number) is (back is below)


def test_nothing_comes_after_the_largest_or_before_the_smallest() -> None:
    assert above(LARGEST_ID) is below(SMALLEST_ID) is None
    assert (above(0), below(0)) == (SMALLEST, SMALLEST.copy_negate())
    assert above(SMALLEST.copy_negate()) == below(SMALLEST) == 0


def odd_items() -> list[dict[str, Any]]:
    """Items that another tool may have written, in DynamoDB's own form."""
    image = encode(new_values(single_item("Odd", "true")))
    return [
        {**image, "itemID": {"N": "1.5"}},
        {**image, "itemID": HUGE},
        {**image, "itemID": {"N": "1"}, "Attempts": HUGE, "Log_Length": {"N": "1.5"}},
        {**image, "itemID": {"N": "2"}, "Nested_Tasks": HUGE, "Log": {"M": {"Seconds": HUGE}}},
        {**image, "itemID": {"N": "3"}, "Attempts": {"S": "NULL"}, "TaskScript": {"NS": ["1"]}},
        {**image, "itemID": {"N": "4"}, "Log": {"M": {"Status": {"S": "x"}, "Exit_Code": HUGE}}},
    ]


@pytest.fixture
def odd(table: Table, dynamodb_client: DynamoDBClient) -> Table:
    for image in odd_items():
        dynamodb_client.put_item(TableName=table.name, Item=image)
    locked = {"ItemState": {"S": "locked"}, "Lease_Expires": HUGE}
    image = {**odd_items()[0], "itemID": {"N": "5"}, **locked}
    dynamodb_client.put_item(TableName=table.name, Item=image)
    return table


def test_items_of_another_tool_stop_no_reader(odd: Table) -> None:
    ours = WorkflowTable(odd.client, odd.name)
    for projection in Projection:
        records = ours.page(Part("todo"), projection).records
        ids = [1, Decimal("1.5"), 2, 3, 4, Decimal("1E+125")]
        # These two leave out the ids
        expected = [0] * len(ids) if projection in (Projection.SIZES, Projection.RUNS) else ids
        assert [record.item.item_id for record in records] == expected
        assert len(ours.of_task("Odd", "todo", projection)) == len(ids)
        assert len(ours.read(range(1, 6), projection)) == 5
    assert [item.item_id for item in ours.todo(0, 100)] == ids
    assert ours.last_todo() == Decimal("1E+125")
    (held,) = ours.claimable_page(None).locked
    assert held.lease_expires == LARGEST
    assert Record(held, 1, "", "", {}).leased(4e9)
    assert ours.states([1, 2, 9]).states == {1: "todo", 2: "todo"}
    (record,) = ours.read([4], Projection.WHOLE)
    assert record.logs[""].exit_code == LARGEST


def test_items_of_another_tool_stop_no_writer(odd: Table) -> None:
    ours = WorkflowTable(odd.client, odd.name)
    again = WorkflowTable(odd.client, odd.name)
    second = replace(single_item("Odd", "true"), item_id=2)
    claimed = ours.claim(second, "mine", Holder("i-me", 60))
    assert isinstance(claimed, Item)
    assert again.claim(second, "another", Holder("i-me", 60)) is None, "an odd item was returned"
    assert ours.insert([Item(2, "Odd", "true")], "token") == {2: "locked"}
    (locked,) = ours.read([5], Projection.WHOLE)
    assert isinstance(ours.remove(locked, force=False), Lost)


@pytest.mark.parametrize("words", [["--output", "json"], ["--state", "todo"]])
def test_status_shows_such_items(odd: Table, run: Callable[..., Any], words: list[str]) -> None:
    ended = run("pyanamo.py", "status", "-t", odd.name, *words)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_dry_run_loads_no_boto3(run: Callable[..., Any]) -> None:
    code = (
        "import runpy, sys\nsys.argv[1:] = '-t Tab -d - -s | --dry-run'.split()\n"
        "try: runpy.run_path('import-items-generic.py', run_name='__main__')\n"
        "except SystemExit as ended: print(ended.code)\n"
        "print([name for name in ('boto3', 'botocore') if name in sys.modules])"
    )
    ended = run(sys.executable, "-c", code, cwd=ROOT, stdin="A|Tab|true\n")
    assert ended.stdout.splitlines()[-2:] == ["0", "[]"]


def test_what_an_index_does_not_hold_whole_is_given_as_the_table_has_it(odd: Table) -> None:
    ours = WorkflowTable(odd.client, odd.name)
    listed = {"itemID": 5, "taskID": "Odd", "ItemState": "failed"}
    client = Mock(query=lambda **_: {"Items": [encode(listed)]})
    changed = WorkflowTable(client, odd.name)
    changed.read = ours.read  # type: ignore[method-assign]
    (record,) = changed.of_task("Odd", "failed", Projection.WITHOUT_LOGS)
    assert record.state == "locked"
    (record,) = changed.page(Part("failed"), Projection.WITHOUT_LOGS).records
    assert record.state == "failed"
