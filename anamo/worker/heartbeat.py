"""Renewing leases.

Guaranteed: as long as the process lives and reaches DynamoDB, the leases of its claims do not
expire; a claim that turns out to be lost is marked as lost, and the main thread is woken. A renewal
that fails, for whatever reason, is reported once and retried until it succeeds.
"""

import logging
import threading
from collections.abc import Callable, Iterable

from anamo.aws.clock import DatabaseClock
from anamo.aws.table_writes import Holder
from anamo.core.errors import AnamoError, internal
from anamo.core.pacing import RENEWALS
from anamo.worker.claim import Claim
from anamo.worker.host import start_thread

RETRY_SECONDS = 5.0
"""Longest wait before a renewal that failed is retried."""

logger = logging.getLogger(__name__)


class Heartbeat:
    """Renews the leases of claims, in a thread of its own."""

    def __init__(
        self,
        clock: DatabaseClock,
        holder: Holder,
        claims: Callable[[], Iterable[Claim]],
        wake: Callable[[], object],
    ) -> None:
        """Start the thread.

        Args:
            clock: The clock of their tables.
            holder: Who holds them, and for how long a lease lasts.
            claims: Returns the claims held now; called in the heartbeat's thread, as is `wake`.
            wake: Called when a claim is lost.
        """
        self._clock = clock
        self._holder = holder
        self._claims = claims
        self._wake = wake
        self._ended = False
        self._failing: set[Claim] = set()
        self._due = threading.Event()
        start_thread("heartbeat", self._run)

    def close(self) -> None:
        """Stop renewing; returns at once."""
        self._ended = True
        self._due.set()

    def renew_now(self) -> None:
        """Renew at once, since a claim has news for the table; returns at once."""
        self._due.set()

    def _run(self) -> None:
        interval = self._holder.lease / RENEWALS
        wait = interval
        while True:
            self._due.wait(wait)
            self._due.clear()
            if self._ended:
                return
            claims = list(self._claims())
            self._failing.intersection_update(claims)
            renewed = [self._renew(claim) for claim in claims]
            # After it was suspended, a machine renews by the time at which that began, until some
            # responses agree on a later one
            settled = all(renewed) and not self._clock.doubtful
            wait = interval if settled else min(interval / 2, RETRY_SECONDS)

    def _renew(self, claim: Claim) -> bool:
        """Whether the claim needs no further renewal now."""
        if claim.lost:
            return True
        try:
            item = claim.item
            held = claim.table.renew(item.item_id, item.lock_id, self._holder, claim.so_far)
        except Exception as error:
            # Were this thread to end, every later lease would expire under its task
            logger.debug("heartbeat", exc_info=True)
            fault = error if isinstance(error, AnamoError) else internal(error)
            # Once, until a renewal succeeds: DynamoDB may be out of reach for an hour
            level = logging.INFO if claim in self._failing else logging.WARNING
            logger.log(level, "lease of item %d: %s; trying again", claim.item.item_id, fault)
            self._failing.add(claim)
            return False
        self._failing.discard(claim)
        if not held and claim in self._claims():
            claim.lost = True
            self._wake()
        return True
