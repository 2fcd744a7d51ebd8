"""A workflow table: the only module that speaks to DynamoDB and reads its answers.

Guaranteed: every change of an item is one conditional write from `transitions`; a write whose
reply was lost is recognised as landed when it is sent again. Losing a race is a return value.
Not guaranteed: that what an index lists is still so (index reads are eventually consistent); the
condition of the write that follows decides.

Every request raises one of `errors`: TableMissing, AccessDenied, CredentialsMissing, Throttled,
Unreachable, TransientError or AwsError.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from anamo import transitions
from anamo.aws import renewed, translate
from anamo.backoff import Backoff
from anamo.clock import DatabaseClock
from anamo.entry import LogEntry
from anamo.errors import (
    AwsError,
    CredentialsExpired,
    ItemRefused,
    TableMissing,
    TableUnusable,
    Throttled,
    TransientError,
    Unreachable,
)
from anamo.item import (
    NULL,
    Attributes,
    Item,
    NestedTask,
    State,
    from_attributes,
    nested_attribute,
    new_attributes,
)
from anamo.record import Record, record_from
from anamo.spent import READS, WRITES, Meter
from anamo.transitions import Transition

INDEX_FILE = Path(__file__).resolve().parent.parent / "workflow-gsi-index.json"

STATE_INDEX = "ItemStateIndex"

TASK_INDEX = "TaskStateIndex"

LARGEST_NUMBER = "9.9999999999999999999999999999999999999E+125"
"""DynamoDB has none that is larger, so no itemID comes after it."""

TRANSACTION_LIMIT = 100
"""Puts of one TransactWriteItems; keys of one BatchGetItem."""

TRANSACTION_BYTES = 4_000_000
"""Bytes of one TransactWriteItems (4 MB in DynamoDB's quotas)."""

GROUP_LIMIT = 50
"""Results of one write: an update expression may have 4 KB and 300 operators."""

CHECK_SECONDS = 300.0
"""How long a check before the work is tried again while AWS throttles or fails."""

AT_ONCE = (Unreachable, CredentialsExpired)
"""Faults that end such a check at once."""

ACTIVATION_SECONDS = 900
"""How long a table that is being made is waited for; four indexes take a minute or two."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who claims: the instance, and how long its leases last in seconds."""

    instance_id: str
    lease: int


@dataclass(frozen=True, slots=True)
class StatesThere:
    """The states of items that are in the table, by itemID, and the itemIDs DynamoDB left unread:
    an answer holds 16 MB, and a throttled table answers in part.
    """

    states: Mapping[int, str]
    unread: Set[int]


@dataclass(frozen=True, slots=True)
class Insertion:
    """What became of a transaction of puts: `there` maps itemIDs that exist to their states, and
    nothing was written unless it is empty.
    """

    there: Mapping[int, str]


class Wanted(Enum):
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
class Page:
    """Items of a part in the order of their ids, the part that is left (None after the last page),
    and the read units it took.
    """

    records: Sequence[Record]
    rest: Part | None
    units: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A change that lost a race: `there` is what the item is instead, None if it is gone."""

    there: Record | None


Results = Mapping[str, LogEntry] | LogEntry
"""What a claim has to write: log entries of nested tasks by name, or the single task's."""


class _ConditionFailed(Exception):
    """A write's condition did not hold; `item` is what the table has instead, if anything."""

    def __init__(self, item: Attributes | None) -> None:
        super().__init__()
        self.item = item


class WorkflowTable:
    """One table. Threads may share it.

    meter: what its requests have cost. renew_client: makes another client once the credentials of
    this one have expired.
    """

    def __init__(
        self,
        client: Any,
        name: str,
        clock: DatabaseClock | None = None,
        renew_client: Callable[[], Any] | None = None,
    ) -> None:
        self._client = client
        self._renew_client = renew_client
        self.name = name
        self.clock = clock or DatabaseClock()
        self.meter = Meter()

    # The table itself

    def create(self) -> bool:
        """Make the table with on-demand billing; False if it was there already."""
        indexes = [
            {key: value for key, value in index.items() if key != "ProvisionedThroughput"}
            for index in _index_definitions()
        ]
        names = {"itemID": "N", "ItemState": "S", "taskID": "S", "InstanceID": "S"}
        names["Log_Length"] = "N"
        try:
            self._send(
                self._client.create_table,
                AttributeDefinitions=[
                    {"AttributeName": name, "AttributeType": kind} for name, kind in names.items()
                ],
                KeySchema=[{"AttributeName": "itemID", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
                GlobalSecondaryIndexes=indexes,
            )
        except _TableExists:
            return False
        return True

    def prepare(
        self,
        sleep: Callable[[float], object],
        say: Callable[[str], object],
        *,
        create: bool = False,
    ) -> None:
        """Check key and indexes, and wait for a table that is being made; `create` makes it.

        Throttling and failures are waited for: a thousand workers may start at once. Raises
        TableMissing, TableUnusable which says what is wrong, and at once Unreachable and
        CredentialsExpired, which whoever just typed the command will put right.
        """

        def try_it() -> None:
            if create and self.create():
                say(f"table {self.name}: made")
            self._wait_until_usable(sleep, say)

        Backoff(sleep).persist(
            try_it, CHECK_SECONDS, say=lambda fault: say(f"{fault}; trying again"), at_once=AT_ONCE
        )

    def _wait_until_usable(
        self, sleep: Callable[[float], object], say: Callable[[str], object]
    ) -> None:
        deadline = self.clock.monotonic() + ACTIVATION_SECONDS
        described = self._describe(sleep)
        _check_schema(self.name, described)
        waiting = False
        while not_ready := _not_ready(described):
            if self.clock.monotonic() > deadline:
                raise TableUnusable(f"table {self.name}: still not active: {not_ready}")
            if not waiting:
                say(f"waiting for table {self.name}: {not_ready}")
            waiting = True
            sleep(2)
            described = self._describe(sleep)

    def _describe(self, sleep: Callable[[float], object]) -> Mapping[str, Any]:
        try:
            answer = self._send(self._client.describe_table)
        except TableMissing:
            # Just after CreateTable, DescribeTable may not know the table yet
            sleep(1)
            answer = self._send(self._client.describe_table)
        table: Mapping[str, Any] = answer["Table"]
        return table

    # Import

    def states(self, item_ids: Sequence[int]) -> StatesThere:
        """The states of those of up to 100 items that are in the table."""
        keys = [{"itemID": {"N": str(item_id)}} for item_id in item_ids]
        answer = self._send(
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

    def insert(self, items: Sequence[Item], token: str) -> Insertion:
        """Add up to 100 new items, all or none.

        token: names this write, so that one that is sent again because its reply was lost is known
        to have landed, and its items do not count as somebody else's.
        Raises Throttled, or TransientError where another import writes the same items just now.
        """
        condition = transitions.IMPORT.condition
        puts = [
            {
                "Put": {
                    "TableName": self.name,
                    "Item": new_attributes(item),
                    "ConditionExpression": condition,
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            }
            for item in items
        ]
        try:
            self._send(
                self._client.transact_write_items,
                named=False,
                TransactItems=puts,
                ClientRequestToken=token,
            )
        except _Cancelled as cancelled:
            return Insertion(cancelled.states_there(items, self.name))
        return Insertion({})

    # Finding work

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
        answer = self._send(
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
            answer = self._send(self._client.query, **request)
            yield from map(from_attributes, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    # Looking at what is there

    def page(self, part: Part, wanted: Wanted) -> Page:
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
        return Page([record_from(image) for image in answer["Items"]], rest, units)

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
            answer = self._send(self._client.scan, ProjectionExpression="ItemState", **request)
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

    def of_task(self, task_id: str, state: str, wanted: Wanted) -> list[Record]:
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

    def read(self, item_ids: Sequence[int], wanted: Wanted) -> list[Record]:
        """Those of some items that are in the table, as they are and not as an index has them."""
        found: list[Record] = []
        left = [{"itemID": {"N": str(item_id)}} for item_id in item_ids]
        while left:
            asked: dict[str, Any] = {"Keys": left[:TRANSACTION_LIMIT], "ConsistentRead": True}
            if wanted.value:
                asked["ProjectionExpression"] = wanted.value
            answer = self._send(
                self._client.batch_get_item, named=False, RequestItems={self.name: asked}
            )
            images = answer["Responses"].get(self.name, [])
            unread = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            if unread and not images:
                raise Throttled(f"table {self.name}: reads are throttled")
            found += map(record_from, images)
            left = unread + left[TRANSACTION_LIMIT:]
        return found

    def _read(self, wanted: Wanted, **request: Any) -> Mapping[str, Any]:
        """A query's answer, with its read units."""
        if wanted.value:
            request["ProjectionExpression"] = wanted.value
        return self._send(self._client.query, ReturnConsumedCapacity="TOTAL", **request)

    # The transitions of an operator

    def requeue(self, seen: Record, nested: Sequence[NestedTask], force: bool) -> Lost | None:
        """Make an item todo that is still as it was seen; None once it is.

        nested: all its nested tasks with the statuses they shall have. force: from its holder too.
        """
        ended = sum(task.status == State.DONE.value for task in nested)
        values = {
            ":todo": {"S": State.TODO.value},
            ":null": {"S": NULL},
            ":zero": {"N": "0"},
            ":ended": {"N": str(ended)},
        }
        update = _Update(NULL, values | self._as_seen(seen, force))
        if nested:
            update.paths["#TaskScript"] = "TaskScript"
            update.values[":nested"] = nested_attribute(nested)
            update.clauses.append("#TaskScript = :nested")
        transition = transitions.REQUEUE_HELD if force else transitions.REQUEUE
        _leaves(transition, seen)
        try:
            self._write(transition, seen.item.item_id, update, "NONE")
        except _ConditionFailed as failed:
            there = record_from(failed.item) if failed.item else None
            # A holder may have given it back, with its attempts and failed tasks as they were
            afresh = there and (there.item.attempts, there.item.nested) == (0, tuple(nested))
            return (
                None if afresh and there and _landed(there.item, State.TODO, NULL) else Lost(there)
            )
        return None

    def remove(self, seen: Record, force: bool) -> Lost | None:
        """Delete an item that is still as it was seen; None once it is gone.

        force: a held one too.
        """
        transition = transitions.REMOVE_HELD if force else transitions.REMOVE
        _leaves(transition, seen)
        try:
            self._send(
                self._client.delete_item,
                Key={"itemID": {"N": str(seen.item.item_id)}},
                ConditionExpression=transition.condition,
                ExpressionAttributeValues=self._as_seen(seen, force),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except _ConditionFailed as failed:
            return Lost(record_from(failed.item)) if failed.item else None
        return None

    def _as_seen(self, seen: Record, force: bool) -> dict[str, Any]:
        """The values of `transitions.AS_SEEN`, and of UNHELD unless forced."""
        item = seen.item
        values = {
            ":seen": {"S": item.state},
            ":lock": {"S": item.lock_id},
            ":length": {"N": str(item.log_length)},
        }
        return values if force else values | {":epoch": self._epoch(), ":number": {"S": "N"}}

    # The transitions of a held item

    def claim(self, item_id: int, lock_id: str, holder: Holder) -> Item | None:
        """Take a todo item; None if it is not todo any more."""
        values = {":todo": {"S": State.TODO.value}}
        return self._hold(transitions.CLAIM, item_id, lock_id, holder, values)

    def take_over(self, seen: Item, lock_id: str, holder: Holder) -> Item | None:
        """Take a locked item whose lease has ended; None if somebody was quicker, or it goes on."""
        values = {":seen": {"S": seen.lock_id}, ":epoch": self._epoch()}
        return self._hold(transitions.TAKE_OVER, seen.item_id, lock_id, holder, values)

    def _hold(
        self,
        transition: Transition,
        item_id: int,
        lock_id: str,
        holder: Holder,
        values: dict[str, Any],
    ) -> Item | None:
        update = _Update(lock_id, values, {"#Log": "Log"})
        update.values |= {
            ":locked": {"S": State.LOCKED.value},
            ":mine": {"S": lock_id},
            ":instance": {"S": holder.instance_id},
            ":now": {"S": self.clock.timestamp()},
            ":expires": self._expiry(holder),
            ":zero": {"N": "0"},
            ":one": {"N": "1"},
            ":empty": {"M": {}},
        }
        try:
            return from_attributes(self._write(transition, item_id, update, "ALL_NEW"))
        except _ConditionFailed as failed:
            item = from_attributes(failed.item) if failed.item else None
            return item if _landed(item, State.LOCKED, lock_id) else None

    def renew(self, item_id: int, lock_id: str, holder: Holder) -> bool:
        """Make the lease last from now; False if the claim is lost."""
        update = _Update(lock_id, {":expires": self._expiry(holder)})
        return self._settle(transitions.RENEW, item_id, State.LOCKED, update)

    def record(
        self, item: Item, holder: Holder, results: Mapping[str, LogEntry], ended: int
    ) -> bool:
        """Write up to GROUP_LIMIT results of nested tasks; False if the claim is lost.

        ended: how many nested tasks of the item have ended, these included.
        """
        update = _Update(item.lock_id, {":expires": self._expiry(holder)})
        update.add_results(results, ended)
        return self._settle(transitions.RECORD, item.item_id, State.LOCKED, update)

    def finish(self, item: Item, state: State, results: Results, ended: int) -> bool:
        """End the item as done or failed with its last results; False if the claim is lost.

        results: the single task's, or up to GROUP_LIMIT of nested tasks. ended: as for `record`.
        """
        failures = item.failures + (state == State.FAILED)
        update = _Update(item.lock_id, {":now": {"S": self.clock.timestamp()}})
        update.values[":failures"] = {"N": str(failures)}
        update.add_results(results, ended)
        return self._settle(transitions.FINISH, item.item_id, state, update)

    def release(self, item: Item, results: Results, ended: int) -> bool:
        """Give the item back with the results there are; False if the claim is lost.

        results, ended: as for `finish`.
        """
        update = _Update(item.lock_id, dict(_FREED))
        # Without results what the table has stays, Log_Length too: a single item may have the log
        # of an earlier try, and a record that had no reply may have landed
        if results:
            update.add_results(results, ended)
        return self._settle(transitions.RELEASE, item.item_id, State.TODO, update)

    def retry(self, item: Item, results: Results, ended: int, nested: Sequence[NestedTask]) -> bool:
        """Give a failed item back to be tried again; False if the claim is lost.

        results, ended: as for `finish`. nested: all nested tasks with the statuses they shall have.
        """
        update = _Update(item.lock_id, {**_FREED, ":failures": {"N": str(item.failures + 1)}})
        update.add_results(results, ended, statuses=not nested)
        if nested:
            # The whole map at once: hundreds of paths would not fit in an update expression
            update.paths["#TaskScript"] = "TaskScript"
            update.values[":nested"] = nested_attribute(nested)
            update.clauses.append("#TaskScript = :nested")
        return self._settle(transitions.RETRY, item.item_id, State.TODO, update)

    def _settle(
        self, transition: Transition, item_id: int, target: State, update: "_Update"
    ) -> bool:
        """Send a holder's write: True if it landed, now or on an earlier try."""
        if target not in transition.targets:
            raise ValueError(f"{transition.name} leads to {transition.targets}, not to {target}")
        update.values[":locked"] = {"S": State.LOCKED.value}
        update.values[":mine"] = {"S": update.lock_id}
        if ":target" in " ".join(transition.set):
            update.values[":target"] = {"S": target.value}
        try:
            self._write(transition, item_id, update, "NONE")
        except _ConditionFailed as failed:
            item = from_attributes(failed.item) if failed.item else None
            if ":null" not in update.values:
                return _landed(item, target, update.lock_id)
            # A transition that frees the item takes the lockID away, and a holder that came after
            # may have freed it too: the results tell whose write it was
            return _landed(item, target, NULL) and update.is_in(failed.item or {})
        return True

    def _write(
        self, transition: Transition, item_id: int, update: "_Update", wanted: str
    ) -> Attributes:
        """Send a transition; the attributes `wanted`. Raises _ConditionFailed."""
        expression = "SET " + ", ".join((*transition.set, *update.clauses))
        if transition.remove:
            expression += " REMOVE " + ", ".join(transition.remove)
        request: dict[str, Any] = {
            "Key": {"itemID": {"N": str(item_id)}},
            "ConditionExpression": transition.condition,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": update.values,
            "ReturnValues": wanted,
            # Shows whether an earlier try of this very write is why the condition fails
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if update.paths:
            request["ExpressionAttributeNames"] = update.paths
        image: Attributes = self._send(self._client.update_item, **request).get("Attributes", {})
        return image

    def _expiry(self, holder: Holder) -> dict[str, str]:
        return {"N": str(math.ceil(self.clock.now() + holder.lease))}

    def _epoch(self) -> dict[str, str]:
        return {"N": str(math.floor(self.clock.now()))}

    def _send(
        self, method: Callable[..., Mapping[str, Any]], named: bool = True, **request: Any
    ) -> Mapping[str, Any]:
        """One request; its answer's Date header corrects the clock, its units go to the meter."""
        if named:
            request["TableName"] = self.name
        if method.__name__ in READS | WRITES:
            request.setdefault("ReturnConsumedCapacity", "TOTAL")
        sent = self.clock.monotonic()
        try:
            answer = method(**request)
        except ClientError as error:
            self._learn(error.response, sent)
            raise self._renew(self._fault(error)) from error
        except BotoCoreError as error:
            raise self._renew(translate(error)) from error
        self._learn(answer, sent)
        self.meter.answered(method.__name__, answer)
        return answer

    def _renew(self, fault: Exception) -> Exception:
        if isinstance(fault, AwsError):
            self._client, fault = renewed(self._client, fault, self._renew_client)
        return fault

    def _fault(self, error: ClientError) -> Exception:
        """The error of ours that says the same."""
        fault = _from_dynamodb(error, self.name)
        if isinstance(fault, _ConditionFailed):
            self.meter.refused(fault.item)
        return fault

    def _learn(self, answer: Mapping[str, Any], sent: float) -> None:
        self.clock.learn(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}), sent)


class _TableExists(Exception):
    """CreateTable found the table."""


class _Cancelled(Exception):
    """A transaction was cancelled, for a reason a put."""

    def __init__(self, reasons: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._reasons = reasons

    def states_there(self, items: Sequence[Item], table: str) -> dict[int, str]:
        """The states of the items that exist already; raises if that is not why."""
        there = {}
        codes = set()
        for item, reason in zip(items, self._reasons, strict=False):
            code = reason.get("Code", "None")
            codes.add(code)
            if code == "ConditionalCheckFailed":
                image = reason.get("Item") or {}
                there[item.item_id] = str(image.get("ItemState", {}).get("S", NULL))
        if there:
            return there
        if codes & {"ThrottlingError", "ProvisionedThroughputExceeded"}:
            raise Throttled(f"table {table}: writes are throttled")
        if "TransactionConflict" in codes:
            raise TransientError(f"table {table}: another import writes the same items")
        said = next((reason["Message"] for reason in self._reasons if "Message" in reason), codes)
        raise AwsError(f"table {table}: the import was refused: {said}")


def _from_dynamodb(error: ClientError, table: str) -> Exception:
    """DynamoDB's own error codes; `aws.translate` knows those all services share."""
    answer: Any = error.response
    code = answer.get("Error", {}).get("Code")
    if code == "ConditionalCheckFailedException":
        return _ConditionFailed(answer.get("Item"))
    if code == "TransactionCanceledException":
        return _Cancelled(answer.get("CancellationReasons", []))
    if code == "ResourceInUseException":
        return _TableExists()
    if code == "ValidationException" and error.operation_name == "UpdateItem":
        return ItemRefused(f"table {table}: {answer['Error'].get('Message', code)}")
    if code == "ResourceNotFoundException":
        return TableMissing(f"table {table} does not exist")
    translation = translate(error)
    return type(translation)(f"table {table}: {translation}")


def _leaves(transition: Transition, seen: Record) -> None:
    """Raises ValueError where the transition does not begin in the state seen."""
    if seen.item.state not in {source.value for source in transition.sources}:
        raise ValueError(f"{transition.name} does not begin in {seen.item.state}")


def _landed(item: Item | None, target: State, lock_id: str) -> bool:
    """Whether an earlier try of a write made the item what it is."""
    return item is not None and item.state == target.value and item.lock_id == lock_id


_FREED = {":null": {"S": NULL}, ":one": {"N": "1"}}


@dataclass(slots=True)
class _Update:
    """What a transition's write needs beside its own clauses."""

    lock_id: str
    values: dict[str, Any]
    paths: dict[str, str] = field(default_factory=dict)
    clauses: list[str] = field(default_factory=list)

    def add_results(self, results: Results, ended: int, *, statuses: bool = True) -> None:
        """Write results too; `statuses` of nested tasks as well as their log entries."""
        if isinstance(results, LogEntry):
            self.values |= {":entry": results.to_attribute(), ":n": {"N": str(results.lines)}}
            self.paths["#Log"] = "Log"
            self.clauses += ["#Log = :entry", "Log_Length = :n"]
            return
        # Absolute, since a write that is sent again must not count twice
        self.values[":n"] = {"N": str(ended)}
        self.clauses.append("Log_Length = :n")
        for position, (name, entry) in enumerate(results.items()):
            self._add_result(f"t{position}", name, entry)
            if statuses:
                self._add_status(f"t{position}", State.DONE if entry.succeeded else State.FAILED)

    def is_in(self, image: Attributes) -> bool:
        """Whether the results are in an item. DynamoDB writes numbers in its own way."""
        log = image.get("Log", {})
        if ":entry" in self.values:
            return LogEntry.from_attribute(log) == LogEntry.from_attribute(self.values[":entry"])
        return all(
            LogEntry.from_attribute(log.get("M", {}).get(self.paths[f"#{key[1:]}"], {}))
            == LogEntry.from_attribute(entry)
            for key, entry in self.values.items()
            if f"#{key[1:]}" in self.paths
        )

    def _add_result(self, key: str, name: str, entry: LogEntry) -> None:
        self.paths |= {"#Log": "Log", f"#{key}": name}
        self.values[f":{key}"] = entry.to_attribute()
        self.clauses.append(f"#Log.#{key} = :{key}")

    def _add_status(self, key: str, state: State) -> None:
        self.paths |= {"#TaskScript": "TaskScript", "#Status": "Status"}
        self.values[f":{state}"] = {"S": state.value}
        self.clauses.append(f"#TaskScript.#{key}.#Status = :{state}")


def _index_definitions() -> list[dict[str, Any]]:
    definitions: list[dict[str, Any]] = json.loads(INDEX_FILE.read_text(encoding="utf-8"))
    return definitions


def _check_schema(name: str, table: Mapping[str, Any]) -> None:
    """Raises TableUnusable unless key and indexes are those of a workflow table."""
    kinds = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    key = [(each["AttributeName"], each["KeyType"]) for each in table["KeySchema"]]
    if key != [("itemID", "HASH")] or kinds.get("itemID") != "N":
        raise TableUnusable(
            f"table {name}: its key must be itemID, a number, and nothing else; "
            "make a new table with --create-table"
        )
    there = {
        each["IndexName"]: (each["KeySchema"], each["Projection"]["ProjectionType"])
        for each in table.get("GlobalSecondaryIndexes", [])
    }
    for index in _index_definitions():
        if there.get(index["IndexName"]) != (index["KeySchema"], "ALL"):
            raise TableUnusable(
                f"table {name}: index {index['IndexName']} is missing, has another key or does "
                f"not project ALL; {INDEX_FILE.name} holds the indexes a workflow table has"
            )


def _not_ready(table: Mapping[str, Any]) -> str:
    """What of the table cannot be used yet, empty if it can."""
    if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
        return f"the table is {table['TableStatus']}"
    for index in table.get("GlobalSecondaryIndexes", []):
        if index.get("IndexStatus", "ACTIVE") not in ("ACTIVE", "UPDATING"):
            return f"index {index['IndexName']} is {index['IndexStatus']}"
    return ""
