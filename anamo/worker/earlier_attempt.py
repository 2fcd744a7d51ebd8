"""What an earlier attempt of this AWS Batch job has left locked.

Guaranteed: finding it costs as many requests as there are such items, and a few, however many
others are locked. Not guaranteed: that all are found, since indexes lag behind; a claimer that
looks for ended leases finds the rest.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from anamo.aws.pages import LeasePage
from anamo.aws.retry import Retry, RetryPolicy
from anamo.aws.table import WorkflowTable
from anamo.aws.table_admin import CHECK_SECONDS, NOT_RETRIED
from anamo.aws.table_writes import Holder
from anamo.core.codec import SMALLEST_ID, ItemId
from anamo.core.errors import AccessDenied, TransientError
from anamo.core.item import Item
from anamo.worker.ended_leases import LEASES_PAGE

logger = logging.getLogger(__name__)


def left_by_earlier_attempt(
    tables: Sequence[WorkflowTable], holder: Holder, retries: RetryPolicy
) -> Mapping[str, Sequence[Item]]:
    """What an earlier attempt holds, by table.

    Args:
        tables: The tables, in their order.
        holder: Who claims; nothing is read for the first attempt of a job, or outside of AWS Batch.
        retries: How to wait between attempts of a request.

    Raises:
        AwsError: A table cannot be asked.
    """
    if holder.attempt < 2:
        return {}
    retry = partial(retries.retry, seconds=CHECK_SECONDS, say=_warn, not_retried=NOT_RETRIED)
    return {table.name: _held_before(table, holder, retry) for table in tables}


def _held_before(table: WorkflowTable, holder: Holder, retry: Retry) -> Sequence[Item]:
    try:
        pages = list(_pages_of_instance(table, holder, retry))
    except AccessDenied as fault:
        # The policy of an earlier version allows no query of InstanceStateIndex
        logger.debug("reading all locked items instead: %s", fault)
        pages = list(_all_pages(table, holder, retry))
    found = {item.item_id: item for page in pages for item in page.items}
    return list(filter(holder.held_before, found.values()))


def _pages_of_instance(table: WorkflowTable, holder: Holder, retry: Retry) -> Iterator[LeasePage]:
    """A page for each item that InstanceStateIndex lists, which has no more of it than its key."""
    for item_id in table.locked_by(holder.instance_id, retry):
        yield _page(table, holder, retry, item_id, 1)


def _all_pages(table: WorkflowTable, holder: Holder, retry: Retry) -> Iterator[LeasePage]:
    start: ItemId | None = SMALLEST_ID
    while start is not None:
        page = _page(table, holder, retry, start, LEASES_PAGE)
        yield page
        start = page.rest


def _page(
    table: WorkflowTable, holder: Holder, retry: Retry, start: ItemId, limit: int
) -> LeasePage:
    """What the holder's InstanceID holds of a page of the locked items."""
    return retry(lambda: table.leases(start, 0, limit, holder.instance_id))


def _warn(fault: TransientError) -> None:
    logger.warning("reading what an earlier attempt left: %s; trying again", fault)
