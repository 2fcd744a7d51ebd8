"""What stands in for the world in the model: a clock moved by hand, a connection that loses
replies and delays requests.
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
    """A client that loses the reply to the next write when it is told to.

    losing: whether it will. delaying: whether it does not execute that write either, which is
    `delayed` then. sent: the writes that it has executed. Calling one of these executes it.
    """

    def __init__(self, client: DynamoDBClient) -> None:
        self.losing = False
        self.delaying = False
        self.sent: list[Callable[[], object]] = []
        self.delayed: Callable[[], object] = lambda: None
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
        def execute() -> None:
            with suppress(ClientError):
                method(**request)

        if not self.delaying:
            self.sent.append(execute)
        if not (self.losing or self.delaying):
            return method(**request)
        if self.delaying:
            self.delayed = execute
        else:
            execute()
        self.losing = self.delaying = False
        raise ConnectionClosedError(endpoint_url="http://127.0.0.1")
