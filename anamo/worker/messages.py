"""What a worker process and its parent tell each other."""

from dataclasses import dataclass

from anamo.aws.consumed_capacity import NOTHING, ConsumedCapacity


@dataclass(frozen=True, slots=True)
class StopRequest:
    """To a process: stop tasks, release, end."""

    signal: int


@dataclass(frozen=True, slots=True)
class ForceStop:
    """To a process: skip the grace."""


@dataclass(frozen=True, slots=True)
class Drain:
    """To a process: begin nothing new."""

    why: str


@dataclass(frozen=True, slots=True)
class ItemEnded:
    """From a process: a claim ended.

    state: the item's state now, or "lost" where another worker has it or nobody knows. done: how
    many tasks ended well under this claim; failures: names and statuses of those that did not.
    all_done, tasks: of the item, how many of its tasks are done by now and how many it has.
    seconds: since the claim.
    """

    item_id: int
    task_id: str
    state: str
    done: int
    failures: tuple[tuple[str, str], ...]
    all_done: int
    tasks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """From a process: it ends.

    error: why it could not go on, else empty. held: how many items were locked when nothing was
    left to take. kept: where logs are that could not be brought to S3. consumed: what it all cost.
    """

    error: str = ""
    held: int = 0
    kept: tuple[str, ...] = ()
    consumed: ConsumedCapacity = NOTHING
