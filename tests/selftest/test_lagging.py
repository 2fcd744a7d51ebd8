"""An index behind its table: what it lists is what the table held that long ago."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3

from tests.support.lagging import LaggingIndex
from tests.support.proxy import Proxy
from tests.support.table import Table
from tests.support.waiting import eventually


def test_the_index_lists_what_was_there_and_the_table_what_is(
    table: Table, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(dynamodb)
    client = boto3.client("dynamodb", endpoint_url=proxy.url)

    def listed(**request: Any) -> list[str]:
        reply = client.query(
            TableName=table.name,
            IndexName="ItemStateIndex",
            KeyConditionExpression="ItemState = :state AND itemID >= :start",
            ExpressionAttributeValues={":state": {"S": "todo"}, ":start": {"N": "2"}},
            **request,
        )
        return [item["itemID"]["N"] for item in reply["Items"]]

    with LaggingIndex(table, 3600) as index:
        proxy.behaviour = index
        for number in range(1, 6):
            item = {"itemID": {"N": str(number)}, "ItemState": {"S": "todo"}}
            table.client.put_item(TableName=table.name, Item=item)
        assert listed() == []
        assert len(client.scan(TableName=table.name)["Items"]) == 5
        index.settle()
        assert listed() == ["2", "3", "4", "5"]
        assert listed(Limit=2) == ["2", "3"]
        assert listed(ScanIndexForward=False, Limit=1) == ["5"]
        table.client.delete_item(TableName=table.name, Key={"itemID": {"N": "3"}})
        assert listed() == ["2", "3", "4", "5"]
        index.seconds = 0.5
        eventually(lambda: listed() == ["2", "4", "5"])
