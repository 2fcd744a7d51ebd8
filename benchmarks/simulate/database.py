"""A table of DynamoDB as a model: what requests make of it, what they cost, which are throttled.

Guaranteed: conditions and updates are evaluated as the package sends them, by the evaluator that
the model tests hold to DynamoDB Local. A request with a parameter that is not known here raises a
NotImplementedError. Not guaranteed: any request but those of workers.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from botocore.exceptions import ClientError

from anamo.core.capacity import Index, index_write, read_units, write_units
from benchmarks.simulate.listing import Listing, Page, Selection, TableOrder
from benchmarks.simulate.partitions import Capacity, KeyRange, Limits
from benchmarks.simulate.sizes import Image, key_number, position
from benchmarks.simulate.virtual_time import VirtualTime
from tests.model import small_dynamodb

LISTED = ("ItemStateIndex",)
"""Indexes that are queried; of the others only the units count."""

TABLE_PARTITIONS = 4

Request = Mapping[str, Any]
Answer = dict[str, Any]
Use = tuple["Place", Any, float]
"""A place, a sort key in it, and the units that a request takes there."""


class Place:
    """What has units of its own: the table, or one key value of an index.

    Attributes:
        name: "table", or the index and the key value.
        keys: Its partitions.
        capacity: On-demand capacity for writes and reads of the whole table or index.
    """

    def __init__(self, name: str, keys: KeyRange, capacity: Mapping[str, Capacity]) -> None:
        self.name = name
        self.keys = keys
        self.capacity = capacity


class Meter:
    """What was consumed and refused: by request, and by kind of unit and place."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.units: dict[tuple[str, str], float] = defaultdict(float)
        self.throttled: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def total(self, kind: str) -> float:
        """Units of a kind, "write" or "read"."""
        return sum(units for (unit, _), units in self.units.items() if unit == kind)


