"""Pages of items, and the parts of a table that reads are asked for."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from anamo.core.codec import ItemId
from anamo.core.item import Item
from anamo.core.record import Record


@dataclass(frozen=True, slots=True)
class ItemStates:
    """The response to one BatchGetItem.

    Attributes:
        states: The states of the items that the table has, by itemID.
        unread: The itemIDs that DynamoDB did not read: a response has at most 16 MB, and a table
            that throttles responds in part.
    """

    states: Mapping[ItemId, str]
    unread: Set[ItemId]


@dataclass(frozen=True, slots=True)
class Part:
    """The items of a state from one itemID to another, both included; None is open."""

    state: str
    first: ItemId | None = None
    last: ItemId | None = None


@dataclass(frozen=True, slots=True)
class QueryPage:
    """One page of a query.

    Attributes:
        records: Items in the order of their itemIDs.
        rest: The part that is yet to be read; None after the last page.
    """

    records: Sequence[Record]
    rest: Part | None


@dataclass(frozen=True, slots=True)
class LeasePage:
    """One page of the items that are locked.

    Attributes:
        items: Those that were asked for, without results, in the order of their itemIDs.
        locked: How many items were read, those that were not asked for too.
        rest: The itemID that the next page begins with; None after the last.
    """

    items: Sequence[Item]
    locked: int
    rest: ItemId | None


@dataclass(frozen=True, slots=True)
class ClaimablePage:
    """What can be claimed, now or later, of a page of the table itself.

    Attributes:
        todo: Todo items.
        locked: Locked items, without results.
        rest: Where the next page begins; None after the last.
    """

    todo: Sequence[Item]
    locked: Sequence[Item]
    rest: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a table that is scanned.

    Attributes:
        number: Which of the parts, from 0.
        parts: How many parts the table is divided into.
        after: The key to continue after; None at the beginning.
    """

    number: int
    parts: int
    after: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ScanPage:
    """One page of a scan: its items, and what is yet to be read of its segment, if anything."""

    records: Sequence[Record]
    rest: Segment | None
