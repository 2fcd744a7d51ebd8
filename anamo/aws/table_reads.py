"""What is in a table: candidates for workers, states for the importer, records for operators.

Not guaranteed: that what an index lists is still so. Index reads are eventually consistent; the
condition of the write that follows decides.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Any

from anamo.aws.dynamodb import (
    INSTANCE_INDEX,
    STATE_INDEX,
    TASK_INDEX,
    TRANSACTION_LIMIT,
    TableRequests,
)
from anamo.aws.pages import (
    ClaimablePage,
    ItemStates,
    LeasePage,
    Part,
    QueryPage,
    ScanPage,
    Segment,
)
from anamo.aws.retry import Retry, once
from anamo.core.codec import (
    LARGEST_ID,
    SMALLEST_ID,
    Attributes,
    ItemId,
    Values,
    above,
    decode,
    encode,
    key_of,
    text,
)
from anamo.core.errors import AwsError, Throttled
from anamo.core.item import Item, State
from anamo.core.record import Record

_TO_CLAIM = "itemID, taskID, ItemState, lockID, InstanceID, Lease_Expires"
"""What a worker has to know of a locked item to take it over."""


class Projection(Enum):
    """The attributes to read. Fewer of them save time but no read units: DynamoDB bills all that
    the table or the index holds of an item, even where it only counts.

    SIZES, TALLY, RUNS, COUNTS, STEP and LISTED are in ItemStateIndex, STEP in TaskStateIndex too.
    The first four leave out the state, which the caller already knows; SIZES and RUNS leave out the
    itemID, too. An index of a table that the original or an earlier version made holds whole items,
    and LISTED gives those. WITHOUT_LOGS and WHOLE are whole items, without and with their logs;
    where the index does not hold them they are read from the table.
    """

    SIZES = "Nested_Tasks"
    TALLY = "itemID, Nested_Tasks, Lock_Date"
    RUNS = "taskID, Nested_Tasks, InstanceID, Lock_Date, Done_Date"
    COUNTS = "itemID, taskID, Nested_Tasks, InstanceID, Lock_Date, Done_Date"
    STEP = "itemID, ItemState, taskID"
    LISTED = "all that the index holds"
    WITHOUT_LOGS = (
        "itemID, ItemState, taskID, Nested_Tasks, Log_Length, Ended_Tasks, Failed_Tasks,"
        " TaskScript, lockID, InstanceID, Lease_Expires, Lock_Date, Done_Date"
    )
    WHOLE = "everything"


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
        response = self._query(
            IndexName=STATE_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=encode(values),
            ProjectionExpression="itemID, lockID",
            **request,
        )
        return list(map(Item.from_values, map(decode, response["Items"])))

    def leases(
        self, start: ItemId, before: int, limit: int, instance: str | None = None
    ) -> LeasePage:
        """A page of the items that the index lists as locked.

        Args:
            start: The itemID that it begins with.
            before: Items are asked for whose leases end before this time.
            limit: How many items are read at most, also of those that are not asked for.
            instance: Items are asked for that this InstanceID holds, too.
        """
        wanted = "Lease_Expires < :before"
        values = {":state": State.LOCKED.value, ":start": start, ":before": before}
        if instance:
            wanted += " OR InstanceID = :instance"
            values[":instance"] = instance
        response = self._query(
            IndexName=STATE_INDEX,
            KeyConditionExpression="ItemState = :state AND itemID >= :start",
            FilterExpression=wanted,
            ExpressionAttributeValues=encode(values),
            ProjectionExpression=_TO_CLAIM,
            Limit=limit,
        )
        items = [Item.from_values(decode(image)) for image in response["Items"]]
        last = response.get("LastEvaluatedKey")
        rest = above(key_of(decode(last))) if last else None
        return LeasePage(items, response["ScannedCount"], rest)

    def locked_by(self, instance: str, retry: Retry = once) -> list[ItemId]:
        """What InstanceStateIndex lists as locked by an InstanceID; `retry` is as in `read`."""
        pages = self._pages(
            retry,
            IndexName=INSTANCE_INDEX,
            KeyConditionExpression="ItemState = :state AND InstanceID = :instance",
            ExpressionAttributeValues=encode({":state": State.LOCKED.value, ":instance": instance}),
            ProjectionExpression="itemID",
        )
        return [key_of(decode(image)) for image in pages]

    def claimable_page(self, rest: Mapping[str, Any] | None) -> ClaimablePage:
        """The next page of the table, read from it and not from an index, so that it shows every
        write before. DynamoDB reads 1 MB at most, for 256 read units.

        Args:
            rest: Where it begins: what the page before says; None is the first page.
        """
        request: dict[str, Any] = {"ExclusiveStartKey": rest} if rest else {}
        response = self.send(
            self._client.scan,
            ConsistentRead=True,
            FilterExpression="ItemState IN (:todo, :locked)",
            ExpressionAttributeValues=encode(
                {":todo": State.TODO.value, ":locked": State.LOCKED.value}
            ),
            ProjectionExpression=_TO_CLAIM,
            **request,
        )
        found = [Item.from_values(decode(image)) for image in response["Items"]]
        return ClaimablePage(
            [item for item in found if item.state == State.TODO],
            [item for item in found if item.state == State.LOCKED],
            response.get("LastEvaluatedKey"),
        )

    # Operators

    def page(
        self, part: Part, projection: Projection, limit: int | None = None, retry: Retry = once
    ) -> QueryPage:
        """The first items of a part: as many as DynamoDB reads at once (1 MB). An item that has
        changed its state since it was listed is given as listed.

        Args:
            part: The part.
            projection: How much of its items.
            limit: The most items; of whole ones it is 100 at most.
            retry: As in `read`.
        """
        values = {
            ":state": part.state,
            ":first": SMALLEST_ID if part.first is None else part.first,
            ":last": LARGEST_ID if part.last is None else part.last,
        }
        request = _of_index(projection)
        if projection in _OF_TABLE:
            limit = min(limit or TRANSACTION_LIMIT, TRANSACTION_LIMIT)
        if limit:
            request["Limit"] = limit
        query = partial(
            self._query,
            IndexName=STATE_INDEX,
            KeyConditionExpression="ItemState = :state AND itemID BETWEEN :first AND :last",
            ExpressionAttributeValues=encode(values),
            **request,
        )
        response = retry(query)
        rest = None
        if "LastEvaluatedKey" in response:
            first = above(key_of(decode(response["LastEvaluatedKey"])))
            rest = None if first is None else Part(part.state, first, part.last)
        images = response["Items"]
        if projection in _WITHOUT_STATE:
            known = encode({"ItemState": part.state})
            images = [{**image, **known} for image in images]
        # What is only shown may be read at half the price
        found = self._completed(images, projection, projection is not Projection.WHOLE, retry)
        return QueryPage(found, rest)

    def states_present(self) -> set[str]:
        """The states that items are in, other tools' included: half a read unit each.

        The index is scanned for one item; then the scan continues after the largest itemID of that
        item's state, which is the first item of another state, until nothing is left.

        Raises:
            AwsError: The scan gave a state twice.
        """
        found: set[str] = set()
        request: dict[str, Any] = {"IndexName": STATE_INDEX, "Limit": 1}
        while True:
            response = self.send(self._client.scan, ProjectionExpression="ItemState", **request)
            if response["Items"]:
                state = text(decode(response["Items"][0]), "ItemState")
                if state in found:
                    raise AwsError(f"table {self.name}: a scan of {STATE_INDEX} gave {state} twice")
                found.add(state)
                key = {"ItemState": state, "itemID": LARGEST_ID}
                request["ExclusiveStartKey"] = encode(key)
            elif "LastEvaluatedKey" in response:
                request["ExclusiveStartKey"] = response["LastEvaluatedKey"]
            else:
                return found

    def of_task(
        self, task_id: str, state: str, projection: Projection, retry: Retry = once
    ) -> list[Record]:
        """The items of a task id that the index lists in a state; what is read from the table is
        given in the state that it is in by now.

        Args:
            task_id: The task id.
            state: The state.
            projection: How much of them: STEP, WITHOUT_LOGS or WHOLE.
            retry: As in `read`.
        """
        pages = self._pages(
            retry,
            IndexName=TASK_INDEX,
            KeyConditionExpression="ItemState = :state AND taskID = :task",
            ExpressionAttributeValues=encode({":state": state, ":task": task_id}),
            **(_of_index(projection) if projection is Projection.STEP else {}),
        )
        return self._completed(list(pages), projection, True, retry, as_listed=False)

    def _completed(
        self,
        listed: Sequence[Attributes],
        projection: Projection,
        consistent: bool,
        retry: Retry,
        *,
        as_listed: bool = True,
    ) -> list[Record]:
        """Items that an index lists, those that it does not hold whole read from the table, as in
        `read`; with `as_listed`, one that has changed its state is given as the index holds it.
        """
        found = [Record.from_values(decode(image)) for image in listed]
        if projection not in _OF_TABLE:
            return found
        partly = [
            record.item.item_id
            for record, image in zip(found, listed, strict=True)
            if "TaskScript" not in image
        ]
        read = self.read(partly, projection, consistent, retry)
        whole = {record.item.item_id: record for record in read}
        current = [whole.get(record.item.item_id, record) for record in found]
        # A change names the state that was seen, and fails if that is not the item's any more
        return [
            now if now.state == record.state or not as_listed else record
            for record, now in zip(found, current, strict=True)
        ]

    def read(
        self,
        item_ids: Sequence[ItemId],
        projection: Projection,
        consistent: bool = True,
        retry: Retry = once,
    ) -> list[Record]:
        """Those of some items that are in the table, read from it and not from an index.

        Args:
            item_ids: The items.
            projection: How much of them.
            consistent: Whether to see every write before, at twice the price.
            retry: Sends each request; what those before it have read is kept.

        Raises:
            Throttled: DynamoDB read none of a request's items.
        """
        found: list[Record] = []
        left = [encode({"itemID": item_id}) for item_id in item_ids]
        while left:
            keys, left = left[:TRANSACTION_LIMIT], left[TRANSACTION_LIMIT:]
            how = {"ConsistentRead": consistent, **_of_table(projection)}
            images, unread = retry(partial(self._batch, Keys=keys, **how))
            found += map(Record.from_values, images)
            left = unread + left
        return found

    def scan(self, segment: Segment, projection: Projection, consistent: bool) -> ScanPage:
        """The next items of a segment (1 MB), read from the table itself.

        Args:
            segment: The segment, or what is left of it.
            projection: How much of the items.
            consistent: Whether to see every write before, at twice the price.
        """
        request: dict[str, Any] = {"Segment": segment.number, "TotalSegments": segment.parts}
        if segment.after:
            request["ExclusiveStartKey"] = segment.after
        response = self.send(
            self._client.scan, ConsistentRead=consistent, **_of_table(projection), **request
        )
        rest = None
        if "LastEvaluatedKey" in response:
            rest = replace(segment, after=response["LastEvaluatedKey"])
        return ScanPage([Record.from_values(decode(each)) for each in response["Items"]], rest)

    def _batch(self, **request: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The items of one BatchGetItem, and the keys that DynamoDB left unread; raises Throttled
        if those are all.
        """
        response = self.send(
            self._client.batch_get_item, named=False, RequestItems={self.name: request}
        )
        images = [decode(image) for image in response["Responses"].get(self.name, [])]
        unread = response.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
        # Items that do not exist are read, too, and give no image
        if len(unread) == len(request["Keys"]):
            raise Throttled(f"table {self.name}: reads are throttled")
        return images, unread

    def _query(self, **request: Any) -> Mapping[str, Any]:
        return self.send(self._client.query, **request)

    def _pages(self, retry: Retry, **request: Any) -> Iterator[Attributes]:
        """The items of a query, page after page."""
        while True:
            response = retry(partial(self._query, **request))
            yield from response["Items"]
            if "LastEvaluatedKey" not in response:
                return
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]


_OF_TABLE = (Projection.WITHOUT_LOGS, Projection.WHOLE)
_WITHOUT_STATE = (Projection.SIZES, Projection.TALLY, Projection.RUNS, Projection.COUNTS)


def _of_index(projection: Projection) -> dict[str, Any]:
    """What a query asks for: DynamoDB rejects one that names what the index does not hold."""
    if projection in (*_WITHOUT_STATE, Projection.STEP):
        return {"ProjectionExpression": projection.value}
    return {}


def _of_table(projection: Projection) -> dict[str, Any]:
    """What a read of the table asks for."""
    if projection in (Projection.LISTED, Projection.WHOLE):
        return {}
    return {"ProjectionExpression": projection.value}
