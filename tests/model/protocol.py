"""The package's own requests, one at a time: its real code, stopped wherever it waits for a reply.

A call of the table's methods is a function of its arguments, its time and the replies so far: it is
made anew with each further reply, up to the request that has none yet. So whoever explores what may
happen can hold a call by a number, deliver its requests in any order, lose them or send them twice,
and never has to wait. Everything here has a number: images of the item, requests, calls.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Generic, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from anamo.aws.clock import DatabaseClock
from anamo.aws.operator_writes import Lost
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.codec import decode
from anamo.core.item import Item, nested_item
from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.operator.nested_choice import requeued_tasks
from anamo.worker.claim import Claim
from anamo.worker.recorder import Recorder
from tests.model import small_dynamodb
from tests.model.small_dynamodb import Image, Request

Thing = TypeVar("Thing")

GONE = -1
"""The number of the image of an item that is not there."""

LEASE = 1
"""Units of time that a lease lasts."""

RETRIES = 1
"""How often a failed item is tried again."""


class Numbered(Generic[Thing]):
    """Things by number, each once."""

    def __init__(self) -> None:
        self._things: list[Thing] = []
        self._numbers: dict[Hashable, int] = {}

    def __getitem__(self, number: int) -> Thing:
        return self._things[number]

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: Thing, key: Hashable = None) -> int:
        """The number of a thing; `key` says which things are the same, if they can't."""
        known = key if key is not None else thing
        if known not in self._numbers:
            self._numbers[known] = len(self._things)
            self._things.append(thing)
        return self._numbers[known]


class Result(NamedTuple):
    """How a task ended under a claim."""

    task: str
    succeeded: bool


class Call(NamedTuple):
    """A call of one of `METHODS` at a time."""

    method: str
    at: int
    arguments: tuple[Any, ...]


class Reply(NamedTuple):
    """What DynamoDB answered: whether it wrote, and the number of the image after or instead."""

    applied: bool
    image: int


class Sent(NamedTuple):
    """A request of a call.

    Attributes:
        kind: The transition.
        lock: The lockID of the claim whose write it is; empty for an operator's.
        operation: The method of the client.
        request: Its parameters.
        seen: The number of the image that an operator saw; GONE for others.
    """

    kind: str
    lock: str
    operation: str
    request: Request
    seen: int = GONE


class Waiting(BaseException):
    """A call needs a further reply; not an Exception, so that nothing takes it for a fault."""

    def __init__(self, operation: str, request: Request) -> None:
        super().__init__()
        self.operation, self.request = operation, request


class ScriptedClient:
    """A client of DynamoDB that answers with the replies it was given, then stops the caller."""

    def __init__(self, images: Numbered[Image]) -> None:
        self.meta = SimpleNamespace(
            region_name="us-east-1", events=SimpleNamespace(register=lambda *_, **__: None)
        )
        self.replies: list[Reply] = []
        self._images = images

    def update_item(self, **request: Any) -> Any:
        """UpdateItem."""
        return self._answer("update_item", request)

    def delete_item(self, **request: Any) -> Any:
        """DeleteItem."""
        return self._answer("delete_item", request)

    def transact_write_items(self, **request: Any) -> Any:
        """TransactWriteItems of one Put."""
        (put,) = (each["Put"] for each in request["TransactItems"])
        return self._answer("put_item", put)

    def _answer(self, operation: str, request: Request) -> Any:
        if not self.replies:
            raise Waiting(operation, request)
        applied, number = self.replies.pop(0)
        image = None if number == GONE else self._images[number]
        if applied:
            return {"Attributes": image}
        error: dict[str, Any] = {"Error": {"Code": "ConditionalCheckFailedException"}}
        if operation == "put_item":
            reason = {"Code": "ConditionalCheckFailed", "Item": image}
            error = {"Error": {"Code": "TransactionCanceledException"}}
            error |= {"CancellationReasons": [reason]}
        elif image is not None:
            error["Item"] = image
        raise ClientError(error, operation)  # type: ignore[arg-type]


class StandingClock(DatabaseClock):
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 0
        super().__init__(monotonic=lambda: float(self.time), wall=lambda: float(self.time))


@dataclass(frozen=True)
class Answer:
    """How a call goes on: with a request, or to its end with what it returned."""

    request: int = -1
    returned: object = None


