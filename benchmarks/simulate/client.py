"""What stands in for a boto3 client: it takes virtual time, tries again as botocore does, and may
lose replies.

Guaranteed: a request whose reply is lost was executed. Not guaranteed: anything of boto3 but the
methods that workers call.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from anamo.aws.session import DYNAMODB_READ_SECONDS
from benchmarks.simulate.database import Answer, Meter, Request
from benchmarks.simulate.partitions import Limits
from benchmarks.simulate.virtual_time import VirtualTime

ATTEMPTS = 2
"""How often botocore sends a request of a worker, see `anamo.aws.session`."""

MOST_TOKENS, RETRY_TOKENS, TIMEOUT_TOKENS = 500, 5, 10
"""botocore's retry quota in the mode "standard": a client that meets fault after fault does not
try again by itself."""

THROTTLED = "ThrottlingException"


META = SimpleNamespace(
    region_name="us-east-1", events=SimpleNamespace(register=lambda *_, **__: None)
)
"""What a client says of itself."""


class SimulatedClient:
    """The client of one process.

    Args:
        database: Executes requests: its methods are named as boto3's.
        meter: Counts them.
        limits: How long they take, and how many replies are lost.
        time: What they take.
        seed: Of what is drawn.
    """

    def __init__(
        self, database: Any, meter: Meter, limits: Limits, time: VirtualTime, seed: int
    ) -> None:
        self.meta = META
        self._database = database
        self._meter = meter
        self._limits = limits
        self._time = time
        self._draw = random.Random(seed)
        self._tokens = MOST_TOKENS

    def update_item(self, **request: Any) -> Answer:
        """UpdateItem."""
        return self._send("UpdateItem", self._database.update_item, request)

    def query(self, **request: Any) -> Answer:
        """Query."""
        return self._send("Query", self._database.query, request)

    def scan(self, **request: Any) -> Answer:
        """Scan."""
        return self._send("Scan", self._database.scan, request)

    def _send(
        self, operation: str, execute: Callable[[Request], Answer], request: Request
    ) -> Answer:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._try(operation, execute, request)
            except (ClientError, BotoCoreError) as fault:
                cost = _tokens(fault)
                if cost is None or attempt == ATTEMPTS or self._tokens < cost:
                    raise
                self._tokens -= cost
                self._time.sleep(self._draw.random() * 2 ** (attempt - 1))
            else:
                self._tokens = min(MOST_TOKENS, self._tokens + 1)
                return answer
        raise AssertionError

    def _try(
        self, operation: str, execute: Callable[[Request], Answer], request: Request
    ) -> Answer:
        self._meter.requests[operation] += 1
        # Half of it there and half back, so that requests overtake each other on their way
        half = self._limits.latency * self._draw.uniform(0.25, 0.75)
        self._time.sleep(half)
        lost = self._limits.lost and self._draw.random() < self._limits.lost
        try:
            return execute(request)
        finally:
            if lost:
                self._time.sleep(DYNAMODB_READ_SECONDS)
                raise ReadTimeoutError(endpoint_url="https://dynamodb.simulated")
            self._time.sleep(half)


def _tokens(fault: ClientError | BotoCoreError) -> int | None:
    """What a further try costs; None for a fault that botocore does not try again."""
    if isinstance(fault, ReadTimeoutError):
        return TIMEOUT_TOKENS
    if isinstance(fault, ClientError) and fault.response["Error"]["Code"] == THROTTLED:
        return RETRY_TOKENS
    return None
