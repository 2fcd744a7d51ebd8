"""The claims that a worker process may hold, known to its parent even when the process is killed.

Guaranteed: the parent's end of the pipe has a claim before its request is sent, so whatever a
process can hold in the table when it dies, its parent knows. What a process wrote to the pipe can
be read after its death.

Not guaranteed: that a claim noted here was won. The table alone says that.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from anamo.core.codec import ItemId
from anamo.worker.messages import ItemEnded
from anamo.worker.process_tree import now

Send = Callable[[object], object]
"""Sends a message to the parent."""


@dataclass(frozen=True, slots=True)
class ClaimSent:
    """From a process: the request for a claim is about to be sent.

    Attributes:
        table: The name of the item's table.
        sent: The time, by `process_tree.now`.
    """

    table: str
    item_id: ItemId
    lock_id: str
    sent: float


@dataclass(frozen=True, slots=True)
class ClaimNotWon:
    """From a process: a claim was not won."""

    lock_id: str


@dataclass(frozen=True, slots=True)
class ClaimWon:
    """From a process: a claim was won, and its tasks begin."""

    lock_id: str
    task_id: str


@dataclass(frozen=True, slots=True)
class Run:
    """A claim whose tasks run.

    Attributes:
        task_id: The item's task id.
        seconds: For how long.
    """

    task_id: str
    seconds: float


class InFlightClaims:
    """The claims of a worker process, in that process. Any of its threads may call it.

    Attributes:
        inherited: The claims of a process that died, which this one stands in for.
    """

    def __init__(self, send: Send, inherited: Collection[ClaimSent]) -> None:
        self.inherited = inherited
        self._send = send

    def add(self, table: str, item_id: ItemId, lock_id: str) -> None:
        """Note a claim whose request is about to be sent."""
        self._send(ClaimSent(table, item_id, lock_id, now()))

    def won(self, lock_id: str, task_id: str) -> None:
        """Say which task id a claim that was won is for."""
        self._send(ClaimWon(lock_id, task_id))

    def not_won(self, lock_id: str) -> None:
        """Forget a claim that was not won."""
        self._send(ClaimNotWon(lock_id))


class ClaimsOfProcess:
    """The claims of one worker process, in its parent."""

    def __init__(self) -> None:
        self._claims: dict[str, ClaimSent] = {}
        self._task_ids: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def note(self, message: object) -> None:
        """Take a message of the process into account; most are about other things."""
        if isinstance(message, ClaimSent):
            self._claims[message.lock_id] = message
        elif isinstance(message, (ClaimNotWon, ItemEnded)):
            self._claims.pop(message.lock_id, None)
            self._task_ids.pop(message.lock_id, None)
        elif isinstance(message, ClaimWon):
            self._task_ids[message.lock_id] = message.task_id

    def all(self) -> tuple[ClaimSent, ...]:
        """The claims."""
        return tuple(self._claims.values())

    def runs(self) -> list[Run]:
        """The claims whose tasks run."""
        return [
            Run(task_id, now() - self._claims[lock_id].sent)
            for lock_id, task_id in self._task_ids.items()
            if lock_id in self._claims
        ]

    def oldest(self) -> float | None:
        """When the first request was sent, by `process_tree.now`; None without a claim."""
        return min((claim.sent for claim in self._claims.values()), default=None)
