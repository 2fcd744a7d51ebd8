"""Counts requests and units between a worker and its servers, whatever the worker itself says."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from anamo.core.item import Item
from benchmarks.bench import Bench
from tests.support.proxy import Forward, Proxy, Reply, Request

COLUMNS = (
    "",
    "claims",
    "other writes",
    "log objects",
    "queries",
    "other requests",
    "write units",
    "of these table : indexes",
    "read units",
)
HEAD = (f"| {' | '.join(COLUMNS)} |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|")


class CapacityMeter:
    """A proxy's behaviour: asks DynamoDB what each request costs, and adds it up."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.units: Counter[str] = Counter()
        self._adding = threading.Lock()

    def __call__(self, request: Request, forward: Forward) -> Reply | None:
        """Forward the request, with the question added to it."""
        asked = {**request.json, "ReturnConsumedCapacity": "INDEXES"}
        billed = request.operation in {"UpdateItem", "Query", "GetItem", "BatchGetItem"}
        reply = forward(replace(request, body=json.dumps(asked).encode()) if billed else request)
        with self._adding:
            self.requests[_kind(request)] += 1
            for capacity in _capacities(reply) if billed else ():
                self._add("write" if request.operation == "UpdateItem" else "read", capacity)
        return reply

    def _add(self, kind: str, capacity: Mapping[str, Mapping[str, object]]) -> None:
        self.units[f"{kind} table"] += _number(capacity.get("Table", {}))
        for index in capacity.get("GlobalSecondaryIndexes", {}).values():
            assert isinstance(index, dict)
            self.units[f"{kind} indexes"] += _number(index)


def _kind(request: Request) -> str:
    if request.operation != "UpdateItem":
        return request.operation
    return "claim" if "Lock_Date" in request.json["UpdateExpression"] else "write"


def _capacities(reply: Reply) -> list[Mapping[str, Mapping[str, object]]]:
    found = reply.json.get("ConsumedCapacity", []) if reply.status == 200 else []
    return found if isinstance(found, list) else [found]


def _number(units: Mapping[str, object]) -> int:
    """Thousandths of a unit, so that they can be counted."""
    return round(1000 * float(str(units.get("CapacityUnits", 0))))


def row(bench: Bench, name: str, items: Sequence[Item], flags: Sequence[str]) -> str:
    """Work through a table of these items; what that took, for each of them."""
    meter = CapacityMeter()
    with (
        bench.table(items) as table,
        Proxy(bench.environment["AWS_ENDPOINT_URL_DYNAMODB"]) as database,
        Proxy(bench.environment["AWS_ENDPOINT_URL_S3"]) as s3,
    ):
        database.behaviour = meter
        behind = replace(
            bench,
            environment={
                **bench.environment,
                "AWS_ENDPOINT_URL_DYNAMODB": database.url,
                "AWS_ENDPOINT_URL_S3": s3.url,
            },
        )
        behind.work(table, *flags)
        puts = sum(request.is_upload for request in s3.requests)
    requests, units = meter.requests, meter.units
    claims, writes, queries = (requests.pop(kind, 0) for kind in ("claim", "write", "Query"))
    of_table, of_indexes = units["write table"], units["write indexes"]
    read = units["read table"] + units["read indexes"]
    count = len(items)
    counts = (claims, writes, puts, queries, requests.total())
    shown = " | ".join(f"{each / count:.3f}" for each in counts)
    return (
        f"| {name} | {shown} | {(of_table + of_indexes) / 1000 / count:.1f} "
        f"| {of_table / 1000 / count:.1f} : {of_indexes / 1000 / count:.1f} "
        f"| {read / 1000 / count:.2f} |"
    )
