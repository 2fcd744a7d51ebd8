"""A table of few read units is read in the end: what was read is kept, and not read again."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from anamo.aws.retry import THROTTLED_SECONDS, OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.codec import ItemId, decode, encode
from anamo.core.errors import Throttled
from anamo.core.item import single_item
from anamo.core.record import Record
from anamo.importer.replacement import Replacement
from anamo.importer.threads import Threads
from anamo.operator import selection
from anamo.operator.selection import MANY, items_in_states, named_items
from anamo.operator.target import Target

RATE, BURST = 10, 3000
"""Read units a second, and those that are saved at most."""

ITEM, PAGE = 100, 128
"""Read units of a whole item of 400 KB, and of a query page."""

ITEMS, PAGES = 100, 70
"""Failed items of a task id, and the query pages that list them all."""

READ = range(1, ITEMS + 1)


class SlowTable:
    """A client of a table of RATE read units a second, on a clock that only `sleep` moves.

    Like DynamoDB, it serves a request as long as any units are left, which may then be fewer than
    none, and gives the keys of a BatchGetItem one by one.

    Attributes:
        now: Seconds.
        given: Which items BatchGetItem gave, and which pages Query gave.
        meta: What boto3's clients have.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.given: list[ItemId] = []
        self.meta = Mock(region_name="eu-north-1")
        self._units: float = 0
        self._lock = Lock()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self._units = min(BURST, self._units + seconds * RATE)

    def _take(self, units: int) -> bool:
        with self._lock:
            granted = self._units > 0
            self._units -= granted * units
        return granted

    def batch_get_item(self, **request: Any) -> Any:
        ((name, asked),) = request["RequestItems"].items()
        granted: list[Any] = []
        unread: list[Any] = []
        for key in asked["Keys"]:
            (granted if self._take(ITEM) else unread).append(key)
        self.given += [decode(key)["itemID"] for key in granted]
        items = [_failed(decode(key)["itemID"]) for key in granted]
        return {"Responses": {name: items}, "UnprocessedKeys": {name: {"Keys": unread}}}

    def query(self, **request: Any) -> Any:
        """The items in `failed` are on PAGES pages of a task id, and on one of ItemStateIndex."""
        if request["ExpressionAttributeValues"][":state"]["S"] != "failed":
            return {"Items": []}
        if request["IndexName"] == "ItemStateIndex":
            return {"Items": list(map(_failed, READ))}
        if not self._take(PAGE):
            code = "ProvisionedThroughputExceededException"
            raise ClientError({"Error": {"Code": code}}, "Query")
        page = int(request.get("ExclusiveStartKey", {"page": {"N": "0"}})["page"]["N"])
        self.given.append(-page)
        rest = {"LastEvaluatedKey": encode({"page": page + 1})} if page + 1 < PAGES else {}
        return {"Items": list(map(_failed, READ[page::PAGES])), **rest}

    def scan(self, **_: Any) -> Any:
        return {"Items": []}


def _failed(item_id: ItemId) -> Any:
    return encode({"itemID": item_id, "ItemState": "failed", "taskID": "Sample1"})


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowTable:
    made = SlowTable()
    monkeypatch.setattr("time.monotonic", lambda: made.now)
    return made


def of_state(table: WorkflowTable, retry: OperatorRetry) -> list[Record]:
    return list(items_in_states(table, ["failed"], Projection.WITHOUT_LOGS, retry))


def named(table: WorkflowTable, retry: OperatorRetry) -> list[Record]:
    found = named_items(Target([table], ["Sample1"], {}, {}), Projection.WITHOUT_LOGS, retry)
    return list(found[table.name]["Sample1"])


def replaced(table: WorkflowTable, retry: OperatorRetry) -> list[Record]:
    replacement = Replacement(table, {}, retry, Threads(print))
    return list(replacement.old([single_item("Sample1", "true")], ["failed"])["Sample1"])


@pytest.mark.parametrize(
    ("read", "items", "pages"),
    [(of_state, ITEMS, 0), (named, ITEMS, PAGES), (replaced, 0, PAGES)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_item_and_page_is_read_once(
    slow: SlowTable, read: Callable[..., list[Record]], items: int, pages: int
) -> None:
    said: list[str] = []
    table = WorkflowTable(slow, "Align")
    records = read(table, OperatorRetry(said.append, slow.sleep))
    assert sorted(record.item.item_id for record in records) == list(READ)
    assert sorted(slow.given) == sorted([*READ[:items], *(-page for page in range(pages))])
    # All of it takes longer than a throttled request is retried
    assert slow.now > THROTTLED_SECONDS
    assert [line for line in said if "continuing at a lower rate" in line] != []


def test_a_table_that_gives_nothing_is_given_up(slow: SlowTable) -> None:
    table = WorkflowTable(slow, "Align")
    slow.sleep(0.1)
    # Other readers take the units from now on
    retry = OperatorRetry(print, lambda seconds: setattr(slow, "now", slow.now + seconds))
    with pytest.raises(Throttled):
        table.read(READ, Projection.WITHOUT_LOGS, retry=retry)
    assert slow.given == [1]
    assert THROTTLED_SECONDS - 15 <= slow.now <= THROTTLED_SECONDS + 16


class MovingItem:
    """A client of a table whose one item is locked, and done after some queries."""

    def __init__(self, queries: int) -> None:
        self.meta = Mock(region_name="eu-north-1")
        self._left = queries

    def query(self, **request: Any) -> Any:
        state = "locked" if self._left > 0 else "done"
        self._left -= 1
        if request["ExpressionAttributeValues"][":state"]["S"] != state:
            return {"Items": []}
        return {"Items": [encode({"itemID": 1, "ItemState": state, "taskID": "Sample1"})]}

    def scan(self, **_: Any) -> Any:
        return {"Items": []}


@pytest.mark.parametrize("queries", range(7))
def test_an_item_that_ends_while_it_is_looked_for_is_found(queries: int) -> None:
    client: Any = MovingItem(queries)
    target = Target([WorkflowTable(client, "Align")], ["Sample1"], {}, {})
    found = named_items(target, Projection.STEP, OperatorRetry(print))
    assert [record.item.item_id for record in found["Align"]["Sample1"]] == [1]


def test_an_item_that_reading_the_whole_table_missed_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = [
        Record.from_values({"itemID": 10 + number, "taskID": f"Other{number}"})
        for number in range(MANY)
    ]
    monkeypatch.setattr(selection, "items_in_states", lambda *_: others)
    client: Any = MovingItem(0)
    names = ["Sample1", *(record.item.task_id for record in others)]
    target = Target([WorkflowTable(client, "Align")], names, {}, {})
    found = named_items(target, Projection.STEP, OperatorRetry(print))
    assert [len(records) for records in found["Align"].values()] == [1] * len(names)
