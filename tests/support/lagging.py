"""ItemStateIndex some seconds behind its table, as a behaviour of the proxy.

DynamoDB Local's indexes are never behind. Here a thread notes what the index lists, again and
again, and queries of workers are answered by what it noted that long ago.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from decimal import Decimal
from email.utils import formatdate
from types import TracebackType
from typing import Any

from tests.support.proxy import Forward, Reply, Request
from tests.support.table import Table

INDEX = "ItemStateIndex"
EVERY_SECONDS = 0.1


class LaggingIndex:
    """A behaviour, and a context in which it notes what the table holds.

    A query for what was there before the context was entered finds nothing: begin with an empty
    table, or call `settle` once the index may list all there is.
    """

    def __init__(self, table: Table, seconds: float) -> None:
        self.seconds = seconds
        self._table = table
        self._noted: deque[tuple[float, list[dict[str, Any]]]] = deque([(0.0, [])])
        self._trimming = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._note, daemon=True)

    def settle(self) -> None:
        """Let the index list what the table holds now."""
        self._noted = deque([(0.0, self._items())])

    def __enter__(self) -> LaggingIndex:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _items(self) -> list[dict[str, Any]]:
        """What is in the table, in the order of the index."""
        pages = self._table.client.get_paginator("scan").paginate(
            TableName=self._table.name, ConsistentRead=True
        )
        items: list[dict[str, Any]] = [dict(item) for page in pages for item in page["Items"]]
        return sorted(items, key=_item_id)

    def _note(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            # Of the moment before it was read, so that nothing is listed too early
            self._noted.append((time.monotonic(), self._items()))

    def _listed(self) -> list[dict[str, Any]]:
        """The items as they were that long ago."""
        then = time.monotonic() - self.seconds
        with self._trimming:
            while len(self._noted) > 1 and self._noted[1][0] <= then:
                self._noted.popleft()
            return self._noted[0][1]

    def __call__(self, request: Request, forward: Forward) -> Reply | None:
        """Answer a query of the index by what it listed that long ago, and pass all else."""
        if not request.body:
            # Its sender was killed
            return None
        if request.operation != "Query" or request.json.get("IndexName") != INDEX:
            return forward(request)
        asked = request.json
        values = asked["ExpressionAttributeValues"]
        first = Decimal(values.get(":start", {}).get("N", "-Infinity"))
        found = [
            item
            for item in self._listed()
            if item["ItemState"] == values[":state"] and _item_id(item) >= first
        ]
        if not asked.get("ScanIndexForward", True):
            found.reverse()
        page = found[: asked.get("Limit", len(found))]
        reply = Reply.of({"Items": page, "Count": len(page), "ScannedCount": len(page)})
        reply.headers["Date"] = formatdate(usegmt=True)
        return reply


def _item_id(item: dict[str, Any]) -> Decimal:
    return Decimal(item["itemID"]["N"])
