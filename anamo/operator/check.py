"""`pyanamo.py status --check`: the gate between two steps of a workflow.

Guaranteed: a step is called done only after its table itself was read, and every item of it was
done. Not guaranteed: that nothing is imported or requeued afterwards.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from time import monotonic

from anamo.aws.retry import UNATTENDED_SECONDS, OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.core.item import State
from anamo.core.text import count
from anamo.operator.counts import TableCounts, count_table
from anamo.operator.table_scan import consistent_scan

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two checks while it waits: each reads every item of the index."""


class Verdict(Enum):
    """What a gate says of its tables."""

    DONE = "every item is done"
    FAILED = "nothing is left, and some items failed"
    LEFT = "items are left"


class Gate:
    """Says whether steps are done, or waits until they are.

    Args:
        tables: The steps' tables.
        retry: Sends the requests.
        say: Prints a message.
        sleep: Waits for some seconds.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        tables: Sequence[WorkflowTable],
        retry: OperatorRetry,
        say: Callable[[str], object],
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._tables = tables
        self._retry = retry
        self._say = say
        self._sleep = sleep
        self._clock = clock
        self._printed: list[str] = []

    def check(self) -> Verdict:
        """Read the tables once, print a line for each, and return the verdict.

        Raises:
            AwsError: A request failed.
        """
        return self._judge(self._count())

    def wait(self, idle_limit: float) -> Verdict:
        """Check again until nothing is left, or no worker holds what is left.

        Args:
            idle_limit: Seconds without a change, and without a live lease, after which it stops
                waiting. It should be longer than a lease: the next worker may have to wait for one
                to end.

        Raises:
            AwsError: A request failed.
        """
        self._retry.fault_seconds = UNATTENDED_SECONDS
        pause, seen, since = FIRST_PAUSE, Counter[str](), self._clock()
        while True:
            counts = self._count()
            if not any(_left(each.items) for each in counts):
                verdict = self._judge(counts)
                if verdict is not Verdict.LEFT:
                    return verdict
            states = sum((each.items for each in counts), Counter[str]())
            if states != seen or any(each.workers for each in counts):
                seen, since = states, self._clock()
            elif self._clock() - since > idle_limit:
                self._say(_idle(idle_limit, states[State.HELD.value]))
                return self._judge(counts)
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _count(self) -> list[TableCounts]:
        return [count_table(table, self._retry) for table in self._tables]

    def _judge(self, counted: Sequence[TableCounts]) -> Verdict:
        """Print the states, and judge them. Where the index has nothing left, the table is read."""
        states = {each.table: each.items for each in counted}
        if not any(map(_left, states.values())):
            for table in self._tables:
                scan = consistent_scan(table, self._retry)
                states[table.name] = Counter(record.state for record in scan)
        self._print([f"{name}: {_sentence(items)}" for name, items in states.items()])
        if any(map(_left, states.values())):
            return Verdict.LEFT
        failed = any(items[State.FAILED.value] for items in states.values())
        return Verdict.FAILED if failed else Verdict.DONE

    def _print(self, lines: list[str]) -> None:
        """Print lines, unless they are those printed last: an index may lag for many rounds."""
        if lines != self._printed:
            # The exit code answers also where nobody reads the lines, such as `| head -1`
            with suppress(BrokenPipeError):
                print(*lines, sep="\n", flush=True)
            self._printed = lines


def _left(items: Counter[str]) -> int:
    """Items that are neither done nor failed; those in a state of another tool too."""
    return items.total() - items[State.DONE.value] - items[State.FAILED.value]


def _idle(seconds: float, held: int) -> str:
    """Why it waits no longer, and what lets held items go on."""
    said = f"no worker has worked on the remaining items for {seconds:.0f} s"
    if not held:
        return said
    them = "1 of them is held, and `resume` releases it"
    return (
        f"{said}; {them if held == 1 else f'{held:,} of them are held, and `resume` releases them'}"
    )


def _sentence(items: Counter[str]) -> str:
    if not items.total():
        return "no items: was the step imported?"
    done = f"{items[State.DONE.value]:,} of {count(items.total(), 'item')} done"
    others = [f"{n:,} {state}" for state, n in sorted(items.items()) if state != State.DONE]
    return ", ".join([done, *others])
