"""Workflow tables, seen without the package that is under test."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEXES = Path(__file__).parents[2] / "workflow-gsi-index.json"
KEY_TYPES = {
    "itemID": "N",
    "ItemState": "S",
    "taskID": "S",
    "InstanceID": "S",
    "Log_Length": "N",
}


@dataclass(frozen=True)
class Table:
    """A workflow table and what it holds, read with strong consistency.

    wide: whether its indexes hold whole items.
    """

    name: str
    client: DynamoDBClient
    wide: bool = False

    def items(self) -> list[dict[str, Any]]:
        """Return all items as plain Python values, the addresses of logs written out."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        return [addressed(plain({"M": item})) for page in pages for item in page["Items"]]

    def item(self, item_id: int | Decimal) -> dict[str, Any]:
        """Return one item likewise; a KeyError says that it is not there."""
        reply = self.client.get_item(
            TableName=self.name, Key={"itemID": {"N": str(item_id)}}, ConsistentRead=True
        )
        return addressed(plain({"M": reply["Item"]}))

    def states(self) -> Counter[str]:
        """Return how many items are in each state."""
        return Counter(item["ItemState"] for item in self.items())


def addressed(item: dict[str, Any]) -> dict[str, Any]:
    """Write out the addresses of logs: `1:rest` is the item's second prefix and the rest."""
    prefixes, log = item.get("S3_Prefixes", []), item.get("Log")
    if not prefixes or not isinstance(log, dict):
        return item
    entries = {}
    for name, entry in log.items():
        number, colon, rest = (
            entry.get("S3", "").partition(":") if isinstance(entry, dict) else ("", "", "")
        )
        known = bool(colon) and number.isdigit()
        entries[name] = {**entry, "S3": prefixes[int(number)] + rest} if known else entry
    return {**item, "Log": entries}


def plain(value: Any) -> Any:
    """Turn a DynamoDB value into Python's, with int and float where boto3 gives Decimal."""
    return undecimal(TypeDeserializer().deserialize(value))


def undecimal(value: Any) -> Any:
    """Replace the Decimals in a value, however deep."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {name: undecimal(member) for name, member in value.items()}
        case list():
            return [undecimal(member) for member in value]
        case _:
            return value


def indexes(*, wide: bool, lacking: Collection[str] = ()) -> Any:
    """The indexes of a workflow table; wide ones hold whole items, as those of the original and of
    earlier versions. ItemStateIndex lacks some attributes.
    """
    made = json.loads(INDEXES.read_text())
    for name in lacking:
        made[0]["Projection"]["NonKeyAttributes"].remove(name)
    return [{**index, "Projection": {"ProjectionType": "ALL"}} for index in made] if wide else made


@contextmanager
def workflow_table(
    client: DynamoDBClient, *, wide: bool = False, lacking: Collection[str] = ()
) -> Iterator[Table]:
    """Make an empty table with a name of its own, and delete it afterwards; see `indexes`."""
    name = f"Test-{uuid.uuid4().hex[:12]}"
    client.create_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": kind}  # type: ignore[typeddict-item]
            for attribute, kind in KEY_TYPES.items()
        ],
        KeySchema=[{"AttributeName": "itemID", "KeyType": "HASH"}],
        ProvisionedThroughput={"ReadCapacityUnits": 10, "WriteCapacityUnits": 10},
        GlobalSecondaryIndexes=indexes(wide=wide, lacking=lacking),
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    try:
        yield Table(name, client, wide)
    finally:
        client.delete_table(TableName=name)
