"""What other workers hold, and waiting for it.

Guaranteed: the parent process looks seldom, and by a client of its own, since the credentials of
the one that checked the table may have expired. Not guaranteed: that what it sees is still so when
a process claims.
"""

import logging
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from anamo.aws import session
from anamo.aws.clock import DatabaseClock
from anamo.aws.consumed_capacity import ConsumedCapacity
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.errors import AccessDenied, Throttled, TransientError
from anamo.core.item import Item
from anamo.worker.claimer import TABLE_PAGES
from anamo.worker.options import Options

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two looks: others seldom give items back, and most leases end later."""

PATIENCE_SECONDS = 900.0
"""How long DynamoDB may be out of reach while a worker waits."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What the table holds for other workers and for this one.

    Attributes:
        held: Items locked with a lease that has not ended.
        until: When the last of these leases ends, in epoch seconds; None without one.
        claimable: Whether an item is todo, or its lease has ended.
        own: Whether a claim of this worker, or of an earlier attempt of its job, is unfinished.
    """

    held: int
    until: float | None
    claimable: bool
    own: bool


class OtherWorkers:
    """Looks at a table for the parent process.

    Attributes:
        consumed: Requests and units of all looks.
    """

    def __init__(self, options: Options, holder: Holder) -> None:
        self.consumed = ConsumedCapacity()
        self._options = options
        self._holder = holder
        # One for all looks: it believes no time that few replies have told
        self._clock = DatabaseClock()

    def look(self, left: Set[str]) -> Look:
        """Look at the table.

        Args:
            left: LockIDs of claims that processes of this worker left behind.

        Raises:
            AwsError: A request failed.
        """
        client = session.dynamodb_client(self._options.region)
        table = WorkflowTable(client, self._options.table, clock=self._clock)
        locked, todo = _read(table)
        self.consumed += table.meter.consumed
        own = [item for item in locked if item.lock_id in left or self._holder.held_before(item)]
        others = [item for item in locked if item not in own]
        leases = [item.lease_expires for item in others if item.lease_expires is not None]
        live = [expires for expires in leases if expires >= self._clock.surely_past()]
        claimable = todo or len(live) < len(leases)
        return Look(len(live), max(live, default=None), claimable, bool(own))

    def wait(self, left: Set[str], rest: Callable[[float], bool]) -> bool:
        """Wait until an item may be claimed.

        Args:
            left: As for `look`.
            rest: Waits for some seconds; False if the worker should end.

        Returns:
            False if no worker holds an item any more and nothing is left, or the worker should end.

        Raises:
            AwsError: The table cannot be asked; a passing fault is waited out for PATIENCE_SECONDS.
        """
        pause = FIRST_PAUSE
        answered = monotonic()
        while True:
            try:
                look = self.look(left)
            except TransientError as fault:
                if monotonic() > answered + PATIENCE_SECONDS:
                    raise
                logger.warning("looking at the table: %s; trying again", fault)
            else:
                answered = monotonic()
                if look.claimable or not look.held:
                    return look.claimable
            logger.info("waiting for what other workers hold")
            if not rest(pause):
                return False
            pause = min(2 * pause, LONGEST_PAUSE)


def _read(table: WorkflowTable) -> tuple[list[Item], bool]:
    """The locked items of a table, and whether one is todo.

    By the table itself if it is small enough: an index that lags lists items as todo that others
    have claimed.
    """
    locked: list[Item] = []
    todo = False
    rest = None
    with suppress(AccessDenied, Throttled):
        for _ in range(TABLE_PAGES):
            page = table.look(rest)
            locked += page.locked
            todo = todo or bool(page.todo)
            rest = page.rest
            if rest is None:
                return locked, todo
    return list(table.locked()), table.last_todo() is not None
