"""Finding and claiming items of one table.

Guaranteed: the number of requests per claim depends neither on the size of the table nor on the
number of workers; a worker that keeps searching finds every todo item. Not guaranteed: any order.

Each worker queries a page of candidates from a random start and claims them from the page's end
back to the start. A worker that starts later in the same range begins at the end of its own page,
so the two seldom want the same item: in random order they would lose three times as many claims.
When less than a page is left, all workers see the same candidates, and take them in random order.

Where the index gives no claim, leases may have ended (`take_over`), and the table itself can be
read (`claim_by_table`), which costs more.
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
from anamo.core.codec import SMALLEST_ID, ItemId, above
from anamo.core.errors import AccessDenied, ItemRefused, Throttled
from anamo.core.item import ID_BITS, NULL, Item, State
from anamo.core.pacing import PAGE, PAGE_SECONDS, TABLE_PAGES
from anamo.worker.ended_leases import NEVER, EndedLeases
from anamo.worker.growing_pause import GrowingPause
from anamo.worker.in_flight_claims import InFlightClaims
from anamo.worker.index_lag import IndexLag

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two queries for ended leases, at first and at most."""

MOST_MISSED = 3
"""How often the table may show a lease as ended that cannot be taken over all the same: another
tool wrote it in a way of its own."""

_FOREIGN = "its itemID is not a whole number"
_UNNAMED = "it is locked without a lockID, and its lease has ended"
_NOT_ENDED = "DynamoDB does not treat its lease as expired"
"""Why items of other tools are passed over, although they seem to be claimable."""

logger = logging.getLogger(__name__)


