"""What is in a table: candidates for workers, states for the importer, records for operators.

Not guaranteed: that what an index lists is still so. Index reads are eventually consistent; the
condition of the write that follows decides.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any

from anamo.aws.dynamodb import STATE_INDEX, TASK_INDEX, TRANSACTION_LIMIT, TableRequests
from anamo.core.errors import AwsError, Throttled
from anamo.core.item import Item, State, from_attributes
from anamo.core.record import Record, record_from

LARGEST_NUMBER = "9.9999999999999999999999999999999999999E+125"
"""DynamoDB has none that is larger, so no itemID comes after it."""


@dataclass(frozen=True, slots=True)
class StatesThere:
    """The states of items that are in the table, by itemID, and the itemIDs DynamoDB left unread:
    an answer holds 16 MB, and a throttled table answers in part.
    """

    states: Mapping[int, str]
    unread: Set[int]


class Projection(Enum):
    """How much of an item to read. It saves time and never read units: DynamoDB bills the whole
    item whatever is asked for, and even where it only counts.
    """

    COUNTS = "itemID, ItemState, Nested_Tasks, Log_Length"
    STEP = "itemID, ItemState, taskID"
    STANDING = (
        "itemID, ItemState, taskID, Nested_Tasks, Log_Length, TaskScript,"
        " lockID, InstanceID, Lease_Expires"
    )
    WHOLE = ""


@dataclass(frozen=True, slots=True)
class Part:
    """The items of a state from one itemID to another, both included; None is open."""

    state: str
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class QueryPage:
    """Items of a part in the order of their ids, the part that is left (None after the last page),
    and the read units it took.
    """

    records: Sequence[Record]
    rest: Part | None
    units: float


class TableReads(TableRequests):
    """Reads items; threads may share it."""

    def states(self, item_ids: Sequence[int]) -> StatesThere:
        """The states of those of up to 100 items that are in the table."""
        keys = [{"itemID": {"N": str(item_id)}} for item_id in item_ids]
        answer = self.send(
            self._client.batch_get_item,
            named=False,
            RequestItems={self.name: {"Keys": keys, "ProjectionExpression": "itemID, ItemState"}},
        )
        read = [from_attributes(image) for image in answer["Responses"].get(self.name, [])]
        left = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
        if left and not read:
            raise Throttled(f"table {self.name}: reads are throttled")
        return StatesThere(
            {item.item_id: item.state for item in read},
            {int(key["itemID"]["N"]) for key in left},
        )

    def todo(self, start: int, limit: int) -> list[int]:
        """Up to `limit` itemIDs from `start` on that the index lists as todo, in order."""
        return self._edge_or_page(start, limit, forward=True)

    def last_todo(self) -> int | None:
        """The largest itemID that the index lists as todo."""
        return self.last(State.TODO.value)

    def _edge_or_page(
        self, start: int | None, limit: int, *, forward: bool, state: str = State.TODO.value
    ) -> list[int]:
        values: dict[str, Any] = {":state": {"S": state}}
        condition = "ItemState = :state"
        if start is not None:
            values[":start"] = {"N": str(start)}
            condition += " AND itemID >= :start"
        answer = self.send(
            self._client.query,
            IndexName=STATE_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ProjectionExpression="itemID",
            Limit=limit,
            ScanIndexForward=forward,
        )
        return [int(image["itemID"]["N"]) for image in answer["Items"]]

    def locked(self) -> Iterator[Item]:
        """The items that the index lists as locked, page after page, without results."""
        request: dict[str, Any] = {
            "IndexName": STATE_INDEX,
            "KeyConditionExpression": "ItemState = :state",
            "ExpressionAttributeValues": {":state": {"S": State.LOCKED.value}},
            "ProjectionExpression": "itemID, taskID, ItemState, lockID, InstanceID,"
            " Lease_Expires, Attempts",
        }
        while True:
            answer = self.send(self._client.query, **request)
            yield from map(from_attributes, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    # Looking at what is there

    def page(self, part: Part, wanted: Projection) -> QueryPage:
        """The first items of a part, as many as DynamoDB reads at once (1 MB)."""
        condition = "ItemState = :state"
        values: dict[str, Any] = {":state": {"S": part.state}}
        bounds = {":first": part.first, ":last": part.last}
        values |= {key: {"N": str(bound)} for key, bound in bounds.items() if bound is not None}
        if part.first is not None and part.last is not None:
            condition += " AND itemID BETWEEN :first AND :last"
        elif part.first is not None:
            condition += " AND itemID >= :first"
        elif part.last is not None:
            condition += " AND itemID <= :last"
        answer = self._read(
            wanted,
            IndexName=STATE_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
        )
        rest = None
        if "LastEvaluatedKey" in answer:
            read = int(answer["LastEvaluatedKey"]["itemID"]["N"])
            rest = Part(part.state, read + 1, part.last)
        units = float(answer["ConsumedCapacity"]["CapacityUnits"])
        return QueryPage([record_from(image) for image in answer["Items"]], rest, units)

    def last(self, state: str) -> int | None:
        """The largest itemID that the index lists in a state."""
        page = self._edge_or_page(None, 1, forward=False, state=state)
        return page[0] if page else None

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
                state = str(answer["Items"][0]["ItemState"]["S"])
                if state in found:
                    raise AwsError(f"table {self.name}: its index {STATE_INDEX} goes in circles")
                found.add(state)
                key = {"ItemState": {"S": state}, "itemID": {"N": LARGEST_NUMBER}}
                request["ExclusiveStartKey"] = key
            elif "LastEvaluatedKey" in answer:
                request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
            else:
                return found

    def of_task(self, task_id: str, state: str, wanted: Projection) -> list[Record]:
        """The items of a task id that the index lists in a state."""
        found: list[Record] = []
        request: dict[str, Any] = {
            "IndexName": TASK_INDEX,
            "KeyConditionExpression": "ItemState = :state AND taskID = :task",
            "ExpressionAttributeValues": {":state": {"S": state}, ":task": {"S": task_id}},
        }
        while True:
            answer = self._read(wanted, **request)
            found += map(record_from, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return found
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def read(self, item_ids: Sequence[int], wanted: Projection) -> list[Record]:
        """Those of some items that are in the table, as they are and not as an index has them."""
        found: list[Record] = []
        left = [{"itemID": {"N": str(item_id)}} for item_id in item_ids]
        while left:
            asked: dict[str, Any] = {"Keys": left[:TRANSACTION_LIMIT], "ConsistentRead": True}
            if wanted.value:
                asked["ProjectionExpression"] = wanted.value
            answer = self.send(
                self._client.batch_get_item, named=False, RequestItems={self.name: asked}
            )
            images = answer["Responses"].get(self.name, [])
            unread = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            if unread and not images:
                raise Throttled(f"table {self.name}: reads are throttled")
            found += map(record_from, images)
            left = unread + left[TRANSACTION_LIMIT:]
        return found

    def _read(self, wanted: Projection, **request: Any) -> Mapping[str, Any]:
        """A query's answer, with its read units."""
        if wanted.value:
            request["ProjectionExpression"] = wanted.value
        return self.send(self._client.query, ReturnConsumedCapacity="TOTAL", **request)
