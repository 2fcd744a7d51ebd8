"""How far the index is behind its table, as far as one process can tell.

Usually less than a second. Where it is more, the index lists items as todo that were claimed or
have ended long ago, and does not list those that were just imported or given back.

Guaranteed: a process whose claims are refused repeatedly claims ever less often, however far the
index is behind, and returns to full speed with the first claim that it wins. Not guaranteed: that
the lag is known before it has been seen twice in the same item.
"""

from collections.abc import Callable
from time import monotonic

from anamo.core.codec import ItemId

STALE_SECONDS = 0.9
"""How long an item is skipped after an attempt to claim it, where the index is not known to lag: it
may still list it."""

MOST_LAG = 60.0
"""Longest lag in seconds that is believed: an item that others give back and claim again between
two queries of this process seems to have been listed all the time."""

FREE_REFUSALS = 3
"""Claims refused in a row without a pause: workers that race for the last items all lose some."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds: pauses between further refused claims, each twice as long as the one before."""

UNSEEN_SECONDS = 15.0
"""How long a process that cannot read the whole table waits for its index, if the index has never
listed an item to claim, or has not listed one that the table had: the table may have been filled a
moment ago."""

LONGEST_WAIT = 4 * MOST_LAG
"""How long an index may list what cannot be claimed until it is no longer waited for."""

MOST_ATTEMPTED = 1000
"""Items remembered as attempted until those that are no longer skipped are removed."""


class IndexLag:
    """What a process learns of the lag by its claims.

    Attributes:
        seconds: The longest lag seen.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._attempted: dict[ItemId, float] = {}
        self._unseen = True
        self._hidden = False
        self._refusals = 0

    def note(self, item_id: ItemId, listed_at: float | None, won: bool) -> None:
        """Learn from a claim of a todo item.

        Args:
            item_id: The item.
            listed_at: When the index listed it as todo; None if the table itself did.
            won: Whether this process has it now; otherwise somebody was quicker. Either way it is
                not todo at this moment.
        """
        now = self._clock()
        attempted = self._attempted.get(item_id)
        if won:
            self._refusals = 0
            self._unseen = False
            self._hidden = self._hidden or listed_at is None
        else:
            self._refusals += 1
            if attempted is not None and listed_at is not None:
                # It was no longer todo then, nor is it now, and was listed all the same
                self.seconds = min(max(self.seconds, listed_at - attempted), MOST_LAG)
        if len(self._attempted) > MOST_ATTEMPTED:
            self._attempted = {item: at for item, at in self._attempted.items() if self._recent(at)}
        self._attempted[item_id] = now

    def skips(self, item_id: ItemId) -> bool:
        """Whether the index may list an item only because it is behind."""
        attempted = self._attempted.get(item_id)
        return attempted is not None and self._recent(attempted)

    def _recent(self, attempted: float) -> bool:
        return self._clock() - attempted < max(STALE_SECONDS, 2 * self.seconds)

    @property
    def pause(self) -> float:
        """Seconds to wait before the next claim; 0 unless claims are refused repeatedly."""
        beyond = self._refusals - FREE_REFUSALS
        # The exponent is bounded since a float is
        return min(FIRST_PAUSE * 2 ** min(beyond, 10), LONGEST_PAUSE) if beyond >= 0 else 0.0

    @property
    def wait(self) -> float:
        """Seconds after which the index will probably list what is in the table now."""
        least = UNSEEN_SECONDS if self._unseen or self._hidden else 0.0
        return max(least, 1.5 * self.seconds)

    def settled(self, waited: float, *, listed: bool) -> bool:
        """Whether an index that gives no claim may be believed.

        Args:
            waited: Seconds since it gave none for the first time.
            listed: Whether it listed items as todo all the same: they are stale or, if they were
                given back, are skipped for now.
        """
        return waited >= (LONGEST_WAIT if listed else self.wait)
