"""What work has cost: requests, and the units DynamoDB says it bills."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anamo.core.codec import Values
from anamo.core.item_size import size_of

READS = frozenset({"query", "scan", "get_item", "batch_get_item"})
WRITES = frozenset({"update_item", "delete_item"})
"""Requests whose answers are asked for units. An import's transactions are not: nobody is told what
they took, and adding it up takes DynamoDB Local a sixth of its time."""


@dataclass(frozen=True, slots=True)
class ConsumedCapacity:
    """Requests to DynamoDB, the units it billed for them, and objects put in S3."""

    requests: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    objects: int = 0

    def __add__(self, other: "ConsumedCapacity") -> "ConsumedCapacity":
        return ConsumedCapacity(
            self.requests + other.requests,
            self.read_units + other.read_units,
            self.write_units + other.write_units,
            self.objects + other.objects,
        )


NOTHING = ConsumedCapacity()


class CapacityMeter:
    """Adds up what a table's requests cost; threads may share it.

    Not guaranteed: the units of requests that failed otherwise than by their condition, or whose
    answer was lost.
    """

    def __init__(self) -> None:
        self.consumed = ConsumedCapacity()
        self._adding = threading.Lock()

    def answered(self, operation: str, answer: Mapping[str, Any]) -> None:
        """Add a request by DynamoDB's answer to it."""
        found = answer.get("ConsumedCapacity", [])
        parts = found if isinstance(found, list) else [found]
        units = sum(float(part["CapacityUnits"]) for part in parts)
        read = operation in READS
        self._add(ConsumedCapacity(1, units if read else 0.0, 0.0 if read else units))

    def refused(self, item: Values | None) -> None:
        """Add a write whose condition failed on this item: it costs what the item's size does, in
        the table alone.
        """
        self._add(ConsumedCapacity(1, write_units=max(1, math.ceil(size_of(item or {}) / 1024))))

    def put(self) -> None:
        """Add an object put in S3."""
        self._add(ConsumedCapacity(objects=1))

    def _add(self, consumed: ConsumedCapacity) -> None:
        with self._adding:
            self.consumed += consumed
