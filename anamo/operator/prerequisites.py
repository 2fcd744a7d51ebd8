"""`pyanamo.py resume --after`: resume the samples whose earlier steps are done.

Guaranteed: an item is resumed only if every item of its task id was done, in each of the earlier
steps, when their tables were read, and each has at least one. Tables are read themselves, not their
indexes, so that an index that lags resumes nothing too early. Not guaranteed: that a sample waits
for items that are imported into an earlier step later on.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from anamo.aws.retry import UNATTENDED_SECONDS, OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.errors import UsageError
from anamo.core.item import State
from anamo.core.text import count
from anamo.operator.change import Action, Change, ChangeRequest, ProgressBar, sentence
from anamo.operator.selection import check_names, named_items
from anamo.operator.table_scan import consistent_scan
from anamo.operator.target import Words, find_target

StatesByTask = Mapping[str, Counter[str]]
"""How many items a task id has in each state."""


@dataclass(frozen=True, slots=True)
class ResumeResult:
    """What became of the held items.

    Attributes:
        lines: How many items were resumed, and what the others wait for.
        waiting: The lines about the others; none where no item waits.
        resumed: How many items were resumed.
    """

    lines: Sequence[str]
    waiting: Sequence[str]
    resumed: int


class Prerequisites:
    """Resumes the held items of tables whose task ids are done in earlier steps.

    Args:
        words: The tables, and the names of the items that are meant.
        earlier: Names of the tables of the earlier steps.
        say: Prints a message.
        progress_bar: Shows the progress of the change of a table.

    Raises:
        AwsError: A request failed.
    """

    def __init__(
        self,
        words: Words,
        earlier: Sequence[str],
        say: Callable[[str], object],
        progress_bar: ProgressBar,
    ) -> None:
        self._retry = OperatorRetry(say)
        self._target = find_target(words, self._retry)
        steps = Words([[table] for table in earlier], [], words.region)
        self._earlier = find_target(steps, self._retry)
        self._say = say
        self._progress_bar = progress_bar

    def resume(self) -> None:
        """Resume the items that wait for nothing; print how many, and what the others wait for.

        Raises:
            UsageError: A name is unknown.
            AwsError: A request failed.
        """
        print(*self._resume(self._say).lines, sep="\n")

    def watch(self, seconds: float, sleep: Callable[[float], object] = time.sleep) -> None:
        """Do so at intervals until no item waits; print what is new, with the time.

        Args:
            seconds: From the end of one check to the next.
            sleep: Waits for some seconds.

        Raises:
            UsageError: A name is unknown, or a table is its own earlier step.
            AwsError: A request failed.
        """
        own = {table.name for table in self._target.tables} & {
            table.name for table in self._earlier.tables
        }
        if own:
            raise UsageError(
                f"--after {min(own)}: items of {min(own)} would wait for themselves without end; "
                "give the tables of earlier steps"
            )
        self._retry.fault_seconds = UNATTENDED_SECONDS
        said: set[str] = set()
        waiting: Sequence[str] | None = None

        def say_once(message: str) -> None:
            if message not in said:
                said.add(message)
                self._say(message)

        while True:
            result = self._resume(say_once)
            if result.resumed or result.waiting != waiting:
                moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
                # Where nobody reads the lines, such as `| head -1`, items are resumed all the same
                with suppress(BrokenPipeError):
                    print(moment, *result.lines, sep="\n", flush=True)
            if not result.waiting:
                return
            waiting = result.waiting
            sleep(seconds)

    def _resume(self, say: Callable[[str], object]) -> ResumeResult:
        self._target.check()
        # Also where nothing is held yet, so that a mistyped name is found at once
        self._earlier.check()
        held = [table for table in self._target.tables if self._holds_any(table)]
        if not held:
            if self._target.names:
                # A mistyped name is not to wait for an item that is held
                check_names(self._target, named_items(self._target, Projection.STEP, self._retry))
            lines = [f"{table.name}: no item is held" for table in self._target.tables]
            return ResumeResult(lines, [], 0)
        steps = {table.name: self._states(table) for table in self._earlier.tables}
        waiting = {table: Waiting(steps) for table in self._target.tables}
        request = ChangeRequest(
            Action.RESUME,
            State.HELD.value,
            chosen=lambda table, record: waiting[table].is_ready(record.item.task_id),
            confirmed=True,
        )
        change = Change(request, self._target, self._retry, say, self._progress_bar)
        changed = change.run().changed
        lines = []
        still: list[str] = []
        for table in self._target.tables:
            if table not in held:
                lines.append(f"{table.name}: no item is held")
                continue
            lines.append(sentence(Action.RESUME, table.name, changed[table.name]))
            reasons = waiting[table].lines(table.name)
            lines += reasons
            still += reasons
        return ResumeResult(lines, still, sum(changed.values()))

    def _holds_any(self, table: WorkflowTable) -> bool:
        return self._retry(lambda: table.last(State.HELD.value)) is not None

    def _states(self, table: WorkflowTable) -> StatesByTask:
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for record in consistent_scan(table, self._retry):
            found[record.item.task_id][record.state] += 1
        return found


class Waiting:
    """What the items of a table wait for.

    Args:
        steps: The states of the earlier steps' items, by table.
    """

    def __init__(self, steps: Mapping[str, StatesByTask]) -> None:
        self._steps = steps
        self._items = 0
        self._reasons: dict[str, Counter[str]] = {name: Counter() for name in steps}

    def is_ready(self, task_id: str) -> bool:
        """Whether a task id is done in all earlier steps; if not, its item counts as waiting."""
        reasons = {name: _why(states, task_id) for name, states in self._steps.items()}
        missing = {name: reason for name, reason in reasons.items() if reason}
        for name, reason in missing.items():
            self._reasons[name][reason] += 1
        self._items += bool(missing)
        return not missing

    def lines(self, table: str) -> list[str]:
        """How many items wait, and for what in each of the earlier steps; none if none does."""
        if not self._items:
            return []
        found = [f"{table}: {count(self._items, 'item')} still held, waiting for"]
        for name, reasons in self._reasons.items():
            if reasons:
                said = ", ".join(f"{n:,} {reason}" for reason, n in sorted(reasons.items()))
                found.append(f"  {name}: {said}")
        return found


def _why(states: StatesByTask, task_id: str) -> str:
    """Why a task id is not done in a step: the state that needs most attention; "" if done."""
    found = states.get(task_id)
    if not found:
        return "not imported"
    if set(found) == {State.DONE.value}:
        return ""
    order = ("failed", "held", "todo", "locked")
    return next((state for state in order if found[state]), "in another state")