class Claimer:
    """Claims items for one process.

    Attributes:
        conflicts: Claims lost to other workers so far.
        table: The table.
        listed: Whether the index listed any item as todo when it was last queried.
        claimable: Whether the table itself showed an item that could be claimed when it was last
            asked; None if it could not be asked, or is larger than what was read.
        read_since: When that reading of the table began, by the clock.
        refused: Items that cannot be claimed by itemID: their states, and why not. They are passed
            over.
        lag: How far the index is behind.
        awaited: Whether, as far as is known, a claim of the dead process that this one replaces is
            yet to be taken over.
        leases_due: When to query the leases next, by the clock.

    Args:
        table: The table.
        holder: Who claims.
        in_flight: Notified of each claim before its request is sent.
        draw: Where random numbers come from.
        clock: Monotonic seconds.
        earlier: Items that an earlier attempt of this AWS Batch job holds.
    """

    def __init__(
        self,
        table: WorkflowTable,
        holder: Holder,
        in_flight: InFlightClaims,
        draw: random.Random | None = None,
        clock: Callable[[], float] = monotonic,
        earlier: Iterable[Item] = (),
    ) -> None:
        self.table = table
        self.conflicts = 0
        self.listed = False
        self.claimable: bool | None = None
        self.read_since = 0.0
        self.refused: dict[ItemId, tuple[str, str]] = {}
        self.lag = IndexLag(clock)
        self.leases_due = 0.0
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
        self._was_empty = False
        self._earlier = list(earlier)
        self._random.shuffle(self._earlier)
        self._inherited = [claim for claim in in_flight.inherited if claim.table == table.name]
        self.awaited = bool(self._inherited)
        self._leases = EndedLeases(table, self._random)
        self._pause = GrowingPause(FIRST_PAUSE, LONGEST_PAUSE, self._random)
        self._without_reply: Callable[[], Item | None] | None = None

    def claim(self) -> Item | None:
        """Claim a todo item that the index lists; an item of an earlier attempt before all others.

        Returns:
            The item, or None if there is none.

        Raises:
            AwsError: A request failed. The next call repeats the same claim first, since it may
                have been won and only its reply lost.
        """
        return self.claim_own() or self._claim_todo()

    def claim_own(self) -> Item | None:
        """The item of a claim that was won but whose reply was lost, or else one that an earlier
        attempt of this AWS Batch job holds. Raises as `claim`.
        """
        return self.last_won() or self._take_over_from_earlier_attempt()

    def search_leases_from(self, item_id: ItemId) -> None:
        """Begin to search for ended leases at an item whose lease is known to have ended."""
        self._leases = EndedLeases(self.table, self._random, item_id)

    def claim_by_table(self) -> Item | None:
        """As `claim`, by what the table itself holds, for when the index gives no claim.

        It reads TABLE_PAGES at most: a table that is larger is read on from call to call, until
        `restart`. `claimable` says what came of it; it is None where the permission is lacking,
        or the table throttles.
        """
        item = self.last_won()
        for _ in range(TABLE_PAGES):
            begun = self._rest
            item = item or self._claim_by_page()
            if item or self._rest in (None, begun):
                break
        return item

    def restart(self) -> None:
        """Have the table read from its beginning: what was read before may no longer be true."""
        self._rest = None

    def _claim_by_page(self) -> Item | None:
        """Claim an item of the next page of the table."""
        self.claimable = None
        if self._rest is None:
            self.read_since = self._clock()
        try:
            page = self.table.claimable_page(self._rest)
        except (AccessDenied, Throttled) as fault:
            logger.debug("reading the table: %s", fault)
            # Throttled, it is read on from here
            self._rest = self._rest if isinstance(fault, Throttled) else None
            return None
        todo = [seen for seen in page.todo if self._may_claim(seen, State.TODO)]
        ended = self._ended(page.locked, floor(self.table.clock.surely_past()))
        locks = {item.lock_id for item in page.locked}
        self.awaited = self.awaited or any(each.lock_id in locks for each in self._inherited)
        if todo or ended:
            self.claimable, self._rest = True, None
        else:
            self.claimable, self._rest = (None if page.rest else False), page.rest
        self._candidates = self._random.sample(todo, min(PAGE, len(todo)))
        self._read_at, self._listed_at = self._clock(), None
        item = self._claim_candidates() or self._take_over_one_of(ended)
        if item is None:
            self._missed.update(each.lock_id for each in ended)
            for each in ended:
                if self._missed[each.lock_id] >= MOST_MISSED:
                    self._pass_over(each.item_id, State.LOCKED, _NOT_ENDED)
        return item

    def _attempt(
        self,
        item_id: ItemId,
        state: State,
        claim: Callable[[str, Holder], Item | None],
        note: Callable[[bool], object] = lambda won: None,
    ) -> Item | None:
        """Claim an item with a new lockID; None if another worker has it.

        Args:
            item_id: The item.
            state: Its state, for the message where it cannot be claimed.
            claim: Sends the request.
            note: Called with whether the claim was won.
        """
        lock_id = self._holder.new_lock_id()

        def send() -> Item | None:
            try:
                item = claim(lock_id, self._holder)
            except ItemRefused as refusal:
                self._pass_over(item_id, state, str(refusal))
                item = None
            self._without_reply = None
            note(item is not None)
            if item is None:
                self.conflicts += 1
                self._in_flight.not_won(lock_id)
            return item

        self._in_flight.add(self.table.name, item_id, lock_id)
        self._without_reply = send
        return send()

    def last_won(self) -> Item | None:
        """The item of a claim that was won but whose reply was lost, if any. Raises as `claim`."""
        return self._without_reply() if self._without_reply else None

    def _may_claim(self, seen: Item, state: State) -> bool:
        """Whether a listed item may be claimed; if it cannot be, the reason is noted."""
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
            claim = partial(self.table.claim, seen)
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
        while self._earlier:
            if item := self._take_over_one_of([self._earlier.pop()]):
                return item
        return None

    @property
    def locked(self) -> int:
        """How many items were locked when the leases were last queried, at least."""
        return self._leases.locked

    def take_over(self) -> Item | None:
        """Take over an item whose lease has ended, if it is time to query a page of leases.
        Items without a lease belong to other tools.
        """
        item = self.last_won() or self._take_over_inherited()
        if item or self._clock() < self.leases_due:
            return item
        past = self.table.clock.surely_past()
        instance = self._holder.instance_id if self._holder.attempt > 1 else None
        listed = self._leases.next_page(floor(past + LONGEST_PAUSE) + 1, instance)
        item = self._take_over_one_of(self._ended(listed, floor(past)))
        ends = [each.lease_expires + 1 - past for each in listed if each.lease_expires is not None]
        soon = [left + self._random.random() for left in ends if left > 0]
        if item:
            # Another that has ended may be among them
            self._pause.reset()
            self.leases_due = self._clock()
        else:
            self.leases_due = self._clock() + min([self._pause.next(), *soon])
        return item

    def _take_over_inherited(self) -> Item | None:
        """Take over what the process that this one replaces held, once its lease has ended."""
        self.awaited = False
        for claim in self._inherited:
            page = self.table.leases(claim.item_id, NEVER, 1)
            listed = [item for item in page.items if item.lock_id == claim.lock_id]
            self.awaited = self.awaited or bool(listed)
            ended = self._ended(listed, floor(self.table.clock.surely_past()))
            if item := self._take_over_one_of(ended):
                return item
        return None

    def _ended(self, locked: Iterable[Item], now: int) -> list[Item]:
        """Those whose lease has ended, or whose holder is known to be dead."""
        return [
            item
            for item in locked
            if item.lease_expires is not None
            and (item.lease_expires < now or self._holder.held_before(item))
            and self._may_claim(item, State.LOCKED)
        ]

    def _take_over_one_of(self, ended: Sequence[Item]) -> Item | None:
        """Take over one of these, in random order."""
        for seen in self._random.sample(ended, len(ended)):
            earlier = self._holder.held_before(seen)
            take_over = self.table.take_over_earlier if earlier else self.table.take_over
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
        # Where nothing was todo, one query is enough to see that nothing is
        random = not self._was_empty
        self._candidates = self._page(self._random.randrange(self._span())) if random else []
        if len(self._candidates) < PAGE // 2:
            # Near the end of the range, or few items are left
            self._candidates = self._page(SMALLEST_ID)
        self._was_empty = not self.listed
        if len(self._candidates) < PAGE:
            self._random.shuffle(self._candidates)
        return bool(self._candidates)

    def _page(self, start: ItemId) -> list[Item]:
        """A page of candidates, without those to be skipped."""
        while True:
            listed = self.table.todo(start, PAGE)
            claimable = [seen for seen in listed if self._may_claim(seen, State.TODO)]
            self.listed = self.listed or bool(claimable)
            page = [seen for seen in claimable if not self.lag.skips(seen.item_id)]
            if page or len(listed) < PAGE:
                return page
            following = above(listed[-1].item_id)
            if following is None:
                return page
            start = following

    def _span(self) -> int:
        """Upper end of the itemIDs to start from, read once: other tools number items from 1, and a
        start drawn from 2**53 numbers would always lie beyond the last.
        """
        if self._last is None:
            last, largest = self.table.last_todo(), (1 << ID_BITS) - 1
            self._last = largest if last is None else max(min(int(last), largest), 0)
        return self._last + 1
