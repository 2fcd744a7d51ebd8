"""Keeping leases alive.

Guaranteed: as long as the process lives and reaches DynamoDB, the leases of its claims do not end;
a claim that turns out lost is marked so, and the main thread is woken. A request that fails is
sent again until it passes.
"""

import logging
import threading
from collections.abc import Callable, Iterable

from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.errors import AwsError
from anamo.worker.claim import Claim

SHARE = 3
"""A lease is renewed every third of it, so that two renewals may fail before it ends."""

AGAIN_SECONDS = 5.0
"""Most seconds until a renewal that failed is sent again."""

logger = logging.getLogger(__name__)


class Heartbeat:
    """Renews the leases of the claims that `held` gives, in a thread of its own; `wake` is called
    when one is lost.
    """

    def __init__(
        self,
        table: WorkflowTable,
        holder: Holder,
        held: Callable[[], Iterable[Claim]],
        wake: Callable[[], object],
    ) -> None:
        self._table = table
        self._holder = holder
        self._held = held
        self._wake = wake
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Renew no more."""
        self._ended.set()

    def _run(self) -> None:
        interval = self._holder.lease / SHARE
        wait = interval
        while not self._ended.wait(wait):
            renewed = [self._renew(claim) for claim in self._held()]
            wait = interval if all(renewed) else min(interval / 2, AGAIN_SECONDS)

    def _renew(self, claim: Claim) -> bool:
        """Whether the claim needs no further renewal now."""
        if claim.lost:
            return True
        try:
            held = self._table.renew(claim.item.item_id, claim.item.lock_id, self._holder)
        except AwsError as error:
            logger.warning("lease of item %d: %s; trying again", claim.item.item_id, error)
            return False
        if not held and claim in self._held():
            claim.lost = True
            self._wake()
        return True
