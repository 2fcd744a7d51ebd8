"""Consumed capacity: requests, and the read and write units DynamoDB says it bills."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anamo.core.capacity import write_units
from anamo.core.codec import Values
from anamo.core.item_size import size_of

READS = frozenset({"Query", "Scan", "GetItem", "BatchGetItem"})
WRITES = frozenset({"UpdateItem", "DeleteItem"})
"""Operations whose requests ask for the capacity they consume. An import's transactions do not: it
is not shown to anybody, and adding it up takes a sixth of DynamoDB Local's time."""


@dataclass(frozen=True, slots=True)
class ConsumedCapacity:
    """Requests to DynamoDB that succeeded or failed their condition, the units it bills for them,
    and objects uploaded to S3.
    """

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
    """Adds up what a table's requests consume; threads may share it.

    Not guaranteed: the units of requests that failed for another reason than their condition, or
    whose response was lost.
    """

    def __init__(self) -> None:
        self.consumed = ConsumedCapacity()
        self._throttles = 0
        self._adding = threading.Lock()

    def succeeded(self, operation: str, response: Mapping[str, Any]) -> None:
        """Add a request that succeeded.

        Args:
            operation: DynamoDB's name of it, such as UpdateItem.
            response: DynamoDB's response.
        """
        found = response.get("ConsumedCapacity", [])
        parts = found if isinstance(found, list) else [found]
        units = sum(float(part["CapacityUnits"]) for part in parts)
        read = operation in READS
        self._add(ConsumedCapacity(1, units if read else 0.0, 0.0 if read else units))

    def condition_failed(self, item: Values | None) -> None:
        """Add a write whose condition failed on this item (None: there is none).

        It is billed by the item's size, in the table only.
        """
        self._add(ConsumedCapacity(1, write_units=write_units(size_of(item or {}))))

    def throttled(self) -> None:
        """Count an attempt of a request that was throttled."""
        with self._adding:
            self._throttles += 1

    def take_throttles(self) -> int:
        """How many attempts were throttled since the last call."""
        with self._adding:
            taken, self._throttles = self._throttles, 0
        return taken

    def put(self) -> None:
        """Add an object uploaded to S3."""
        self._add(ConsumedCapacity(objects=1))

    def _add(self, consumed: ConsumedCapacity) -> None:
        with self._adding:
            self.consumed += consumed
