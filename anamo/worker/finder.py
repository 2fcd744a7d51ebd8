"""Finding the next item in the tables of a worker, and finding out that none is left.

Guaranteed: a claim is made in the first table that has something todo, in the order given; a table
that had nothing is queried again within ASK_SECONDS, so an earlier table that gets new items goes
first again from then on. Nothing is left only if that is true of every table. Waits grow, and
differ from worker to worker. Not guaranteed: that an ended lease goes before what is todo.

It does not wait itself: the caller waits for `pause` seconds.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from anamo.aws.table import WorkflowTable
from anamo.core.item import Item
from anamo.worker.claimer import Claimer

ASK_SECONDS = 15.0
"""Longest time between two queries of an index that listed nothing; the first are sooner."""

LAG_SECONDS = 1.0
"""Shortest time until an index that gives no claim is believed, where not all of the table could be
read; also from one read of the table to the next, and how long workers that race for the last items
leave the table alone."""


SPREAD_SECONDS = 3.0
"""By how much the idle times of a worker's processes may differ and still count as one: they start
one after another."""


@dataclass(frozen=True, slots=True)
class Found:
    """An item that was claimed, and its table."""

    table: WorkflowTable
    item: Item


@dataclass(slots=True)
class _Source:
    """A table, and when its index is queried next."""

    claimer: Claimer
    query_due: float = 0.0
    pause: float = 0.0


class Finder:
    """Finds items for one process.

    Args:
        claimers: One for each table, in order.
        idle_timeout: How long to keep searching after no item was found, in seconds.
        draw: Where random numbers come from.
        clock: Monotonic seconds.

    Attributes:
        over: Whether nothing is left, as the last `search` showed.
    """

    def __init__(
        self,
        claimers: Sequence[Claimer],
        idle_timeout: float,
        draw: random.Random | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.over = False
        self._sources = [_Source(claimer) for claimer in claimers]
        self._idle_timeout = idle_timeout
        self._random = draw or random.Random()
        self._clock = clock
        self._idle_since: float | None = None
        self._asked_since = 0.0
        self._scan_due = 0.0

    def begin(self) -> None:
        """Begin to search for an item: the idle time begins again, and so does reading a table."""
        self._idle_since, self.over = None, False
        for source in self._sources:
            source.claimer.restart()

    def refresh(self) -> None:
        """Query every index again at the next call: there may be something new."""
        for source in self._sources:
            source.query_due = 0.0

    def claim(self) -> Found | None:
        """Claim an item that an index lists as todo.

        Raises:
            AwsError: A request failed. The next call repeats the same claim first.
        """
        if found := self._first(Claimer.claim_own):
            return found
        now, asked = self._clock(), self._sources
        if self._idle_since is None:
            # Nothing is left only if no index has anything now, those asked a moment ago included
            asked = sorted(asked, key=lambda source: source.query_due > now)
        else:
            asked = [source for source in asked if source.query_due <= now]
        for source in asked:
            if found := self._ask(source):
                return found
        if self._idle_since is None:
            self._idle_since, self._asked_since = self._clock(), now
            self._scan_due = self._idle_since + self._idle_timeout
        return None

    def search(self) -> Found | None:
        """As `claim`; if that finds nothing, take over an item whose lease has ended. Last, claim
        what the tables themselves show.

        Raises:
            AwsError: As `claim`.
        """
        found = self.claim()
        if found or self._racing():
            return found
        found = self._first(Claimer.take_over)
        if found or self._clock() < self._scan_due or self._awaits():
            return found
        if found := self._first(Claimer.claim_by_table):
            return found
        waited = self._waited()
        self.over = not self._awaits() and all(
            _is_empty(source.claimer, waited) for source in self._sources
        )
        # It is read again soon if others are just claiming what it shows; a large table ever less
        # often
        claimers = [source.claimer for source in self._sources]
        again = 0.0 if any(claimer.claimable for claimer in claimers) else 2 * waited
        lag = max(claimer.lag.wait for claimer in claimers)
        self._scan_due = self._clock() - waited + max(waited + LAG_SECONDS, lag, again)
        return None

    @property
    def evidence_since(self) -> float:
        """The time, by the clock, of the oldest read that the last `search` relied on: it may have
        missed an item given back after that.

        That is the reading of a table, where it was read to its end. Otherwise it is the first
        time that no index gave a claim, since an index is only believed after a while.
        """
        return min(
            source.claimer.read_since if source.claimer.claimable is False else self._asked_since
            for source in self._sources
        )

    @property
    def agrees(self) -> bool:
        """Whether nothing is left for this process either, given that another has found nothing:
        its own idle time is over, or nearly so, and it is not yet to take over what it inherited.
        """
        return not self._awaits() and self._waited() >= self._idle_timeout - SPREAD_SECONDS

    @property
    def pause(self) -> float:
        """Seconds until the next search is due."""
        now = self._clock()
        due = [source.query_due for source in self._sources]
        if self._racing():
            due.append(self._race_ends)
        else:
            due += [source.claimer.leases_due for source in self._sources]
            if self._scan_due > now:
                due.append(self._scan_due)
        return max(min(due) - now, 0.0)

    @property
    def locked(self) -> int:
        """How many items were locked when the leases were last queried, at least."""
        return sum(source.claimer.locked for source in self._sources)

    def _ask(self, source: _Source) -> Found | None:
        """Claim by an index; where it has nothing, it is asked less and less often."""
        if item := source.claimer.claim():
            source.pause = source.query_due = 0.0
            return Found(source.claimer.table, item)
        first = source.claimer.lag.pause or LAG_SECONDS
        source.pause = min(2 * source.pause, ASK_SECONDS) or first
        source.query_due = self._clock() + source.pause * self._random.uniform(0.75, 1)
        return None

    def _first(self, claim: Callable[[Claimer], Item | None]) -> Found | None:
        """The item of the first table that gives one."""
        for source in self._sources:
            if item := claim(source.claimer):
                return Found(source.claimer.table, item)
        return None

    def _since(self) -> float:
        """When no index gave a claim for the first time; now, if one may still give one."""
        return self._clock() if self._idle_since is None else self._idle_since

    def _waited(self) -> float:
        """Seconds since no index gave a claim for the first time."""
        return self._clock() - self._since()

    def _racing(self) -> bool:
        """Whether other workers want the same items; then not all of them need search further."""
        refused = any(source.claimer.lag.pause for source in self._sources)
        return refused and self._clock() < self._race_ends

    @property
    def _race_ends(self) -> float:
        """When the tables are searched although others want the same items."""
        return self._since() + LAG_SECONDS

    def _awaits(self) -> bool:
        """Whether this process is yet to take over an item of one that it replaces."""
        return any(source.claimer.awaited for source in self._sources)


def _is_empty(claimer: Claimer, waited: float) -> bool:
    """Whether a table has nothing to claim; its index has given no claim for so many seconds."""
    if claimer.claimable is None:
        return waited >= LAG_SECONDS and claimer.lag.settled(waited, listed=claimer.listed)
    return not claimer.claimable