class Protocol:
    """Makes the calls and executes their requests, each only once however often it is asked for.

    Attributes:
        new: The item as it is imported.
        images, sent, calls: What the numbers stand for.
        effects: What each request made of each image that it met.
    """

    def __init__(self, tasks: int = 2) -> None:
        self.new = nested_item("Item", [f"seq {number}" for number in range(tasks)])
        self.images: Numbered[Image] = Numbered()
        self.sent: Numbered[Sent] = Numbered()
        self.calls: Numbered[Call] = Numbered()
        self.effects: dict[tuple[int, int], Reply] = {}
        self._answers: dict[tuple[int, tuple[Reply, ...]], Answer] = {}
        self._client = ScriptedClient(self.images)
        self._clock = StandingClock()
        self._table = WorkflowTable(self._client, "Small", self._clock)
        self._items: dict[int, Item] = {}

    def call(self, method: str, at: int, *arguments: Any) -> int:
        """A call's number."""
        return self.calls.add(Call(method, at, arguments))

    def again(self, call: int, at: int) -> int:
        """The same call at another time."""
        return self.calls.add(self.calls[call]._replace(at=at))

    def go_on(self, call: int, replies: tuple[Reply, ...]) -> Answer:
        """How a call goes on after these replies."""
        key = call, replies
        if key not in self._answers:
            self._answers[key] = self._make(self.calls[call], replies)
        return self._answers[key]

    def execute(self, request: int, image: int) -> Reply:
        """What DynamoDB makes of a request."""
        key = request, image
        if key not in self.effects:
            there = None if image == GONE else self.images[image]
            sent = self.sent[request]
            answer = EXECUTE[sent.operation](there, sent.request)
            new = GONE if answer.image is None else self.number_of(answer.image)
            self.effects[key] = Reply(answer.applied, new)
        return self.effects[key]

    def number_of(self, image: Image) -> int:
        """An image's number."""
        return self.images.add(image, key=_frozen({"M": image}))

    def item(self, image: int) -> Item:
        """The item as the package reads it."""
        if image not in self._items:
            self._items[image] = Item.from_values(decode(self.images[image]))
        return self._items[image]

    def _make(self, call: Call, replies: tuple[Reply, ...]) -> Answer:
        self._client.replies = list(replies)
        self._clock.time = call.at
        try:
            returned = METHODS[call.method](self, self._table, *call.arguments)
        except Waiting as waiting:
            sent = _sent(waiting.operation, waiting.request)
            if call.method in {"requeue", "remove"}:
                sent = sent._replace(seen=call.arguments[0])
            return Answer(self.sent.add(sent, key=sent._replace(request=_frozen(sent.request))))
        finally:
            # What is there may be read at any other time, which is no call's
            self._client.replies = []
        return Answer(returned=returned)


EXECUTE = {
    "update_item": small_dynamodb.update,
    "delete_item": small_dynamodb.delete,
    "put_item": small_dynamodb.put,
}


def entry(lock: str, result: Result) -> LogEntry:
    """The log entry of a task's end; its output tells under which claim it ran."""
    status = "Execution Successful" if result.succeeded else "Execution Failed: exit 3"
    return LogEntry(status, f"{lock}/{result.task}", "", 0, 0.0, 0.0, "", "")


def entries(lock: str, results: tuple[Result, ...]) -> dict[str, LogEntry]:
    """Log entries by task."""
    return {result.task: entry(lock, result) for result in results}


# The calls


def _claim(_: Protocol, table: WorkflowTable, seen: Item, lock: str) -> Item | None:
    return table.claim(seen, lock, Holder(lock[0], LEASE))


def _take_over(_: Protocol, table: WorkflowTable, seen: Item, lock: str) -> Item | None:
    return table.take_over(seen, lock, Holder(lock[0], LEASE))


def _renew(protocol: Protocol, table: WorkflowTable, lock: str) -> bool:
    return table.renew(protocol.new.item_id, lock, Holder(lock[0], LEASE))


def _write(
    _protocol: Protocol,
    table: WorkflowTable,
    item: Item,
    recorded: tuple[Result, ...],
    results: tuple[Result, ...],
    last: bool,
) -> bool:
    """What the recorder writes: it decides whether to record, finish, release or retry."""
    claim = Claim(item, 0, table)
    claim.note(entries(item.lock_id, recorded))
    recorder: Any = SimpleNamespace(_item_retries=RETRIES)
    _, write = Recorder._next(recorder, claim, entries(item.lock_id, results), last)  # noqa: SLF001
    return write()


def _requeue(
    protocol: Protocol, table: WorkflowTable, seen: int, all_tasks: bool, force: bool
) -> bool:
    record = Record.from_values(decode(protocol.images[seen]))
    return _made(table.requeue(record, requeued_tasks(record, all_tasks), force))


def _remove(protocol: Protocol, table: WorkflowTable, seen: int, force: bool) -> bool:
    return _made(table.remove(Record.from_values(decode(protocol.images[seen])), force))


def _made(lost: Lost | None) -> bool:
    return lost is None


def _import(protocol: Protocol, table: WorkflowTable, token: str) -> bool:
    return not table.insert([protocol.new], token)


METHODS: Mapping[str, Callable[..., Any]] = {
    "claim": _claim,
    "take over": _take_over,
    "renew": _renew,
    "write": _write,
    "requeue": _requeue,
    "remove": _remove,
    "import": _import,
}


# Requests


def _sent(operation: str, request: Request) -> Sent:
    if operation == "put_item":
        return Sent("import", "", operation, request)
    values = {name: next(iter(value.values())) for name, value in _values(request).items()}
    if operation == "delete_item":
        return Sent("remove" if ":epoch" in values else "remove --force", "", operation, request)
    if ":mine" not in values:
        return Sent("requeue" if ":epoch" in values else "requeue --force", "", operation, request)
    update = request["UpdateExpression"]
    if ":instance" in values:
        kind = "take over" if ":epoch" in values else "claim"
    elif ":target" in values:
        freed = "retry" if ":failures" in values else "release"
        kind = freed if values[":target"] == "todo" else "finish"
    else:
        kind = "renew" if "Lease_Expires =" in update else "record"
    return Sent(kind, values[":mine"], operation, request)


def _values(request: Request) -> Mapping[str, Any]:
    found: Mapping[str, Any] = request["ExpressionAttributeValues"]
    return found


def _frozen(value: Any) -> Any:
    """The same for values that are equal."""
    if isinstance(value, dict):
        return tuple(sorted((name, _frozen(member)) for name, member in value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
