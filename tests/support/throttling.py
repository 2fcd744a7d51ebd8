"""An index key of ItemState that takes few requests a second, as a behaviour of the proxy.

In DynamoDB, all items of one state share one key of each index, and a key is one partition until it
is split. DynamoDB refuses what would exceed its units, and where an index is too slow for a write,
the write to the table. DynamoDB Local does neither.
"""

from __future__ import annotations

import threading
import time

from tests.support.proxy import Forward, Reply, Request, failing

THROTTLING = failing("ProvisionedThroughputExceededException")


class ThrottledKey:
    """A behaviour: requests that touch the key take a token each, and are refused without one.

    Args:
        state: The key.
        rate: Tokens a second.
        burst: Tokens that are saved at most.

    Attributes:
        passed: Requests that got a token.
        refused: Requests that got none.
    """

    def __init__(self, state: str, rate: float, burst: float) -> None:
        self.passed = 0
        self.refused = 0
        self._state = state
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, request: Request, forward: Forward) -> Reply | None:
        """Pass a request, or refuse it."""
        if self._state in states(request) and not self._take():
            return THROTTLING(request, forward)
        return forward(request)

    def _take(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._tokens + (now - self._at) * self._rate, self._burst)
            self._at = now
            granted = self._tokens >= 1
            self._tokens -= granted
            self.passed += granted
            self.refused += not granted
        return granted


def states(request: Request) -> set[str]:
    """The states whose keys a worker's request reads, or writes in the indexes."""
    if request.operation not in ("Query", "UpdateItem"):
        return set()
    values = request.json["ExpressionAttributeValues"]
    if request.operation == "Query":
        return {values[":state"]["S"]}
    # Whatever a worker writes, the item is locked before or afterwards
    ended = {values[name]["S"] for name in (":target", ":todo") if name in values}
    return {"locked", *ended}
