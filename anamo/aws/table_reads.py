"""What is in a table: candidates for workers, states for the importer, records for operators.

Not guaranteed: that what an index lists is still so. Index reads are eventually consistent; the
condition of the write that follows decides.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from anamo.aws.dynamodb import (
    STATE_INDEX,
    TASK_INDEX,
    TRANSACTION_LIMIT,
    TableRequests,
)
from anamo.core.codec import LARGEST_ID, ItemId, Values, above, decode, encode, key_of, text
from anamo.core.errors import AwsError, Throttled
from anamo.core.item import Item, State
from anamo.core.record import Record

_TO_CLAIM = "itemID, taskID, ItemState, lockID, InstanceID, Lease_Expires, Attempts"
"""What a worker has to know of a locked item to take it over."""


@dataclass(frozen=True, slots=True)
class ItemStates:
    """The answer of one BatchGetItem.

    Attributes:
        states: The states of the items that the table has, by itemID.
        unread: The itemIDs that DynamoDB did not read: an answer has at most 16 MB, and a table
            that throttles answers in part.
    """

    states: Mapping[ItemId, str]
    unread: Set[ItemId]


class Projection(Enum):
    """The attributes to read. Fewer of them save time and never read units: DynamoDB bills the
    whole item even where it only counts.
    """

    COUNTS = "itemID, ItemState, Nested_Tasks, Log_Length, InstanceID, Lock_Date, Done_Date"
    STEP = "itemID, ItemState, taskID"
    STANDING = (
        "itemID, ItemState, taskID, Nested_Tasks, Log_Length, TaskScript,"
        " lockID, InstanceID, Lease_Expires, Lock_Date, Done_Date"
    )
    WHOLE = ""


@dataclass(frozen=True, slots=True)
class Part:
    """The items of a state from one itemID to another, both included; None is open."""

    state: str
    first: ItemId | None = None
    last: ItemId | None = None


@dataclass(frozen=True, slots=True)
class QueryPage:
    """One page of a query.

    Attributes:
        records: Items in the order of their itemIDs.
        rest: The part that is yet to be read; None after the last page.
        units: Read units it took.
    """

    records: Sequence[Record]
    rest: Part | None
    units: float


@dataclass(frozen=True, slots=True)
class TableLook:
    """What a page of the table itself holds that can be claimed, now or later.

    Attributes:
        todo: Todo items, without those whose itemID is not a whole number.
        locked: Locked items, without results.
        rest: Where the next page begins; None after the last.
    """

    todo: Sequence[Item]
    locked: Sequence[Item]
    rest: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a table that is scanned.

    Attributes:
        number: Which of the parts, from 0.
        parts: How many parts the table is divided into.
        after: The key to go on after; None at the beginning.
    """

    number: int
    parts: int
    after: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ScanPage:
    """One page of a scan: its items, and what is yet to be read of its segment, if anything."""

    records: Sequence[Record]
    rest: Segment | None


