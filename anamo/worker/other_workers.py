"""What other workers hold, and waiting for it.

Guaranteed: the parent process seldom reads: a page of what is locked, and a table itself only
where its index shows that waiting may be over. Not guaranteed: that what it sees is still so when a
process claims.
"""

import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic

from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.codec import ItemId
from anamo.core.errors import AccessDenied, Throttled, TransientError
from anamo.core.item import Item
from anamo.core.pacing import TABLE_PAGES
from anamo.worker.ended_leases import NEVER, EndedLeases
from anamo.worker.growing_pause import GrowingPause
from anamo.worker.in_flight_claims import ClaimSent

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two checks, at first and at most: others seldom give items back, and most leases
end later."""

UNREACHABLE_SECONDS = 900.0
"""How long DynamoDB may be out of reach while a worker waits."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TablesState:
    """What the tables hold for other workers and for this one.

    Attributes:
        locked_by_others: Items locked with a lease that has not ended.
        until: When the last of these leases ends, in epoch seconds; None without one.
        claimable: Whether an item is todo, or its lease has ended.
        own: Whether a claim of this worker, or of an earlier attempt of its job, is unfinished.
        complete: Whether no more items are locked than those that were looked at.
        read: Whether the tables themselves were read, and not their indexes, which lag.
    """

    locked_by_others: int = 0
    until: float | None = None
    claimable: bool = False
    own: bool = False
    complete: bool = True
    read: bool = True

    def __add__(self, other: "TablesState") -> "TablesState":
        ends = [until for until in (self.until, other.until) if until is not None]
        return TablesState(
            self.locked_by_others + other.locked_by_others,
            max(ends, default=None),
            self.claimable or other.claimable,
            self.own or other.own,
            self.complete and other.complete,
            self.read and other.read,
        )


class OtherWorkers:
    """Reads the tables for the parent process.

    Args:
        tables: The tables.
        holder: Who claims here.
        earlier: Claims of an earlier attempt of this AWS Batch job.
        draw: Where random numbers come from.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        tables: Sequence[WorkflowTable],
        holder: Holder,
        earlier: Iterable[ClaimSent] = (),
        draw: random.Random | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._random = draw or random.Random()
        self._clock = clock
        self._earlier = list(earlier)
        self._readers = [_Reader(table, holder, self._random) for table in tables]

    def read_tables(
        self, unfinished: Collection[ClaimSent], *, closely: bool = False
    ) -> TablesState:
        """What the tables hold.

        Args:
            unfinished: Claims that processes of this worker left behind.
            closely: Read the tables themselves, as far as they are small, whatever their indexes
                list.

        Raises:
            AwsError: A request failed.
        """
        own = [*unfinished, *self._earlier]
        return sum((reader.state(own, closely=closely) for reader in self._readers), TablesState())

    @property
    def ended(self) -> Mapping[str, ItemId]:
        """An item of each table whose lease had ended when the table was last read; the tables
        without one are absent.
        """
        found = {reader.name: reader.ended for reader in self._readers}
        return {name: item_id for name, item_id in found.items() if item_id is not None}

    def wait(self, unfinished: Collection[ClaimSent], rest: Callable[[float], bool]) -> bool:
        """Wait until an item may be claimed.

        Args:
            unfinished: As for `read_tables`.
            rest: Waits for some seconds; False if the worker should end.

        Returns:
            False if no worker holds an item any more and nothing is left, or the worker should end.

        Raises:
            AwsError: A table cannot be read; a passing fault is retried for UNREACHABLE_SECONDS.
        """
        pause = GrowingPause(FIRST_PAUSE, LONGEST_PAUSE, self._random)
        reached = self._clock()
        while True:
            try:
                state = self.read_tables(unfinished)
            except TransientError as fault:
                if self._clock() > reached + UNREACHABLE_SECONDS:
                    raise
                logger.warning("reading the tables: %s; trying again", fault)
            else:
                reached = self._clock()
                if state.claimable or not state.locked_by_others:
                    return state.claimable
            logger.info("waiting for what other workers hold")
            if not rest(pause.next()):
                return False


class _Reader:
    """Reads one table.

    Attributes:
        name: The table's name.
        ended: An item whose lease had ended when `state` was last called, if it saw one.
    """

    def __init__(self, table: WorkflowTable, holder: Holder, draw: random.Random) -> None:
        self.name = table.name
        self.ended: ItemId | None = None
        self._table = table
        self._holder = holder
        self._leases = EndedLeases(table, draw)
        self._is_large = False

    def state(self, own: Collection[ClaimSent], *, closely: bool) -> TablesState:
        """What the table holds. An index that lags lists items as todo that others have claimed, so
        the table itself is read where waiting would be over, if it is small enough.
        """
        mine = [claim for claim in own if claim.table == self.name]
        self.ended = None
        if closely and (state := self._read_all(mine)):
            return state
        locked = self._leases.next_page(NEVER)
        todo = self._table.last_todo() is not None
        listed = replace(
            self._judged(locked, mine, todo=todo, complete=self._leases.complete), read=False
        )
        if closely or (listed.locked_by_others and not listed.claimable):
            return listed
        return self._read_all(mine) or listed

    def _judged(
        self, locked: Sequence[Item], mine: Sequence[ClaimSent], *, todo: bool, complete: bool
    ) -> TablesState:
        """What these locked items mean."""
        locks = {claim.lock_id for claim in mine}
        there = {item.lock_id for item in locked}
        others = [i for i in locked if i.lock_id not in locks and not self._holder.held_before(i)]
        past = self._table.clock.surely_past()
        leases = {i.item_id: i.lease_expires for i in others if i.lease_expires is not None}
        live = [expires for expires in leases.values() if expires >= past]
        ended = (item_id for item_id, expires in leases.items() if expires < past)
        self.ended = next(ended, self.ended)
        own = len(others) < len(locked)
        if not own and not complete:
            own = any(claim.lock_id not in there and self._holds(claim) for claim in mine)
        claimable = todo or len(live) < len(leases)
        return TablesState(len(live), max(live, default=None), claimable, own, complete)

    def _holds(self, claim: ClaimSent) -> bool:
        """Whether a claim is unfinished."""
        page = self._table.leases(claim.item_id, NEVER, 1)
        return any(item.lock_id == claim.lock_id for item in page.items)

    def _read_all(self, mine: Sequence[ClaimSent]) -> TablesState | None:
        """What the table itself holds; None if it is too large, or cannot be read, and what was
        read of it shows nothing to claim. Where it is throttled, the next call reads it from its
        beginning: what was read before may no longer be true.
        """
        if self._is_large:
            return None
        locked: list[Item] = []
        todo, rest, complete = False, None, False
        with suppress(AccessDenied, Throttled):
            for _ in range(TABLE_PAGES):
                page = self._table.claimable_page(rest)
                locked += page.locked
                todo = todo or bool(page.todo)
                rest = page.rest
                complete = rest is None
                if complete:
                    break
            self._is_large = not complete
        # Own claims on pages that were not read make no difference where an item can be claimed
        state = self._judged(locked, mine, todo=todo, complete=True)
        return replace(state, complete=complete) if complete or state.claimable else None
