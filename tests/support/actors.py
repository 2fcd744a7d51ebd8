"""What stands in for the world in the model: a clock moved by hand, a connection that loses
replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ConnectionClosedError

from anamo.aws.clock import DatabaseClock

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
        return self._treat(self._client.update_item, request)

    def delete_item(self, **request: Any) -> Any:
        """Execute it, and answer or not."""
        return self._treat(self._client.delete_item, request)

    def _treat(self, method: Callable[..., Any], request: dict[str, Any]) -> Any:
        if not self.losing:
            return method(**request)
        self.losing = False
        with suppress(ClientError):
            method(**request)
        raise ConnectionClosedError(endpoint_url="http://127.0.0.1")
