"""The room that items take in DynamoDB, and what it leaves for the output of their tasks.

Guaranteed: an item for which `tail_limit` gives at least SMALLEST_TAIL stays within ITEM_LIMIT
whatever its tasks print, as long as the log prefix keeps to PREFIX_LIMIT.
"""

from bisect import bisect_left
from decimal import Decimal
from functools import cache
from typing import Any

from anamo.core.codec import Values
from anamo.core.item import Item, nested_item, new_values
from anamo.core.log_entry import FAILED, MOST_PREFIXES, NOTE_LIMIT, PREFIX_LIMIT, LogEntry, log_key

ITEM_LIMIT = 400 * 1024
"""Bytes of the largest item that DynamoDB stores, attribute names included."""

STREAM_TAIL = 2048
"""The most bytes of one stream of a task's output that its item holds; all of it is in S3."""

ALL_TAILS = 200_000
"""The most bytes of output in one item, so that half of it is left for everything else."""

SMALLEST_TAIL = 64
"""Bytes that each stream must have room for, or the importer refuses the line: less is no use."""

CLAIM_ROOM = 3_200
"""Bytes for what claims and their end write besides the log and S3_Prefixes: lockID, InstanceID (up
to 1,024 bytes), dates, lease, counters, host error, and the address of the output so far (up to
700)."""

HOST_ERROR_LIMIT = 500
"""Bytes of the host error in an item."""

BUCKET_LIMIT = 63
"""Bytes of a bucket's name."""


def size_of(values: Values) -> int:
    """Bytes DynamoDB counts for attributes: names and strings in UTF-8, numbers by their digits,
    3 bytes for a list or map and 1 for each of its elements (the developer guide's item sizes).
    """
    return sum(text_size(name) + value_size(value) for name, value in values.items())


def value_size(value: Any) -> int:
    """Bytes of one attribute value."""
    if isinstance(value, str):
        return text_size(value)
    if isinstance(value, dict):
        return 3 + len(value) + size_of(value)
    if isinstance(value, (list, set)):
        return 3 + len(value) + sum(map(value_size, value))
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, (int, Decimal)):
        return len(str(value)) // 2 + 2
    return len(bytes(value))


def text_size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


def tail_limit(item: Item, table: str) -> int:
    """The room for the output of an item's tasks.

    Args:
        item: The item, with its Task Scripts.
        table: Its table's name, which is part of the addresses of its logs.

    Returns:
        Bytes that each of a task's streams (stdout, stderr, tags) may take in the item so that all
        of its entries fit; below SMALLEST_TAIL, even negative, where the item is too large.
    """
    key = text_size(log_key("p" * PREFIX_LIMIT, table, item, "l" * 32, _last(item)))
    # Claims that leave no prefix write whole addresses
    prefixes = MOST_PREFIXES * (key + BUCKET_LIMIT) if item.is_nested else 0
    entries = item.tasks * (_largest_entry() + key + text_size(_last(item) or "") + 1)
    fixed = size_of(new_values(item)) + CLAIM_ROOM + prefixes + entries
    share = (ITEM_LIMIT - fixed) // (3 * item.tasks)
    return min(STREAM_TAIL, ALL_TAILS // (3 * item.tasks), share)


def fitting_tasks(item: Item, table: str) -> int:
    """How many of the nested tasks of an item that is too large, in their order, fit in one; at
    least 1.
    """

    def too_many(tasks: int) -> bool:
        part = nested_item(item.task_id, [task.script for task in item.nested[:tasks]])
        return tail_limit(part, table) < SMALLEST_TAIL

    return 1 + bisect_left(range(2, item.tasks), True, key=too_many)


def _last(item: Item) -> str | None:
    """A name at least as long as the longest of its nested tasks; None if it has none."""
    return f"Task_{item.tasks}" if item.is_nested else None


@cache
def _largest_entry() -> int:
    """Bytes of the largest entry without its streams and the key of its log."""
    largest = LogEntry(
        status=f"{FAILED}killed by signal 64",
        stdout="o",
        stderr="e",
        exit_code=255,
        seconds=99_999_999.999,
        max_rss_mb=9_999_999.9,
        s3=f"s3://{'b' * BUCKET_LIMIT}/",
        s3_range="999999999999-9999999999999",
        tags=("",),
        s3_note="n" * NOTE_LIMIT,
    )
    return value_size(largest.to_values())
