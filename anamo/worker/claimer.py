"""Finding and claiming items.

Guaranteed: the number of requests per claim depends neither on the size of the table nor on the
number of workers; a worker that keeps looking finds every todo item. Not guaranteed: any order.

Each worker queries a page of candidates from a random start and claims them from the page's end
back to the start. A worker that starts later in the same range begins at the end of its own page,
so the two seldom want the same item: in random order they would lose three times as many claims.
When less than a page is left, all workers see the same candidates, and take them in random order.

Where the index gives no claim, the table itself can be asked, which costs more: `claim_by_table`.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from math import floor
from time import monotonic
from typing import Any

from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.codec import LARGEST_ID, SMALLEST_ID, ItemId, above
from anamo.core.errors import AccessDenied, ItemRefused, Throttled
from anamo.core.item import ID_BITS, NULL, Item, State
from anamo.worker.in_flight_claims import InFlightClaims
from anamo.worker.index_lag import IndexLag

PAGE = 25
"""Candidates per query page: enough to make reads cheap, few enough to be claimed while fresh."""

PAGE_SECONDS = 10.0
"""Age at which a page is discarded: by then others have claimed most of its items."""

LOOK_SECONDS = 60
"""Longest time between two looks for expired leases: newer claims may have shorter ones."""

TABLE_PAGES = 4
"""Pages of the table that are read at once before it counts as too large, for 256 read units each:
most tables are smaller, and a worker with nothing to do need not wait for the index."""

MOST_MISSED = 3
"""How often the table may show a claim as ended that cannot be taken over all the same: another
tool wrote its lease in a way of its own."""

_FOREIGN = "its itemID is not a whole number"
_UNNAMED = "it is locked without a lockID, and its lease has ended"
_NOT_ENDED = "DynamoDB does not take its lease for one that has ended"
"""Why items of other tools are passed over, although they look as if they could be claimed."""

logger = logging.getLogger(__name__)


class Claimer:
    """Claims items for one process.

    Attributes:
        reads: Pages queried so far.
        conflicts: Claims lost to other workers so far.
        held: When nothing was todo, the lockIDs by itemID of the items locked with a lease.
        listed: Whether the index listed any item as todo when it was last asked.
        left: Whether the table itself showed an item that could be claimed when it was last asked;
            None if it could not be asked, or is larger than what was read.
        refused: Items that cannot be claimed by itemID: their states, and why not. They are passed
            over.
        lag: How far the index is behind.
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
        self.held: dict[ItemId, str] = {}
        self.listed = False
        self.left: bool | None = None
        self.refused: dict[ItemId, tuple[str, str]] = {}
        self.lag = IndexLag(clock)
        self._table = table
        self._holder = holder
        self._in_flight = in_flight
        self._random = draw or random.Random()
        self._clock = clock
        self._candidates: list[Item] = []
        self._read_at = 0.0
        self._listed_at: float | None = None
        self._rest: Mapping[str, Any] | None = None
        self._missed: Counter[str] = Counter()
        self._last: int | None = None
        self._earlier: list[Item] | None = None if holder.attempt > 1 else []
        self._look_again = 0
        self._unanswered: Callable[[], Item | None] | None = None

    def claim(self) -> Item | None:
        """Claim a todo item, or else take over one whose lease has expired.

        Returns:
            The item, or None if there is none.

        Raises:
            AwsError: A request failed. The next call repeats the same claim first, since it may
                have been won and only its reply lost.
        """
        return (
            self.last_answer()
            or self._take_over_from_earlier_attempt()
            or self._claim_todo()
            or self._take_over()
        )

    def claim_by_table(self) -> Item | None:
        """As `claim`, by what the table itself holds, for when the index gives no claim.

        It reads TABLE_PAGES at most: a table that is larger is read on from call to call, until a
        claim is won. `left` says what came of it. Where the permission is lacking, or the table
        throttles, it says None.
        """
        item = self.last_answer()
        for _ in range(TABLE_PAGES):
            item = item or self._claim_by_page()
            if item or self._rest is None:
                break
        return item

    def _claim_by_page(self) -> Item | None:
        """Claim an item of the next page of the table."""
        self.reads += 1
        self.left = None
        try:
            look = self._table.look(self._rest)
        except (AccessDenied, Throttled) as fault:
            logger.debug("reading the table: %s", fault)
            self._rest = None
            return None
        todo = [seen for seen in look.todo if self._claimable(seen, State.TODO)]
        ended = self._ended(look.locked, floor(self._table.clock.surely_past()))
        self._missed.update(item.lock_id for item in ended)
        for item in ended:
            if self._missed[item.lock_id] > MOST_MISSED:
                self._pass_over(item.item_id, State.LOCKED, _NOT_ENDED)
        ended = [item for item in ended if item.item_id not in self.refused]
        whole = self._rest is None and look.rest is None
        self.held = _leased(look.locked) if whole else self.held | _leased(look.locked)
        if todo or ended:
            self.left, self._rest = True, None
        else:
            self.left, self._rest = (None if look.rest else False), look.rest
        self._candidates = self._random.sample(todo, min(PAGE, len(todo)))
        self._read_at, self._listed_at = self._clock(), None
        return self._claim_candidates() or self._take_over_one_of(ended)

    def _attempt(
        self,
        item_id: ItemId,
        state: State,
        claim: Callable[[str, Holder], Item | None],
        note: Callable[[bool], object] = lambda won: None,
    ) -> Item | None:
        """Claim an item with a new lockID; None if another worker has it. `note` is told whether it
        was won.
        """
        lock_id = self._holder.new_lock_id()

        def send() -> Item | None:
            try:
                item = claim(lock_id, self._holder)
            except ItemRefused as refusal:
                self._pass_over(item_id, state, str(refusal))
                item = None
            self._unanswered = None
            note(item is not None)
            if item is None:
                self.conflicts += 1
                self._in_flight.drop(lock_id)
            else:
                self._rest = None
            return item

        self._in_flight.add(item_id, lock_id)
        self._unanswered = send
        return send()

    def last_answer(self) -> Item | None:
        """The item of a claim that was won but whose reply was lost, if any. Raises as `claim`."""
        return self._unanswered() if self._unanswered else None

    def _claimable(self, seen: Item, state: State) -> bool:
        """Whether a listed item may be claimed; what makes that impossible is noted."""
        if isinstance(seen.item_id, Decimal):
            self._pass_over(seen.item_id, state, _FOREIGN)
        elif state is State.LOCKED and seen.lock_id == NULL:
            # A take-over names the claim that it replaces
            self._pass_over(seen.item_id, state, _UNNAMED)
        return seen.item_id not in self.refused

    def _pass_over(self, item_id: ItemId, state: State, why: str) -> None:
        self.refused.setdefault(item_id, (state.value, why))

    def _claim_todo(self) -> Item | None:
        """Claim a candidate of the index; None if it has none, or is too far behind."""
        while self._fresh() or self._read():
            item = self._claim_candidates()
            if item or self.lag.pause:
                return item
        return None

    def _claim_candidates(self) -> Item | None:
        """Claim the next candidate that nobody else has."""
        while self._candidates:
            seen = self._candidates.pop()
            claim = partial(self._table.claim, seen)
            note = partial(self.lag.note, seen.item_id, self._listed_at)
            item = self._attempt(seen.item_id, State.TODO, claim, note)
            if item:
                return item
            if self._listed_at is not None:
                # Another worker claims in this range of the index; the two would compete for each
                # further candidate
                self._candidates.clear()
            if self.lag.pause:
                break
        return None

    def _take_over_from_earlier_attempt(self) -> Item | None:
        """Take over an item of a dead attempt of this AWS Batch job, before anything else."""
        if self._earlier is None:
            self._earlier = list(filter(self._holder.held_before, self._table.locked()))
            self._random.shuffle(self._earlier)
        while self._earlier:
            if item := self._take_over_one_of([self._earlier.pop()]):
                return item
        return None

    def _take_over(self) -> Item | None:
        """Take over an item whose lease has expired. Items without a lease are other tools'."""
        now = floor(self._table.clock.surely_past())
        if now <= self._look_again and not self._in_flight.inherited:
            return None
        locked = list(self._table.locked())
        self.held = _leased(locked)
        # Reading all locked items costs more the more workers there are, and none of these leases
        # expires earlier
        expiries = [item.lease_expires for item in locked if item.lease_expires is not None]
        self._look_again = min([*expiries, now + LOOK_SECONDS]) if expiries else 0
        return self._take_over_one_of(self._ended(locked, now))

    def _ended(self, locked: Iterable[Item], now: int) -> list[Item]:
        """Those whose lease has ended, or whose holder is known to be dead."""
        return [
            item
            for item in locked
            if item.lease_expires is not None
            and (item.lease_expires < now or self._holder.held_before(item))
            and self._claimable(item, State.LOCKED)
        ]

    def _take_over_one_of(self, ended: Sequence[Item]) -> Item | None:
        """Take over one of these, in random order."""
        for seen in self._random.sample(ended, len(ended)):
            earlier = self._holder.held_before(seen)
            take_over = self._table.take_over_earlier if earlier else self._table.take_over
            item = self._attempt(seen.item_id, State.LOCKED, partial(take_over, seen))
            if item:
                return item
        return None

    def _fresh(self) -> bool:
        return bool(self._candidates) and self._clock() - self._read_at < PAGE_SECONDS

    def _read(self) -> bool:
        """Query a page from a random start, or from the beginning; False if nothing is todo."""
        self._read_at = self._listed_at = self._clock()
        self.listed = False
        start = self._random.randrange(self._span())
        self._candidates = self._page(start)
        if len(self._candidates) < PAGE // 2:
            # Near the end of the range, or few items are left
            self._candidates = self._page(SMALLEST_ID)
        if len(self._candidates) < PAGE:
            self._random.shuffle(self._candidates)
        return bool(self._candidates)

    def _page(self, start: ItemId) -> list[Item]:
        """A page of candidates, without those to be skipped."""
        while True:
            self.reads += 1
            listed = self._table.todo(start, PAGE)
            claimable = [seen for seen in listed if self._claimable(seen, State.TODO)]
            self.listed = self.listed or bool(claimable)
            page = [seen for seen in claimable if not self.lag.skips(seen.item_id)]
            if page or len(listed) < PAGE:
                return page
            start = above(listed[-1].item_id) or LARGEST_ID

    def _span(self) -> int:
        """Upper end of the itemIDs to start from, read once: other tools number items from 1, and a
        start drawn from 2**53 numbers would always lie beyond the last.
        """
        if self._last is None:
            self.reads += 1
            last, largest = self._table.last_todo(), (1 << ID_BITS) - 1
            self._last = largest if last is None else max(min(int(last), largest), 0)
        return self._last + 1


def _leased(locked: Iterable[Item]) -> dict[ItemId, str]:
    """The lockIDs by itemID of those that have a lease."""
    return {item.item_id: item.lock_id for item in locked if item.lease_expires is not None}
