"""What a query of an index, or a scan of the table, gives: pages of 1 MB at most."""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from anamo.core.capacity import Index
from benchmarks.simulate.sizes import Image, key_number, position
from tests.model import small_dynamodb

PAGE_BYTES = 1 << 20

Request = Mapping[str, Any]
Keyed = tuple[str, Image] | None
"""The key value of an index entry, and the entry; None where there is none."""


class Listing:
    """The entries of an index that is sorted by itemID, as queries see them now."""

    def __init__(self) -> None:
        self.keys: dict[str, list[Any]] = defaultdict(list)
        self.entries: dict[str, dict[Any, Image]] = defaultdict(dict)

    def append(self, state: str, key: Any, entry: Image) -> None:
        """Add an entry; `sort` has to follow."""
        self.keys[state].append(key)
        self.entries[state][key] = entry

    def sort(self) -> None:
        """Bring what was appended into its order."""
        for keys in self.keys.values():
            keys.sort()

    def change(self, key: Any, before: Keyed, after: Keyed) -> Callable[[], None]:
        """What makes a write of an item visible."""

        def apply() -> None:
            if before and (not after or before[0] != after[0]):
                keys = self.keys[before[0]]
                del keys[bisect.bisect_left(keys, key)]
                del self.entries[before[0]][key]
            if after:
                if key not in self.entries[after[0]]:
                    bisect.insort(self.keys[after[0]], key)
                self.entries[after[0]][key] = after[1]

        return apply


TABLE_FILTER = "ItemState IN (:todo, :locked)"
"""The filter of those who read the table itself, always with the same values."""

BLOCK = 256
"""Items whose writes are counted together, so that pages that are read again and again are made
anew only where something has changed.
"""


