"""What the operator sees of a worker's work."""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from time import monotonic
from typing import Protocol

from anamo.aws.consumed_capacity import ConsumedCapacity
from anamo.core.codec import ItemId
from anamo.core.item import State
from anamo.core.log_entry import FAILED
from anamo.core.record import LAST_SECOND
from anamo.core.text import count
from anamo.worker.in_flight_claims import ClaimSent, Run
from anamo.worker.left import Left
from anamo.worker.messages import Finished, ItemEnded
from anamo.worker.recorder import LOST

SHOWN_FAILURES = 3
"""Failed tasks of an item that its line names."""

logger = logging.getLogger(__name__)

RETRIED = "retried"
"""Not a state: what an item is called that failed and is todo again (`--retries`)."""


class Screen(Protocol):
    """Where the parent process shows what its worker processes do. It has one thread, since it
    forks; an implementation must not start another.
    """

    @property
    def refresh(self) -> float:
        """Seconds between two calls of `draw` at most."""

    def say(self, message: str) -> object:
        """Print a message."""

    def takes_count(self) -> bool:
        """Whether a process should count what is left in the tables, which counts as requested
        then. Called before each drawing while there is such a process.
        """

    def start(self, count_left: Callable[[], Left]) -> object:
        """Begin to show progress. `count_left` sends requests."""

    def counted(self, left: Left) -> object:
        """What is left has been counted."""

    def ended(self, item: ItemEnded) -> object:
        """A claim ended."""

    def draw(self, running: int, longest: Run | None) -> object:
        """Show the present state, with so many items claimed, and what has run longest."""

    def close(self) -> object:
        """Show progress no longer. `say` still works."""


