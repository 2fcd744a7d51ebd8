"""A network at its worst: what a proxy does to each request is drawn at random, by a seed."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.proxy import Behaviour, Forward, Reply, Request, cutting, dropping_reply, passing
from tests.support.waiting import eventually

WRITES = ("UpdateItem", "DeleteItem", "PutItem", "TransactWriteItems", "BatchWriteItem")

GARBAGE = (b"", b"[]", b"null", b"\xff\xfe\x00", b'{"Attributes": {"itemID"', b"<html>502</html>")

LATE_SECONDS = (0.3, 3.5)
"""How late a request or a copy of it is: some by longer than a lease of two seconds."""


class Storm:
    """A behaviour of a proxy; it treats requests at random until `calm` is called.

    Not guaranteed: the same for the same seed. Who asks first depends on the machine.

    seed: what is drawn depends on it. share: of the requests that are not just passed on.
    late_writes: whether writes, too, come late, twice or out of order. treated: how many requests
    were treated in each way. claimed: when each claim was in force at the latest, in epoch seconds
    by lockID. requeued: the lockIDs of claims that an operator tried to end.
    """

    def __init__(self, seed: int, share: float = 0.3, *, late_writes: bool = True) -> None:
        self.treated: Counter[str] = Counter()
        self.claimed: dict[str, float] = {}
        self.requeued: set[str] = set()
        self._share = share
        self._late_writes = late_writes
        self._draw = random.Random(seed)
        self._lock = threading.Lock()
        self._calm = threading.Event()
        self._passing_by = threading.Event()
        self._on_the_way = 0
        self._faults: list[Exception] = []

    def calm(self) -> None:
        """Pass everything from now on, at once."""
        self._calm.set()

    def settle(self) -> None:
        """Return once all that is on its way has arrived. Raises what went wrong on the way."""
        eventually(lambda: self._on_the_way == 0, 60)
        for fault in self._faults:
            raise fault

    def __call__(self, request: Request, forward: Forward) -> Reply | None:
        """Treat a request."""
        treat = passing if self._calm.is_set() else self._choose(request)
        with self._lock:
            self.treated[treat.__name__.strip("_")] += 1
        with self._travelling():
            return treat(request, self._noting(forward))

    @contextmanager
    def _travelling(self) -> Iterator[None]:
        with self._lock:
            self._on_the_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._on_the_way -= 1

    def _choose(self, request: Request) -> Behaviour:
        behaviours: list[Behaviour] = [cutting, dropping_reply, self._garbling]
        if self._late_writes or request.operation not in WRITES:
            behaviours += [self._doubling, self._delaying, self._copying, self._overtaken]
        with self._lock:
            chosen = self._draw.random() < self._share
            return self._draw.choice(behaviours) if chosen else passing

    def _noting(self, forward: Forward) -> Forward:
        """Forward, and note what went by."""

        def noting(request: Request) -> Reply:
            reply = forward(request)
            self._passing_by.set()
            if request.operation == "UpdateItem":
                self._note(request.json, reply.status == 200)
            return reply

        return noting

    def _note(self, update: Any, applied: bool) -> None:
        """Note claims that were made, and operators' updates, which take Attempts away."""
        values = update["ExpressionAttributeValues"]
        sets = dict(re.findall(r"\b(\w+) = (:\w+)", update["UpdateExpression"]))
        token = values.get(sets.get("lockID"), {}).get("S", "NULL")
        if token != "NULL" and applied:
            self.claimed.setdefault(token, time.time())
        elif "Attempts" in update["UpdateExpression"].partition(" REMOVE ")[2]:
            self.requeued |= {value["S"] for value in values.values() if "S" in value}

    def _seconds(self) -> float:
        with self._lock:
            return self._draw.uniform(*LATE_SECONDS)

    def _garbling(self, request: Request, forward: Forward) -> Reply | None:
        reply = forward(request)
        with self._lock:
            body = self._draw.choice(GARBAGE)
        return Reply(reply.status, reply.headers, body)

    def _doubling(self, request: Request, forward: Forward) -> Reply | None:
        forward(request)
        return forward(request)

    def _delaying(self, request: Request, forward: Forward) -> Reply | None:
        """Its sender waits for it, unless it is killed meanwhile."""
        self._calm.wait(self._seconds())
        return forward(request)

    def _copying(self, request: Request, forward: Forward) -> Reply | None:
        """Its sender gives it up and sends it again; a copy arrives later."""
        copy = threading.Thread(target=self._arrive, args=(request, forward), daemon=True)
        with self._lock:
            self._on_the_way += 1
        copy.start()
        return None

    def _arrive(self, request: Request, forward: Forward) -> None:
        self._calm.wait(self._seconds())
        try:
            forward(request)
        except Exception as fault:  # noqa: BLE001  # `settle` raises it
            self._faults.append(fault)
        with self._lock:
            self._on_the_way -= 1

    def _overtaken(self, request: Request, forward: Forward) -> Reply | None:
        """Another request gets there first."""
        self._passing_by.clear()
        self._passing_by.wait(0.5)
        return forward(request)
