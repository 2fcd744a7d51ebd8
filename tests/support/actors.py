"""Who else acts on a table in the model: a clock moved by hand, a connection that loses replies, an
operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ConnectionClosedError

from anamo.clock import DatabaseClock
from tests.support.reference import NOBODY
from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class HandDrivenClock(DatabaseClock):
    """A clock that stands until the machine moves it, whatever the server's time is."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(monotonic=now, wall=now)

    def learn(self, headers: Mapping[str, str], sent: float) -> None:
        """Take no notice of the server's time."""


class LossyClient:
    """A client that loses the reply to the next write when it is told to."""

    def __init__(self, client: DynamoDBClient) -> None:
        self.losing = False
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def update_item(self, **request: Any) -> Any:
        """Execute it, and answer or not."""
        if not self.losing:
            return self._client.update_item(**request)
        self.losing = False
        with suppress(ClientError):
            self._client.update_item(**request)
        raise ConnectionClosedError(endpoint_url="http://127.0.0.1")


class RawOperator:
    """The operator's transitions as conditional writes of its own, for as long as the table module
    has none: an item as it was seen, and that nobody holds, goes back to todo, or goes.
    """

    CONDITION = (
        "ItemState = :state AND lockID = :lock AND Log_Length = :length"
        " AND (attribute_not_exists(Lease_Expires) OR Lease_Expires < :epoch)"
    )

    def __init__(self, table: Table) -> None:
        self._table = table

    def requeue(self, seen: Mapping[str, Any], now: float) -> bool:
        """Make a failed item, or one whose lease has ended, todo again."""
        if seen["ItemState"] not in {"failed", "locked"}:
            return False
        again = {
            name: {
                "M": {
                    "Status": {"S": "todo" if task["Status"] == "failed" else task["Status"]},
                    "Script": {"S": task["Script"]},
                }
            }
            for name, task in (seen["TaskScript"].items() if "Nested_Tasks" in seen else ())
        }
        left = sum(task["M"]["Status"]["S"] == "done" for task in again.values())
        values: dict[str, Any] = {
            ":todo": {"S": "todo"},
            ":nobody": {"S": NOBODY},
            ":zero": {"N": "0"},
            ":left": {"N": str(left)},
        }
        update = (
            "SET ItemState = :todo, lockID = :nobody, InstanceID = :nobody,"
            " Attempts = :zero, Failures = :zero, Log_Length = :left"
        )
        if again:
            values[":again"] = {"M": again}
            update += ", TaskScript = :again"
        return self._landed(
            self._table.client.update_item,
            seen,
            UpdateExpression=update + " REMOVE Lease_Expires",
            ExpressionAttributeValues=values | self._as_seen(seen, now),
        )

    def remove(self, seen: Mapping[str, Any], now: float) -> bool:
        """Delete an item."""
        return self._landed(
            self._table.client.delete_item,
            seen,
            ExpressionAttributeValues=self._as_seen(seen, now),
        )

    def _landed(
        self, write: Callable[..., object], seen: Mapping[str, Any], **request: Any
    ) -> bool:
        key = {"itemID": {"N": str(seen["itemID"])}}
        try:
            write(
                TableName=self._table.name, Key=key, ConditionExpression=self.CONDITION, **request
            )
        except self._table.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    @staticmethod
    def _as_seen(seen: Mapping[str, Any], now: float) -> dict[str, Any]:
        return {
            ":state": {"S": seen["ItemState"]},
            ":lock": {"S": seen["lockID"]},
            ":length": {"N": str(seen["Log_Length"])},
            ":epoch": {"N": str(math.floor(now))},
        }
