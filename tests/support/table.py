"""Workflow tables, seen without the package that is under test."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
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
    """A workflow table and what it holds, read with strong consistency."""

    name: str
    client: DynamoDBClient

    def items(self) -> list[dict[str, Any]]:
        """Return all items as plain Python values."""
        pages = self.client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True)
        return [plain({"M": item}) for page in pages for item in page["Items"]]

    def item(self, item_id: int | Decimal) -> dict[str, Any]:
        """Return one item as plain Python values; a KeyError says that it is not there."""
        reply = self.client.get_item(
            TableName=self.name, Key={"itemID": {"N": str(item_id)}}, ConsistentRead=True
        )
        found: dict[str, Any] = plain({"M": reply["Item"]})
        return found

    def states(self) -> Counter[str]:
        """Return how many items are in each state."""
        return Counter(item["ItemState"] for item in self.items())


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


@contextmanager
def workflow_table(client: DynamoDBClient) -> Iterator[Table]:
    """Make an empty table with a name of its own, and delete it afterwards."""
    name = f"Test-{uuid.uuid4().hex[:12]}"
    client.create_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": kind}  # type: ignore[typeddict-item]
            for attribute, kind in KEY_TYPES.items()
        ],
        KeySchema=[{"AttributeName": "itemID", "KeyType": "HASH"}],
        ProvisionedThroughput={"ReadCapacityUnits": 10, "WriteCapacityUnits": 10},
        GlobalSecondaryIndexes=json.loads(INDEXES.read_text()),
    )
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    try:
        yield Table(name, client)
    finally:
        client.delete_table(TableName=name)
