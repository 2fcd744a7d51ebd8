"""Finding and claiming items.

Guaranteed: the number of requests per claim depends neither on the size of the table nor on the
number of workers; a worker that keeps looking finds every todo item. Not guaranteed: any order.

Each worker queries a page of candidates from a random start and claims them from the page's end
back to the start. A worker that starts later in the same range begins at the end of its own page,
so the two seldom want the same item: in random order they would lose three times as many claims.
When less than a page is left, all workers see the same candidates, and take them in random order.
"""

import random
from collections.abc import Callable
from functools import partial
from math import floor
from time import monotonic
from uuid import uuid4

from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.errors import ItemRefused
from anamo.core.item import ID_BITS, Item
from anamo.worker.in_flight_claims import InFlightClaims

PAGE = 25
"""Candidates per query page: enough to make reads cheap, few enough to be claimed while fresh."""

STALE_SECONDS = 0.9
"""How long an item is skipped after a claim was tried: the index may still list it. Shorter than a
worker's wait before its last look, or it would miss an item that was given back."""

PAGE_SECONDS = 10.0
"""Age at which a page is discarded: by then others have claimed most of its items."""

MOST_TOUCHED = 1000
"""Items remembered as tried before those older than STALE_SECONDS are removed."""

LOOK_SECONDS = 60
"""Longest time between two looks for expired leases: newer claims may have shorter ones."""


class Claimer:
    """Claims items for one process.

    Attributes:
        reads: Pages queried so far.
        conflicts: Claims lost to other workers so far.
        held: When nothing was todo, the lockIDs by itemID of the items locked with a lease.
        refused: DynamoDB's messages by itemID for items that it does not let be claimed.
    """

    def __init__(
        self,
        table: WorkflowTable,
        holder: Holder,
        in_flight: InFlightClaims,
        draw: random.Random | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.reads = 0
        self.conflicts = 0
        self.held: dict[int, str] = {}
        self.refused: dict[int, str] = {}
        self._table = table
        self._holder = holder
        self._in_flight = in_flight
        self._random = draw or random.Random()
        self._clock = clock
        self._candidates: list[int] = []
        self._read_at = 0.0
        self._last: int | None = None
        self._look_again = 0
        self._touched: dict[int, float] = {}
        self._unanswered: Callable[[], Item | None] | None = None

    def claim(self) -> Item | None:
        """Claim a todo item, or else take over one whose lease has expired.

        Returns:
            The item, or None if there is none.

        Raises:
            AwsError: A request failed. The next call repeats the same claim first, since it may
                have been won and only its reply lost.
        """
        if self._unanswered and (item := self._unanswered()):
            return item
        return self._claim_todo() or self._take_over()

    def _attempt(self, item_id: int, claim: Callable[[str, Holder], Item | None]) -> Item | None:
        """Claim an item with a new lockID; None if another worker has it."""
        lock_id = uuid4().hex

        def send() -> Item | None:
            try:
                item = claim(lock_id, self._holder)
            except ItemRefused as refusal:
                self.refused[item_id] = str(refusal)
                item = None
            self._unanswered = None
            self._touch(item_id)
            if item is None:
                self.conflicts += 1
                self._in_flight.drop(lock_id)
            return item

        self._in_flight.add(item_id, lock_id)
        self._unanswered = send
        return send()

    def last_answer(self) -> Item | None:
        """The item of a claim that was won but whose reply was lost, if any. Raises as `claim`."""
        return self._unanswered() if self._unanswered else None

    def _touch(self, item_id: int) -> None:
        now = self._clock()
        if len(self._touched) > MOST_TOUCHED:
            self._touched = {
                item: at for item, at in self._touched.items() if now - at < STALE_SECONDS
            }
        self._touched[item_id] = now

    def _claim_todo(self) -> Item | None:
        while True:
            if not self._fresh() and not self._read():
                return None
            candidate = self._candidates.pop()
            item = self._attempt(candidate, partial(self._table.claim, candidate))
            if item:
                return item
            # Another worker claims in this range; the two would compete for each further candidate
            self._candidates.clear()

    def _take_over(self) -> Item | None:
        """Take over an item whose lease has expired. Items without a lease are other tools'."""
        now = floor(self._table.clock.surely_past())
        if now <= self._look_again and not self._in_flight.inherited:
            return None
        leased = [item for item in self._table.locked() if item.lease_expires is not None]
        self.held = {item.item_id: item.lock_id for item in leased}
        # Reading all locked items costs more the more workers there are, and none of these leases
        # expires earlier
        expiries = [item.lease_expires or 0 for item in leased]
        self._look_again = min([*expiries, now + LOOK_SECONDS]) if leased else 0
        ended = [
            item
            for item in leased
            if (item.lease_expires or 0) < now and item.item_id not in self.refused
        ]
        self._random.shuffle(ended)
        for seen in ended:
            item = self._attempt(seen.item_id, partial(self._table.take_over, seen))
            if item:
                return item
        return None

    def _fresh(self) -> bool:
        return bool(self._candidates) and self._clock() - self._read_at < PAGE_SECONDS

    def _read(self) -> bool:
        """Query a page from a random start, or from the beginning; False if nothing is todo."""
        start = self._random.randrange(self._span())
        self._candidates = self._page(start)
        if len(self._candidates) < PAGE // 2 and start:
            # Near the end of the range, or few items are left
            self._candidates = self._page(0)
        if len(self._candidates) < PAGE:
            self._random.shuffle(self._candidates)
        self._read_at = self._clock()
        return bool(self._candidates)

    def _page(self, start: int) -> list[int]:
        """A page of candidates, without those to be skipped."""
        while True:
            self.reads += 1
            listed = self._table.todo(start, PAGE)
            page = [item_id for item_id in listed if not self._skipped(item_id)]
            if page or len(listed) < PAGE:
                return page
            start = listed[-1] + 1

    def _skipped(self, item_id: int) -> bool:
        touched = self._touched.get(item_id)
        stale = touched is not None and self._clock() - touched < STALE_SECONDS
        return stale or item_id in self.refused

    def _span(self) -> int:
        """Upper end of the itemIDs to start from, read once: other tools number items from 1, and a
        start drawn from 2**53 numbers would always lie beyond the last.
        """
        if self._last is None:
            self.reads += 1
            last = self._table.last_todo()
            self._last = (1 << ID_BITS) - 1 if last is None else last
        return self._last + 1