@dataclass(slots=True)
class WorkerTotals:
    """What all processes did.

    Attributes:
        items: How many claims ended, by the state of their items then; RETRIED if that is todo
            since tasks failed.
        by_table: The same for each table.
        done: Tasks that succeeded.
        failed: Tasks that failed and are not retried.
        again: Tasks that failed and are retried.
        locked_by_others: Items that other workers have locked.
        all_locked_seen: Whether they have not locked more than those.
        errors: Why processes could not continue.
        refused: Items that could not be claimed, by table and itemID: their states, and why.
        kept: Paths of the logs that S3 did not take.
        lost_logs: Paths of those that somebody deleted since.
        unfinished: The claims that processes left behind, or did not take over in time.
        lost: What became of processes that died and were not replaced.
        waits: Whether it was to wait for what other workers hold (--wait).
        stopped: Whether a limit or a signal ended it.
        ended_early: Whether a limit, a signal or an error ended it.
        work_left: Whether it ended while there was work to take.
        locked_until: When the last lease of those items ends, in epoch seconds.
        given_back_at: When an item last became todo again, by the monotonic clock.
        consumed: Requests and units of the processes that were not killed.
    """

    items: Counter[str] = field(default_factory=Counter)
    by_table: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    done: int = 0
    failed: int = 0
    again: int = 0
    locked_by_others: int = 0
    all_locked_seen: bool = True
    errors: list[str] = field(default_factory=list)
    refused: dict[tuple[str, ItemId], tuple[str, str]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    lost_logs: list[str] = field(default_factory=list)
    unfinished: set[ClaimSent] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    waits: bool = False
    stopped: bool = False
    ended_early: bool = False
    work_left: bool = False
    locked_until: float | None = None
    given_back_at: float = -math.inf
    consumed: ConsumedCapacity = field(default_factory=ConsumedCapacity)

    def add(self, message: ItemEnded | Finished) -> None:
        """Count what a process sends."""
        if isinstance(message, ItemEnded):
            state = RETRIED if message.retried else message.state
            if message.state == State.TODO:
                self.given_back_at = monotonic()
            self.items[state] += 1
            self.by_table[message.table][state] += 1
            self.done += message.done
            if message.retried:
                self.again += len(message.failures)
            else:
                self.failed += len(message.failures)
        else:
            self.locked_by_others = max(self.locked_by_others, message.locked_by_others)
            self.kept += message.kept
            self.lost_logs += message.lost_logs
            self.consumed += message.consumed
            if message.error:
                self.errors.append(message.error)
            self.refused |= message.refused


def item_line(ended: ItemEnded, *, with_table: bool = False) -> str:
    """The line for a claim that ended: state, table, task id, tasks, seconds, what failed."""
    state = RETRIED if ended.retried else "released" if ended.state == State.TODO else ended.state
    line = f"{state:<6} {f'{ended.table} ' * with_table}{ended.task_id}"
    if ended.tasks > 1:
        line += f"  {ended.all_done} of {ended.tasks} tasks done"
    line += f"  {ended.seconds:.1f} s"
    shown = [
        f"{name} {_reason(status)}".strip() for name, status in ended.failures[:SHOWN_FAILURES]
    ]
    more = len(ended.failures) - len(shown)
    if shown:
        line += "  " + ", ".join(shown) + (f" and {more:,} more" if more else "")
    elif ended.state == State.FAILED:
        line += "  a task failed in an earlier claim"
    return line


def _reason(status: str) -> str:
    return status.removeprefix(FAILED)


def summarise(
    totals: WorkerTotals,
    tables: Sequence[str],
    seconds: float,
    logs: Sequence[str],
    say: Callable[[str], object],
) -> None:
    """Say what all processes did, and what to do about what went wrong.

    Args:
        totals: What they did.
        tables: The tables' names.
        seconds: How long it took.
        logs: Addresses of the tables' logs.
        say: Prints a message.
    """
    if not totals.items and not totals.errors:
        others = f"; {_locked_by_others(totals)}" if totals.locked_by_others else ""
        what = "stopped before any item was claimed" if totals.stopped else "nothing to do"
        named = "table" if len(tables) == 1 else "tables"
        say(f"{named} {', '.join(tables)}: {what}{others}")
        _say_whether_work_remains(totals, say)
        return
    items = _states(totals.items) or "none"
    again = f", {totals.again:,} to be retried" if totals.again else ""
    say(f"items: {items}; tasks: {totals.done:,} done, {totals.failed:,} failed{again}")
    if len(tables) > 1:
        for table in tables:
            say(f"table {table}: {_states(totals.by_table[table]) or _why_nothing(totals)}")
    say(f"{seconds:.1f} s; logs in {', '.join(logs)}")
    if totals.items and totals.consumed.requests:
        logger.info("%s", item_cost(totals))
    if totals.locked_by_others and not totals.stopped:
        say(_locked_by_others(totals))
    _say_whether_work_remains(totals, say)
    for path in totals.kept:
        say(f"log could not be uploaded; kept in {path}")
    for path in totals.lost_logs:
        say(f"log could not be uploaded and is lost: {path} was deleted")


def _states(items: Counter[str]) -> str:
    counts = [f"{number:,} {_plainly(state)}" for state, number in sorted(items.items())]
    return ", ".join(counts)


def _why_nothing(totals: WorkerTotals) -> str:
    """What is said of a table of which no item ended here: there may have been some to take."""
    begun = totals.stopped or totals.ended_early or totals.work_left or totals.errors
    return "no item ended" if begun else "nothing to do"


def _say_whether_work_remains(totals: WorkerTotals, say: Callable[[str], object]) -> None:
    # Where there are errors, another worker may meet the same
    if totals.work_left and not totals.errors:
        say("work remains: start another worker")


def _locked_by_others(totals: WorkerTotals) -> str:
    """How many items others hold, until when if nobody renews their leases, and how to wait."""
    items = count(totals.locked_by_others, "item") + ("" if totals.all_locked_seen else " or more")
    until = ""
    if totals.locked_until is not None and totals.locked_until <= LAST_SECOND:
        end = datetime.fromtimestamp(totals.locked_until, timezone.utc)
        until = f" (leases end by {end:%H:%M:%S} UTC)"
    advice = "" if totals.waits else "; use --wait to take over items if those workers die"
    return f"other workers hold {items}{until}{advice}"


def item_cost(totals: WorkerTotals) -> str:
    """Requests and units for each claim that ended."""
    consumed, items = totals.consumed, totals.items.total()
    return (
        f"for each item: {consumed.requests / items:.2f} requests to DynamoDB, "
        f"{consumed.write_units / items:.1f} write and "
        f"{consumed.read_units / items:.2f} read units, "
        f"{consumed.objects / items:.2f} log objects"
    )


def _plainly(state: str) -> str:
    return {"todo": "released", LOST: "lost to other workers"}.get(state, state)
