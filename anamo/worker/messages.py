"""Messages between a worker process and its parent.

Those about claims are in `in_flight_claims`, those about turns in `turns`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from anamo.aws.consumed_capacity import NOTHING, ConsumedCapacity
from anamo.core.codec import ItemId


@dataclass(frozen=True, slots=True)
class StopRequest:
    """To a process: stop the tasks, give the item back, end."""


@dataclass(frozen=True, slots=True)
class ForceStop:
    """To a process: kill the tasks without waiting for the rest of the grace."""


@dataclass(frozen=True, slots=True)
class StartNoMore:
    """To a process: start no further task, and end when those that run have ended."""


@dataclass(frozen=True, slots=True)
class CountLeft:
    """To a process: count what is left in the tables."""


@dataclass(frozen=True, slots=True)
class ItemEnded:
    """From a process: a claim that was won has ended. The parent forgets it.

    Attributes:
        table: The name of the item's table.
        lock_id: The claim's own.
        state: The item's state now, or "lost" where another worker has it or nobody knows.
        done: How many tasks succeeded under this claim.
        failures: Names and statuses of the tasks that failed under this claim.
        all_done: How many of the item's tasks are done by now.
        tasks: How many tasks the item has.
        seconds: Since the claim.
        retried: Whether all its tasks have ended, and those that failed are retried.
        throttles: Requests for its table that were throttled since the last such message.
    """

    table: str
    item_id: ItemId
    task_id: str
    lock_id: str
    state: str
    done: int
    failures: tuple[tuple[str, str], ...]
    all_done: int
    tasks: int
    seconds: float
    retried: bool = False
    throttles: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """From a process: text for the operator, of one line or more.

    Attributes:
        text: The text.
        once: Whether to print it only once if several processes send it.
    """

    text: str
    once: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """From a process: it is about to end.

    Attributes:
        error: Why it could not continue, else empty.
        locked_by_others: How many items were locked when it last found no item to claim.
        kept: Paths of the logs that S3 did not take.
        lost_logs: Paths of those that somebody deleted since.
        consumed: Requests and units of all it did.
        own_signal: The signal that was sent to this process, if that is why it ends.
        throttles: Requests that were throttled since the last ItemEnded, by table.
        refused: Items that it could not claim, by table and itemID: their states, and why.
    """

    error: str = ""
    locked_by_others: int = 0
    kept: tuple[str, ...] = ()
    lost_logs: tuple[str, ...] = ()
    consumed: ConsumedCapacity = NOTHING
    own_signal: int | None = None
    throttles: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[tuple[str, ItemId], tuple[str, str]] = field(default_factory=dict)


class ForwardingHandler(logging.Handler):
    """Sends what a worker process logs to its parent, which alone prints.

    Args:
        send: Sends a message to the parent; False if the parent is dead.
        otherwise: The handlers that print what a dead parent cannot.
    """

    def __init__(
        self, send: Callable[[object], bool], otherwise: Sequence[logging.Handler]
    ) -> None:
        super().__init__()
        self._send = send
        self._otherwise = otherwise

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record as text, with its traceback if there is one."""
        if not self._send(Said(self.format(record), getattr(record, "once", False))):
            for handler in self._otherwise:
                handler.handle(record)
