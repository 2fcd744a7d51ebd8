"""The model of DynamoDB, and the plan's arithmetic, beside Amazon's own engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest

from anamo.aws.table import WorkflowTable
from anamo.aws.table_admin import workflow_indexes
from anamo.aws.table_writes import Holder
from anamo.core.capacity import Index
from anamo.core.item import Item, State, nested_item, single_item
from anamo.operator.plan.item_life import Write, item_life, typical_entry
from benchmarks.simulate.database import Meter, SimulatedDatabase
from benchmarks.simulate.fleet import EPOCH, Work, images
from benchmarks.simulate.partitions import Limits
from benchmarks.simulate.run import Result, run
from benchmarks.simulate.sizes import Image, key_number, position
from benchmarks.simulate.virtual_time import VirtualTime
from tests.support.table import KEY_TYPES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WORK = Work(workers=5, items=60, task_seconds=1.0, ramp=1.0)
RENEWING = Work(workers=5, items=40, task_seconds=20.0, ramp=1.0, lease=30)
"""Tasks during which a lease is renewed once or twice."""

REFUSED_UNITS = 1.0
"""What DynamoDB bills for a write whose condition fails: by the size of the item that is there, so
one unit for any under 1 KB."""


@pytest.fixture
def unobserved(dynamodb: str) -> Iterator[DynamoDBClient]:
    """A client of DynamoDB Local of which no `WorkflowTable` was made: the handlers that one
    registers would set the clocks of simulated workers to the time of day.
    """
    client: DynamoDBClient = boto3.client("dynamodb", endpoint_url=dynamodb)
    yield client
    client.close()


@contextmanager
def table_with(client: Any, name: str, indexes: Sequence[Index]) -> Iterator[None]:
    """A workflow table whose indexes project what these do."""
    client.create_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": kind}
            for attribute, kind in KEY_TYPES.items()
        ],
        KeySchema=[{"AttributeName": "itemID", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[
            {
                "IndexName": index.name,
                "KeySchema": [
                    {"AttributeName": index.partition_key, "KeyType": "HASH"},
                    {"AttributeName": index.sort_key, "KeyType": "RANGE"},
                ],
                "Projection": projection(index),
            }
            for index in indexes
        ],
    )
    try:
        yield
    finally:
        client.delete_table(TableName=name)


def projection(index: Index) -> dict[str, Any]:
    if index.projected is None:
        return {"ProjectionType": "ALL"}
    more = sorted(index.projected - {"itemID", index.partition_key, index.sort_key})
    if not more:
        return {"ProjectionType": "KEYS_ONLY"}
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": more}


class Engine:
    """DynamoDB Local in the place of the model's database: it counts what the model counts."""

    def __init__(self, client: Any, name: str) -> None:
        self.meter = Meter()
        self._client = client
        self._name = name

    def update_item(self, request: Mapping[str, Any]) -> Any:
        try:
            answer = self._client.update_item(**self._named(request))
        except self._client.exceptions.ConditionalCheckFailedException:
            # The answer does not say what it costs
            self.meter.units["write", "table"] += REFUSED_UNITS
            self.meter.refused["UpdateItem"] += 1
            raise
        return self._count("write", answer)

    def query(self, request: Mapping[str, Any]) -> Any:
        answer = self._client.query(**self._named(request))
        if not answer["ScannedCount"]:
            # It counts nothing for nothing, and DynamoDB its least
            self.meter.units["read", request["IndexName"]] += 0.5
        return self._count("read", answer)

    def scan(self, request: Mapping[str, Any]) -> Any:
        answer = self._client.scan(**self._named(request))
        # Its order is the engine's own affair, by which later draws would differ
        answer["Items"].sort(key=lambda item: position(key_number(item["itemID"])))
        return self._count("read", answer)

    def _named(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {**request, "TableName": self._name, "ReturnConsumedCapacity": "INDEXES"}

    def _count(self, kind: str, answer: Any) -> Any:
        for place, units in by_place(answer["ConsumedCapacity"]).items():
            self.meter.units[kind, place] += units
        return answer


def by_place(capacity: Mapping[str, Any]) -> Counter[str]:
    """Units of the table and of each index."""
    units = Counter({"table": capacity.get("Table", {}).get("CapacityUnits", 0.0)})
    for name, used in capacity.get("GlobalSecondaryIndexes", {}).items():
        units[name] += used["CapacityUnits"]
    return +units


def merged(meter: Meter) -> dict[tuple[str, str], float]:
    """Units of the table and of each index, whatever the key value."""
    units: Counter[tuple[str, str]] = Counter()
    for (kind, place), used in meter.units.items():
        units[kind, place.partition(" ")[0]] += used  # type: ignore[assignment]
    return dict(+units)


@pytest.mark.parametrize("wide", [False, True])
def test_requests_units_and_conflicts_are_those_of_dynamodb_local(
    unobserved: DynamoDBClient, wide: bool
) -> None:
    model, real = in_both(unobserved, WORK, images(WORK), wide=wide)
    assert_equal(model, real)
    assert real.conflicts > 0


@pytest.mark.parametrize("wide", [False, True])
def test_so_they_are_where_leases_are_renewed_and_one_that_ended_is_taken_over(
    unobserved: DynamoDBClient, wide: bool
) -> None:
    *todo, last = images(RENEWING)
    ended = {"Lease_Expires": {"N": f"{EPOCH - 60:.0f}"}, "Attempts": {"N": "1"}}
    left = Image({**last, **ended, "ItemState": {"S": State.LOCKED}, "InstanceID": {"S": "i-dead"}})
    model, real = in_both(unobserved, RENEWING, [*todo, left], wide=wide)
    assert_equal(model, real)
    # Each item is claimed and finished: the others are renewals
    updates = real.meter.requests["UpdateItem"] - real.meter.refused["UpdateItem"]
    assert updates - 2 * RENEWING.items > RENEWING.items
    # One was not todo before the start, and was done by who took it over
    assert model.meter.units["write", "ItemStateIndex todo"] == RENEWING.items - 1
    assert model.meter.units["write", "ItemStateIndex done"] == RENEWING.items


def in_both(
    client: DynamoDBClient, work: Work, filled: Sequence[Image], *, wide: bool
) -> tuple[Result, Result]:
    """What comes of the same work in the model and in DynamoDB Local.

    Args:
        client: Of DynamoDB Local.
        work: What the fleet does.
        filled: The items of the table before the start.
        wide: Whether the indexes hold whole items.
    """
    indexes = [index.wide if wide else index for index in workflow_indexes()]
    limits = Limits(unlimited=True, lag=0.0)
    time = VirtualTime()
    database = SimulatedDatabase(indexes, limits, time, work.seed)
    database.fill(filled)
    model = run(work, limits, time, database, database.meter)
    name = f"Test-{uuid4().hex[:8]}"
    with table_with(client, name, indexes):
        for image in filled:
            client.put_item(TableName=name, Item=image)
        engine = Engine(client, name)
        real = run(work, limits, VirtualTime(), engine, engine.meter)
    return model, real


def assert_equal(model: Result, real: Result) -> None:
    """Requests by operation, units by table and index, refused writes and lost claims are the same.

    The model counts a byte or two more for some numbers: of a page of the table whose size is next
    to a multiple of 4 KB it may think that it is beyond.
    """
    assert model.meter.requests == real.meter.requests
    assert model.meter.refused == real.meter.refused
    assert model.conflicts == real.conflicts
    modelled, counted = merged(model.meter), merged(real.meter)
    more = modelled.pop(("read", "table")) - counted.pop(("read", "table"))
    assert 0 <= more <= model.meter.requests["Scan"]
    assert modelled == counted


class Counting:
    """A client that notes what each update takes."""

    def __init__(self, client: Any) -> None:
        self.taken: list[Counter[str]] = []
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def update_item(self, **request: Any) -> Any:
        answer = self._client.update_item(**{**request, "ReturnConsumedCapacity": "INDEXES"})
        self.taken.append(by_place(answer["ConsumedCapacity"]))
        return answer


def of_places(write: Write) -> Counter[str]:
    """A write's units, of the table and of each index."""
    units: Counter[str] = Counter()
    for (place, _), used in write.units.items():
        units[place] += used
    return units


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("item", "group"),
    [
        (single_item("Sample1", "true 1"), 1),
        (nested_item("Sample1", ["seq 1", "seq 2", "seq 3"]), 3),
        (nested_item("Sample1", [f"seq {number}" for number in range(50)]), 10),
    ],
    ids=["single", "nested", "large"],
)
def test_the_plan_knows_the_units_of_each_write(
    dynamodb_client: DynamoDBClient, item: Item, group: int, wide: bool
) -> None:
    indexes = [index.wide if wide else index for index in workflow_indexes()]
    life = item_life(item, indexes, group)
    client = Counting(dynamodb_client)
    table = WorkflowTable(client, f"Test-{uuid4().hex[:8]}")
    with table_with(dynamodb_client, table.name, indexes):
        work_through(table, item, group)
    expected = [life.claimed, life.early_renewal, *life.recorded, life.finished]
    for taken, planned in zip(client.taken, map(of_places, expected), strict=True):
        # Of an item whose size is next to a multiple of 1 KB the plan may think it is beyond
        for place in taken | planned:
            assert 0 <= planned[place] - taken[place] <= (item.tasks > 10)


def work_through(table: WorkflowTable, item: Item, group: int) -> None:
    """Import an item, claim it, renew its lease, record its results, finish it."""
    holder = Holder("i-0123456789abcdef0", 600)
    table.insert([item], uuid4().hex)
    (seen,) = table.todo(item.item_id, 1)
    claimed = table.claim(seen, "0" * 32, holder)
    assert claimed
    assert table.renew(item.item_id, "0" * 32, Holder("i-0123456789abcdef0", 900))
    entry = typical_entry(item)
    if not item.is_nested:
        assert table.finish(claimed, State.DONE, entry, 1)
        return
    names = [task.name for task in item.nested]
    groups = [names[first : first + group] for first in range(0, len(names), group)]
    ended = 0
    for tasks in groups:
        ended += len(tasks)
        results = dict.fromkeys(tasks, entry)
        if tasks is groups[-1]:
            assert table.finish(claimed, State.DONE, results, ended)
        else:
            assert table.record(claimed, results, ended)
