"""What other workers hold, and waiting for it.

Guaranteed: the parent process looks seldom, and by a client of its own, since the credentials of
the one that checked the table may have expired. Not guaranteed: that what it sees is still so when
a process claims.
"""

import logging
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass

from anamo.aws import session
from anamo.aws.consumed_capacity import ConsumedCapacity
from anamo.aws.table import WorkflowTable
from anamo.core.errors import AccessDenied, AwsError, Throttled
from anamo.core.item import Item
from anamo.worker.claimer import TABLE_PAGES
from anamo.worker.options import Options

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two looks: others seldom give items back, and most leases end later."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What the table holds for other workers and for this one.

    Attributes:
        held: Items locked with a lease that has not ended.
        until: When the last of these leases ends, in epoch seconds; None without one.
        claimable: Whether an item is todo, or its lease has ended.
    """

    held: int
    until: float | None
    claimable: bool


class OtherWorkers:
    """Looks at a table for the parent process.

    Attributes:
        consumed: Requests and units of all looks.
    """

    def __init__(self, options: Options) -> None:
        self.consumed = ConsumedCapacity()
        self._options = options

    def look(self, own: Set[str]) -> Look | None:
        """Look at the table; None where it cannot be asked.

        Args:
            own: LockIDs of claims that processes of this worker left behind.
        """
        try:
            client = session.dynamodb_client(self._options.region)
            table = WorkflowTable(client, self._options.table)
            locked, todo = _read(table)
        except AwsError as error:
            logger.debug("looking at the table: %s", error)
            return None
        self.consumed += table.meter.consumed
        now = table.clock.surely_past()
        others = [item for item in locked if item.lock_id not in own]
        leases = [item.lease_expires for item in others if item.lease_expires is not None]
        live = [expires for expires in leases if expires >= now]
        return Look(len(live), max(live, default=None), todo or len(live) < len(leases))

    def wait(self, own: Set[str], rest: Callable[[float], bool]) -> bool:
        """Wait until an item may be claimed.

        Args:
            own: As for `look`.
            rest: Waits for some seconds; False if the worker should end.

        Returns:
            False if no worker holds an item any more and nothing is left, or the worker should end.
        """
        pause = FIRST_PAUSE
        while True:
            look = self.look(own)
            if look and look.claimable:
                return True
            if look and not look.held:
                return False
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
