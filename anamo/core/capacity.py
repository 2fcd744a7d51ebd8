"""How DynamoDB bills a write or a read: units by the size of items and of index entries.

Guaranteed: the same units as DynamoDB Local counts. Not guaranteed: those of indexes in
transactions, which it does not count.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from anamo.core.codec import Attributes

WRITE_BYTES = 1024
"""Bytes of an item, or of its entry in an index, for one write unit."""

READ_BYTES = 4096
"""Bytes for one read unit, or for half of one where the read may lag behind."""

PARTITION_WRITES, PARTITION_READS = 1000, 3000
"""Units a second that one partition takes: of an index, all entries with one key value until they
are split by the sort key."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a table.

    Attributes:
        name: Its name.
        partition_key: The attribute whose value says which partition an entry is in.
        sort_key: The attribute that orders the entries of a partition; where there is none, as in
            an index that another tool added, the partition key.
        projected: The attributes of an entry; None is all of the item's.
        more_keys: Further attributes of its key: an index of another tool may have up to four of
            each kind.
    """

    name: str
    partition_key: str
    sort_key: str
    projected: frozenset[str] | None
    more_keys: tuple[str, ...] = ()

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> "Index":
        """The index as CreateTable takes it and DescribeTable gives it."""
        keys: dict[str, list[str]] = {"HASH": [], "RANGE": []}
        for each in definition["KeySchema"]:
            keys[each["KeyType"]].append(each["AttributeName"])
        partition_key, sort_key = keys["HASH"][0], (keys["RANGE"] or keys["HASH"])[0]
        more_keys = (*keys["HASH"][1:], *keys["RANGE"][1:])
        projection = definition["Projection"]
        projected = None
        if projection["ProjectionType"] != "ALL":
            more = projection.get("NonKeyAttributes", [])
            projected = frozenset({*keys["HASH"], *keys["RANGE"], "itemID", *more})
        return cls(definition["IndexName"], partition_key, sort_key, projected, more_keys)

    @property
    def keys(self) -> tuple[str, ...]:
        """The attributes that an item has to have for the index to list it."""
        return self.partition_key, self.sort_key, *self.more_keys

    @property
    def wide(self) -> "Index":
        """The same index, holding whole items."""
        return replace(self, projected=None)

    def entry(self, item: Attributes | None) -> Attributes | None:
        """What the index holds of an item; None where there is none, or it lacks a key."""
        if item is None or not all(key in item for key in self.keys):
            return None
        if self.projected is None:
            return item
        return {name: value for name, value in item.items() if name in self.projected}


@dataclass(frozen=True, slots=True)
class IndexWrite:
    """What a write of an item costs in one index.

    Attributes:
        left: Units in the partition that the entry leaves.
        entered: Units in the partition where it is afterwards.
    """

    left: int = 0
    entered: int = 0


def index_write(
    index: Index,
    before: Attributes | None,
    after: Attributes | None,
    measure: Callable[[Attributes], int],
) -> IndexWrite:
    """What a write costs in one index: to change an entry's key is to delete it and to insert it.

    Args:
        index: The index.
        before: The item before the write; None if there was none.
        after: The item after it, likewise.
        measure: Bytes of attributes.
    """
    old, new = index.entry(before), index.entry(after)
    if old == new:
        return IndexWrite()
    left = 0 if old is None else write_units(measure(old))
    entered = 0 if new is None else write_units(measure(new))
    if old is None or new is None or any(old[key] != new[key] for key in index.keys):
        return IndexWrite(left, entered)
    return IndexWrite(entered=max(left, entered))


def write_units(size: int) -> int:
    """Units of a write of the given number of bytes."""
    return max(1, math.ceil(size / WRITE_BYTES))


def read_units(size: int, *, consistent: bool = False) -> float:
    """Units of a read of the given number of bytes."""
    units = max(1, math.ceil(size / READ_BYTES))
    return float(units) if consistent else units / 2
