"""Finds leases that have ended, a page of the locked items at a time.

Guaranteed: a page takes one request, two at the first and where a page ends with the last locked
item, however many are locked and however many workers read. Where no more than a page is locked,
each page shows all of them. Where there are more, each worker continues from page to page from a
random place, so that one worker alone sees every item in the end, and many see them sooner. A page
that DynamoDB throttles is read again from where it began.

Not guaranteed: that the index lists what was locked a moment ago.
"""

import random

from anamo.aws.table import WorkflowTable
from anamo.core.codec import SMALLEST_ID, ItemId
from anamo.core.item import ID_BITS, Item, State

LEASES_PAGE = 1000
"""Items per page: some 30 read units where the index is narrow."""

NEVER = 1 << 60
"""A time after the end of any lease."""


class EndedLeases:
    """The locked items of one table, page after page.

    Args:
        table: The table.
        draw: Where random numbers come from.
        start: An item to begin at, where one is known whose lease has ended; None for a random
            place.

    Attributes:
        locked: How many items were locked when `next_page` last returned; at least, unless
            `complete`.
        complete: Whether it saw all of them.
    """

    def __init__(
        self, table: WorkflowTable, draw: random.Random, start: ItemId | None = None
    ) -> None:
        self.locked = 0
        self.complete = False
        self._table = table
        self._random = draw
        self._start = start
        self._found: dict[ItemId, Item] = {}
        self._seen = 0

    def next_page(self, before: int, instance: str | None = None) -> list[Item]:
        """The items of the next page whose leases end before a time, or that an InstanceID holds.

        Raises:
            AwsError: A request failed. The next call continues from there.
        """
        if self._start is None:
            last = self._table.last(State.LOCKED.value)
            if last is None:
                self.locked, self.complete = 0, True
                return []
            # Of other tools' itemIDs, some are larger than any integer that DynamoDB takes
            self._start = self._random.randrange(min(max(int(last), 0) + 1, 1 << ID_BITS))
        whole = self._read(before, instance)
        if self._start == SMALLEST_ID and not whole:
            # The last page ended with the last item. Where few are locked, this one is all there is
            whole = self._read(before, instance)
        self.locked, self.complete = self._seen, whole
        found, self._found, self._seen = [*self._found.values()], {}, 0
        return found

    def _read(self, before: int, instance: str | None) -> bool:
        """Read a page; whether it holds all that is locked."""
        start = SMALLEST_ID if self._start is None else self._start
        page = self._table.leases(start, before, LEASES_PAGE, instance)
        self._found |= {item.item_id: item for item in page.items}
        self._seen = max(self._seen, page.locked)
        self._start = SMALLEST_ID if page.rest is None else page.rest
        return start == SMALLEST_ID and page.rest is None