class SimulatedDatabase:
    """One table with its indexes.

    Args:
        indexes: Its indexes.
        limits: What it throttles, and how far its indexes lag.
        time: When things happen.
        seed: Of lags and of the sort keys by which partitions are split.
    """

    def __init__(
        self, indexes: Sequence[Index], limits: Limits, time: VirtualTime, seed: int = 1
    ) -> None:
        self.meter = Meter()
        self.limits = limits
        self.images: dict[Any, Image] = {}
        self._indexes = indexes
        self._time = time
        self._draw = random.Random(seed)
        self._listings = {index.name: Listing() for index in indexes if index.name in LISTED}
        self._visible: dict[Any, float] = {}
        self._capacities: dict[str, Mapping[str, Capacity]] = {}
        self._places: dict[str, Place] = {}
        firsts = [number / TABLE_PARTITIONS for number in range(TABLE_PARTITIONS)]
        keys = KeyRange(limits, firsts, self._draw)
        self._table = Place("table", keys, self._capacity("table"))
        self._order = TableOrder({})

    # Requests, named as the methods of boto3's client

    def update_item(self, request: Request) -> Answer:
        """UpdateItem."""
        key = key_number(request["Key"]["itemID"])
        before = self.images.get(key)
        answer = small_dynamodb.update(before, request)
        if not answer.applied:
            self._refuse(key, before, "UpdateItem")
        # There is no update that creates an item
        assert before is not None
        assert answer.image is not None
        after = Image(answer.image)
        units = self._write(key, before, after)
        attributes = {"Attributes": after} if request["ReturnValues"] == "ALL_NEW" else {}
        return {**attributes, "ConsumedCapacity": {"CapacityUnits": units}}

    def query(self, request: Request) -> Answer:
        """Query of an index."""
        index = next(each for each in self._indexes if each.name == request["IndexName"])
        selection = Selection(request, index, self._listings[index.name])
        place = self._place(index, selection.state)
        self._admit("read", [(place, selection.first)])
        page = selection.page()
        units = read_units(page.size)
        self._use("read", [(place, selection.first, units)])
        return _answer(page, units, page.items(request, index.projected))

    def scan(self, request: Request) -> Answer:
        """Scan of the table."""
        if "IndexName" in request:
            raise NotImplementedError("a scan of an index")
        if len(self._order) != len(self.images):
            self._order = TableOrder(self.images)
        _, first = self._order.begin(request)
        self._admit("read", [(self._table, first)])
        page, items = self._order.page(request)
        units = read_units(page.size, consistent=request.get("ConsistentRead", False))
        self._use("read", [(self._table, first, units)])
        return _answer(page, units, items)

    # Without requests

    def fill(self, images: Sequence[Image]) -> None:
        """Put items in the table and its indexes, as if they had always been there."""
        for image in images:
            key = key_number(image["itemID"])
            self.images[key] = image
            for index in self._indexes:
                if index.name in LISTED and (entry := index.entry(image)) is not None:
                    state = entry[index.partition_key]["S"]
                    self._listings[index.name].append(state, key, _sized(entry))
        for listing in self._listings.values():
            listing.sort()

    # Parts of requests

    def _write(self, key: Any, before: Image, after: Image) -> float:
        in_table = float(write_units(max(before.size, after.size)))
        uses: list[Use] = [(self._table, position(key), in_table)]
        for index in self._indexes:
            write = index_write(index, before, after, lambda entry: _sized(entry).size)
            for image, units in ((before, write.left), (after, write.entered)):
                if units:
                    place = self._place(index, image[index.partition_key]["S"])
                    uses.append((place, _sort_key(image[index.sort_key]), float(units)))
        self._take("write", uses)
        self.images[key] = after
        if len(self._order) == len(self.images):
            self._order.wrote(key)
        self._list_later(key, before, after)
        return sum(units for _, _, units in uses)

    def _list_later(self, key: Any, before: Image, after: Image) -> None:
        """Have the indexes show a write after their lag, and each item's writes in their order."""
        changes: list[Callable[[], None]] = []
        for index in self._indexes:
            if index.name in LISTED:
                change = self._listings[index.name].change(
                    key, _keyed(index, before), _keyed(index, after)
                )
                changes.append(change)
        if not self.limits.lag:
            for change in changes:
                change()
            return
        lag = self._draw.expovariate(1 / self.limits.lag)
        at = max(self._visible.get(key, 0.0), self._time.now + lag)
        self._visible[key] = at
        for change in changes:
            self._time.at(at, change)

    def _refuse(self, key: Any, image: Image | None, operation: str) -> NoReturn:
        units = float(write_units(image.size if image else 0))
        self._take("write", [(self._table, position(key), units)])
        self.meter.refused[operation] += 1
        error: Any = {"Error": {"Code": "ConditionalCheckFailedException"}}
        if image is not None:
            error["Item"] = image
        raise ClientError(error, operation)

    def _take(self, kind: str, uses: Sequence[Use]) -> None:
        self._admit(kind, [(place, key) for place, key, _ in uses])
        self._use(kind, uses)

    def _admit(self, kind: str, wanted: Sequence[tuple[Place, Any]]) -> None:
        """Raise that the request is throttled unless all these places have units left."""
        if self.limits.unlimited:
            return
        now = self._time.now
        for place, key in wanted:
            partition = place.keys.at(key)
            if not (partition.bucket(kind).has_any(now) and place.capacity[kind].has_any(now)):
                place.keys.refused(partition, now)
                self.meter.throttled[f"{kind} {place.name}"] += 1
                raise throttled(kind)

    def _use(self, kind: str, uses: Sequence[Use]) -> None:
        """Use units in all these places."""
        for place, key, units in uses:
            self.meter.units[kind, place.name] += units
            if not self.limits.unlimited:
                partition = place.keys.at(key)
                partition.bucket(kind).take(units)
                place.keys.touched(partition, key)
                place.capacity[kind].take(units, self._time.now)

    def _place(self, index: Index, state: str) -> Place:
        name = f"{index.name} {state}"
        if name not in self._places:
            keys = KeyRange(self.limits, [None], self._draw)
            self._places[name] = Place(name, keys, self._capacity(index.name))
        return self._places[name]

    def _capacity(self, name: str) -> Mapping[str, Capacity]:
        if name not in self._capacities:
            self._capacities[name] = {
                "write": Capacity(self.limits.first_writes, self.limits),
                "read": Capacity(self.limits.first_reads, self.limits),
            }
        return self._capacities[name]


def throttled(kind: str) -> ClientError:
    """What DynamoDB answers to a request that it throttles."""
    error = {"Code": "ThrottlingException", "Message": f"{kind}s are throttled"}
    return ClientError({"Error": error}, "Request")  # type: ignore[typeddict-item]


def _sort_key(value: Mapping[str, Any]) -> Any:
    return key_number(value) if "N" in value else value["S"]


def _sized(entry: Mapping[str, Any]) -> Image:
    return entry if isinstance(entry, Image) else Image(entry)


def _keyed(index: Index, image: Image) -> tuple[str, Image] | None:
    """The key value of an item's entry in an index, and the entry; None where there is none."""
    entry = index.entry(image)
    return None if entry is None else (entry[index.partition_key]["S"], _sized(entry))


def _answer(page: Page, units: float, items: Sequence[Mapping[str, Any]]) -> Answer:
    answer: Answer = {
        "Items": items,
        "Count": len(items),
        "ScannedCount": len(page.read),
        "ConsumedCapacity": {"CapacityUnits": units},
    }
    return {**answer, "LastEvaluatedKey": page.rest} if page.rest else answer