class TableOrder:
    """The items of a table in the order in which a scan gives them.

    Args:
        images: The items by itemID; whoever writes one says so by `wrote`.
    """

    def __init__(self, images: Mapping[Any, Image]) -> None:
        self._images = images
        self._order = sorted((position(key), key) for key in images)
        self._numbers = {key: number for number, (_, key) in enumerate(self._order)}
        self._writes = [0] * (len(self._order) // BLOCK + 1)
        self._pages: dict[tuple[int, str], tuple[list[int], Page, list[dict[str, Any]]]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def wrote(self, key: Any) -> None:
        """Note that an item has changed."""
        self._writes[self._numbers[key] // BLOCK] += 1

    def begin(self, request: Request) -> tuple[int, float]:
        """Which item a scan begins at, and its position."""
        start = request.get("ExclusiveStartKey")
        number = self._numbers[key_number(start["itemID"])] + 1 if start else 0
        return number, self._order[number][0] if number < len(self._order) else 0.0

    def page(self, request: Request) -> tuple[Page, list[dict[str, Any]]]:
        """A page of a scan, and what the request gives of it."""
        begin, _ = self.begin(request)
        asked = begin, repr(sorted(request.items()))
        if asked in self._pages:
            writes, page, items = self._pages[asked]
            if writes == self._written(begin, len(page.read)):
                return page, items
        read, size = [], 0
        for _, key in self._order[begin : begin + PAGE_BYTES // 64]:
            read.append(self._images[key])
            size += read[-1].size
            if size >= PAGE_BYTES:
                break
        more = begin + len(read) < len(self._order)
        page = Page(read, size, {"itemID": read[-1]["itemID"]} if more else None)
        items = page.items(request, None)
        self._pages[asked] = self._written(begin, len(read)), page, items
        return page, items

    def _written(self, begin: int, count: int) -> list[int]:
        return self._writes[begin // BLOCK : (begin + count) // BLOCK + 1]


@dataclass
class Page:
    """What one request read.

    Attributes:
        read: The items or entries, before the filter.
        size: Their bytes.
        rest: The LastEvaluatedKey.
    """

    read: Sequence[Image]
    size: int
    rest: Mapping[str, Any] | None

    def items(self, request: Request, projected: frozenset[str] | None) -> list[dict[str, Any]]:
        """What the request gives of them."""
        passes = _filter(request)
        return [projection(each, request, projected) for each in self.read if passes(each)]


ENDED = re.compile(r"(\w+) < (:\w+)")
"""The filter of those who look for ended leases, in a thousand entries each."""


def _filter(request: Request) -> Callable[[Image], bool]:
    """What a FilterExpression lets pass. The evaluator takes long for the two that idle workers
    send by the thousand.
    """
    expression: str | None = request.get("FilterExpression")
    if expression is None:
        return lambda image: True
    values = request["ExpressionAttributeValues"]
    if expression == TABLE_FILTER:
        asked = repr(values)
        return lambda image: image.remember(
            asked, lambda: small_dynamodb.matches(expression, image, request)
        )
    if found := ENDED.fullmatch(expression):
        name, limit = found[1], float(values[found[2]]["N"])
        return lambda image: float(image.get(name, {}).get("N", "inf")) < limit
    return lambda image: small_dynamodb.matches(expression, image, request)


def projection(image: Image, request: Request, projected: frozenset[str] | None) -> dict[str, Any]:
    """The attributes that a request asks for. What an index lacks is refused."""
    asked = request.get("ProjectionExpression")
    if asked is None:
        return image
    names = request.get("ExpressionAttributeNames", {})
    wanted = [names.get(name, name) for name in asked.split(", ")]
    if projected is not None and not projected.issuperset(wanted):
        error = {"Code": "ValidationException", "Message": f"{asked}: not all are projected"}
        raise ClientError({"Error": error}, "Query")  # type: ignore[typeddict-item]
    return {name: image[name] for name in wanted if name in image}


CONDITION = re.compile(
    r"\w+ = (:\w+)(?: AND \w+ (?:(=|>=|<=|<|>) (:\w+)|BETWEEN (:\w+) AND (:\w+)))?"
)
"""A KeyConditionExpression: of the partition key, and perhaps of the sort key."""


class Selection:
    """What a query selects, before it is read.

    Attributes:
        state: The key value of the index.
        first: The sort key of the first entry.
    """

    def __init__(self, request: Request, index: Index, listing: Listing) -> None:
        found = CONDITION.fullmatch(request["KeyConditionExpression"])
        if not found or index.sort_key != "itemID":
            raise NotImplementedError(request["KeyConditionExpression"])
        values = request["ExpressionAttributeValues"]
        self.state: str = values[found[1]]["S"]
        self._keys = keys = listing.keys[self.state]
        self._entries = listing.entries[self.state]
        self._limit = request.get("Limit", len(keys) + 1)
        low, high = _bounds(keys, found, values)
        forward = request.get("ScanIndexForward", True)
        if start := request.get("ExclusiveStartKey"):
            after = key_number(start["itemID"])
            if forward:
                low = max(low, bisect.bisect_right(keys, after))
            else:
                high = min(high, bisect.bisect_left(keys, after))
        self._chosen = range(low, high) if forward else range(high - 1, low - 1, -1)
        self.first: Any = keys[self._chosen[0]] if self._chosen else 0

    def page(self) -> Page:
        """Read it, up to its limit or 1 MB."""
        read, size = [], 0
        for number in self._chosen:
            read.append(self._entries[self._keys[number]])
            size += read[-1].size
            if size >= PAGE_BYTES or len(read) == self._limit:
                break
        stopped = len(read) < len(self._chosen) or len(read) == self._limit
        rest = None
        if stopped and read:
            rest = {name: read[-1][name] for name in ("ItemState", "itemID")}
        return Page(read, size, rest)


def _bounds(
    keys: Sequence[Any], found: re.Match[str], values: Mapping[str, Any]
) -> tuple[int, int]:
    """From where to where the sort keys are that a query asks for."""

    def key(name: str) -> Any:
        return key_number(values[name])

    if found[4]:
        return bisect.bisect_left(keys, key(found[4])), bisect.bisect_right(keys, key(found[5]))
    if not found[2]:
        return 0, len(keys)
    left, right = bisect.bisect_left(keys, key(found[3])), bisect.bisect_right(keys, key(found[3]))
    return {
        "=": (left, right),
        ">=": (left, len(keys)),
        ">": (right, len(keys)),
        "<=": (0, right),
        "<": (0, left),
    }[found[2]]
