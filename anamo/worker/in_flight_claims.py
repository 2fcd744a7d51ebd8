"""The claims that a worker process may hold, known to its parent even when the process is killed.

Guaranteed: the parent's end of the pipe has a claim before its request is sent, so whatever a
process can hold in the table when it dies, its parent knows. What a process wrote to the pipe can
be read after its death.

Not guaranteed: that a claim noted here was won. The table alone says that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anamo.core.codec import ItemId

Send = Callable[[object], object]
"""Sends a message to the parent."""


@dataclass(frozen=True, slots=True)
class ClaimSent:
    """From a process: the request for a claim is about to be sent."""

    item_id: ItemId
    lock_id: str


@dataclass(frozen=True, slots=True)
class ClaimEnded:
    """From a process: a claim has ended, or was not won."""

    lock_id: str


class InFlightClaims:
    """The claims of a worker process, in that process. Any of its threads may call it.

    Attributes:
        inherited: LockIDs by itemID of the claims of a process that died, which this one stands in
            for.
    """

    def __init__(self, send: Send, inherited: Mapping[ItemId, str]) -> None:
        self.inherited = inherited
        self._send = send

    def add(self, item_id: ItemId, lock_id: str) -> None:
        """Note a claim whose request is about to be sent."""
        self._send(ClaimSent(item_id, lock_id))

    def drop(self, lock_id: str) -> None:
        """Forget a claim that was not won, or has ended."""
        self._send(ClaimEnded(lock_id))


class ReportedClaims:
    """The claims of one worker process, in its parent."""

    def __init__(self) -> None:
        self._items: dict[str, ItemId] = {}

    def __len__(self) -> int:
        return len(self._items)

    def note(self, message: object) -> None:
        """Take a message of the process into account; most are about other things."""
        if isinstance(message, ClaimSent):
            self._items[message.lock_id] = message.item_id
        elif isinstance(message, ClaimEnded):
            self._items.pop(message.lock_id, None)

    def lock_ids(self) -> dict[ItemId, str]:
        """LockIDs by itemID."""
        return {item_id: lock_id for lock_id, item_id in self._items.items()}