class TableReads(TableRequests):
    """Reads items; threads may share it."""

    # Workers and the importer

    def states(self, item_ids: Sequence[ItemId]) -> ItemStates:
        """The states of those of up to 100 items that are in the table.

        Raises:
            Throttled: DynamoDB read none of them.
        """
        keys = [encode({"itemID": item_id}) for item_id in item_ids]
        images, left = self._batch(Keys=keys, ProjectionExpression="itemID, ItemState")
        read = map(Item.from_values, images)
        unread = set(map(key_of, map(decode, left)))
        return ItemStates({item.item_id: item.state for item in read}, unread)

    def todo(self, start: ItemId, limit: int) -> list[Item]:
        """Up to `limit` items from itemID `start` on that the index lists as todo, in order, with
        itemID and lockID only.
        """
        return self._listed(
            "ItemState = :state AND itemID >= :start",
            {":state": State.TODO.value, ":start": start},
            Limit=limit,
        )

    def last_todo(self) -> ItemId | None:
        """The largest itemID that the index lists as todo."""
        return self.last(State.TODO.value)

    def last(self, state: str) -> ItemId | None:
        """The largest itemID that the index lists in a state; None if it lists none."""
        found = self._listed(
            "ItemState = :state", {":state": state}, Limit=1, ScanIndexForward=False
        )
        return found[0].item_id if found else None

    def _listed(self, condition: str, values: Values, **request: Any) -> list[Item]:
        answer = self.send(
            self._client.query,
            IndexName=STATE_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=encode(values),
            ProjectionExpression="itemID, lockID",
            **request,
        )
        return list(map(Item.from_values, map(decode, answer["Items"])))

    def locked(self) -> Iterator[Item]:
        """The items that the index lists as locked, without results; a page is read when the one
        before it is used up.
        """
        pages = self._pages(
            IndexName=STATE_INDEX,
            KeyConditionExpression="ItemState = :state",
            ExpressionAttributeValues=encode({":state": State.LOCKED.value}),
            ProjectionExpression=_TO_CLAIM,
        )
        return map(Item.from_values, pages)

    def look(self, rest: Mapping[str, Any] | None) -> TableLook:
        """The next page of the table, read from it and not from an index, so that it shows every
        write before. DynamoDB reads 1 MB at most, for 256 read units.

        Args:
            rest: Where it begins: what the page before says; None is the first page.
        """
        request: dict[str, Any] = {"ExclusiveStartKey": rest} if rest else {}
        answer = self.send(
            self._client.scan,
            ConsistentRead=True,
            FilterExpression="ItemState IN (:todo, :locked)",
            ExpressionAttributeValues=encode(
                {":todo": State.TODO.value, ":locked": State.LOCKED.value}
            ),
            ProjectionExpression=_TO_CLAIM,
            **request,
        )
        found = [Item.from_values(decode(image)) for image in answer["Items"]]
        return TableLook(
            [item for item in found if item.state == State.TODO],
            [item for item in found if item.state == State.LOCKED],
            answer.get("LastEvaluatedKey"),
        )

    # Operators

    def page(self, part: Part, projection: Projection) -> QueryPage:
        """The first items of a part, as many as DynamoDB reads at once (1 MB)."""
        condition = "ItemState = :state"
        bounds = {":first": part.first, ":last": part.last}
        values = {key: bound for key, bound in bounds.items() if bound is not None}
        if part.first is not None and part.last is not None:
            condition += " AND itemID BETWEEN :first AND :last"
        elif part.first is not None:
            condition += " AND itemID >= :first"
        elif part.last is not None:
            condition += " AND itemID <= :last"
        answer = self.send(
            self._client.query,
            IndexName=STATE_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=encode({":state": part.state, **values}),
            ReturnConsumedCapacity="TOTAL",
            **_projected(projection),
        )
        rest = None
        if "LastEvaluatedKey" in answer:
            first = above(key_of(decode(answer["LastEvaluatedKey"])))
            rest = None if first is None else Part(part.state, first, part.last)
        units = float(answer["ConsumedCapacity"]["CapacityUnits"])
        return QueryPage(
            [Record.from_values(decode(each)) for each in answer["Items"]], rest, units
        )

    def states_held(self) -> set[str]:
        """The states that items are in, other tools' included: half a read unit each.

        The index is scanned for one item; then the scan goes on behind the largest itemID of that
        item's state, which is the first item of another state, until nothing is left.
        """
        found: set[str] = set()
        request: dict[str, Any] = {"IndexName": STATE_INDEX, "Limit": 1}
        while True:
            answer = self.send(self._client.scan, ProjectionExpression="ItemState", **request)
            if answer["Items"]:
                state = text(decode(answer["Items"][0]), "ItemState")
                if state in found:
                    raise AwsError(f"table {self.name}: a scan of {STATE_INDEX} gave {state} twice")
                found.add(state)
                key = {"ItemState": state, "itemID": LARGEST_ID}
                request["ExclusiveStartKey"] = encode(key)
            elif "LastEvaluatedKey" in answer:
                request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
            else:
                return found

    def of_task(self, task_id: str, state: str, projection: Projection) -> list[Record]:
        """The items of a task id that the index lists in a state."""
        pages = self._pages(
            IndexName=TASK_INDEX,
            KeyConditionExpression="ItemState = :state AND taskID = :task",
            ExpressionAttributeValues=encode({":state": state, ":task": task_id}),
            **_projected(projection),
        )
        return list(map(Record.from_values, pages))

    def read(self, item_ids: Sequence[ItemId], projection: Projection) -> list[Record]:
        """Those of some items that are in the table, read from it and not from an index.

        Raises:
            Throttled: DynamoDB read none of a request's items.
        """
        found: list[Record] = []
        left = [encode({"itemID": item_id}) for item_id in item_ids]
        while left:
            keys, left = left[:TRANSACTION_LIMIT], left[TRANSACTION_LIMIT:]
            images, unread = self._batch(Keys=keys, ConsistentRead=True, **_projected(projection))
            found += map(Record.from_values, images)
            left = unread + left
        return found

    def scan(self, segment: Segment) -> ScanPage:
        """Task ids and states of the next items of a segment (1 MB), read from the table itself."""
        request: dict[str, Any] = {"Segment": segment.number, "TotalSegments": segment.parts}
        if segment.after:
            request["ExclusiveStartKey"] = segment.after
        answer = self.send(
            self._client.scan, ConsistentRead=True, **_projected(Projection.STEP), **request
        )
        rest = None
        if "LastEvaluatedKey" in answer:
            rest = replace(segment, after=answer["LastEvaluatedKey"])
        return ScanPage([Record.from_values(decode(each)) for each in answer["Items"]], rest)

    def _batch(self, **request: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The items of one BatchGetItem, and the keys that DynamoDB left unread."""
        answer = self.send(
            self._client.batch_get_item, named=False, RequestItems={self.name: request}
        )
        images = [decode(image) for image in answer["Responses"].get(self.name, [])]
        unread = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
        if unread and not images:
            raise Throttled(f"table {self.name}: reads are throttled")
        return images, unread

    def _pages(self, **request: Any) -> Iterator[dict[str, Any]]:
        """The items of a query, page after page."""
        while True:
            answer = self.send(self._client.query, **request)
            yield from map(decode, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _projected(projection: Projection) -> dict[str, Any]:
    return {"ProjectionExpression": projection.value} if projection.value else {}
