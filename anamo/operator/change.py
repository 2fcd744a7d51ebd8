"""`pyanamo.py requeue`, `remove`, `hold` and `resume`: change the state of items, or delete them.

Guaranteed: nothing is requeued or removed before the operator has confirmed it; an item is changed
by conditional writes, one unless more than 200 nested tasks run again, and only if it is still as
the operator was shown it; an item that a worker has locked is changed only with --force. That
worker then finds its claim lost and writes nothing.
"""

import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from functools import partial

from anamo.aws.operator_writes import Lost
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core import transitions
from anamo.core.errors import UsageError
from anamo.core.item import NestedTask, State
from anamo.core.record import ENDED, Record
from anamo.core.text import count
from anamo.operator.selection import selected_items
from anamo.operator.target import Target, Words, find_target

WRITE_THREADS = 8
"""Writes sent at once."""

TRIES = 20
"""How many times an item is read again because its holder has recorded results meanwhile."""

NAMED = 20
"""How many of the items that are not changed are named."""

FAILED_ONES, ALL = "failed", "all"
"""Which nested tasks of a requeued item run again; another word is the name of one."""

LOCKED = "is locked by {}, whose lease has not ended; left as it is (--force takes it)"

ProgressBar = Callable[
    [str, int, Callable[[str], object]], AbstractContextManager[Callable[[int], object]]
]
"""Shows progress: called with a table's name, the total of items and a function that prints a
message; the context manager gives a function to call with each number of items dealt with."""


class Action(str, Enum):
    """What to do with items."""

    REQUEUE = "requeue"
    REMOVE = "remove"
    HOLD = "hold"
    RESUME = "resume"


_DONE = {
    Action.REQUEUE: "requeued",
    Action.REMOVE: "removed",
    Action.HOLD: "held",
    Action.RESUME: "resumed",
}


_BEGINS_IN = {
    Action.REQUEUE: (transitions.REQUEUE, transitions.REQUEUE_HELD),
    Action.REMOVE: (transitions.REMOVE, transitions.REMOVE_HELD),
    Action.HOLD: (transitions.HOLD,),
    Action.RESUME: (transitions.RESUME,),
}


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """Which items to change, and how.

    Attributes:
        action: What to do.
        state: Items in this state only; None, which needs names, for each that can be changed so.
        nested: Of requeued items: "failed", "all", or the name or argument of one nested task.
        chosen: Which of the selected items are meant.
        force: Change items that workers have locked too.
        confirmed: Do not ask for confirmation.
    """

    action: Action
    state: str | None
    nested: str = FAILED_ONES
    chosen: Callable[[WorkflowTable, Record], bool] = lambda table, record: True
    force: bool = False
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change.

    Attributes:
        changed: How many items were changed, by table; empty where the operator answered no.
        complete: Whether all of the selected items were.
    """

    changed: Mapping[str, int]
    complete: bool


class Change:
    """Changes items of tables."""

    def __init__(
        self,
        request: ChangeRequest,
        target: Target,
        retry: OperatorRetry,
        say: Callable[[str], object],
        progress_bar: ProgressBar,
    ) -> None:
        self._request = request
        self._target = target
        self._retry = retry
        self._say = say
        self._progress_bar = progress_bar
        self._not_changed: list[str] = []
        self._locked = 0

    def run(self) -> Outcome:
        """Confirm the change, make it, and say what was left as it is.

        Raises:
            UsageError: A name or the state is unknown, or there is no terminal to ask on.
            AwsError: A request failed.
        """
        self._target.check()
        selected = self._select()
        if any(selected.values()) and not self._confirm(selected):
            self._say("nothing was changed")
            return Outcome({}, complete=False)
        changed = {table.name: self._change(table, found) for table, found in selected.items()}
        for line in self._not_changed[:NAMED]:
            self._say(line)
        if len(self._not_changed) > NAMED:
            self._say(f"and {len(self._not_changed) - NAMED:,} more left as they are")
        if self._locked:
            locked = count(self._locked, "item")
            self._say(f"{locked} locked by workers left as they are (--force takes them)")
        return Outcome(changed, complete=not self._not_changed)

    def _select(self) -> dict[WorkflowTable, list[Record]]:
        """The items to change, by table."""
        asked = self._request
        states = [asked.state] if asked.state else _states(asked.action)
        if not asked.state and not self._target.names:
            known = f"{', '.join(states[:-1])} or {states[-1]}"
            raise UsageError(f"which items? Give a TASKID, or --state {known} for all of them")
        # Without --state, what cannot be changed so was not asked for
        skip = self._not_changed.append if asked.state else self._say
        found = selected_items(
            self._target, states, Projection.STANDING, self._retry, self._say, skip
        )
        selected: dict[WorkflowTable, list[Record]] = {table: [] for table in self._target.tables}
        others = []
        for table, record in found:
            if not asked.chosen(table, record):
                continue
            if asked.nested not in (FAILED_ONES, ALL) and not record.tasks_named(asked.nested):
                others.append(f"{self._name(table, record)} has no nested task {asked.nested}")
            elif self._may_change(table, record):
                selected[table].append(record)
        if others and not any(selected.values()):
            raise UsageError(f"none of the items has a nested task {asked.nested}")
        if self._target.names:
            self._not_changed += [f"{line}; left as it is" for line in others]
        return selected

    def _may_change(self, table: WorkflowTable, record: Record) -> bool:
        if self._request.force or not record.leased(table.clock.surely_past()):
            return True
        if self._target.names:
            holder = LOCKED.format(record.item.instance_id)
            self._not_changed.append(f"{self._name(table, record)} {holder}")
        else:
            # Only counted: `--state locked` is meant for items whose workers are gone
            self._locked += 1
        return False

    def _name(self, table: WorkflowTable, record: Record) -> str:
        where = f"table {table.name}: " if len(self._target.tables) > 1 else ""
        return f"{where}{record.item.task_id} (item {record.item.item_id})"

    # Confirmation

    def _confirm(self, selected: Mapping[WorkflowTable, Sequence[Record]]) -> bool:
        if self._request.confirmed:
            return True
        question = self._question(selected)
        if not sys.stdin.isatty():
            raise UsageError(
                f"{question} Stdin is not a terminal: add --yes to confirm; nothing was changed"
            )
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _question(self, selected: Mapping[WorkflowTable, Sequence[Record]]) -> str:
        items = ", ".join(
            f"{_counted(records)} of table {table.name}"
            for table, records in selected.items()
            if records
        )
        held = sum(
            record.leased(table.clock.surely_past())
            for table, records in selected.items()
            for record in records
        )
        forced = f", {held:,} of them from workers that hold them" if held else ""
        if self._request.action is Action.REMOVE:
            return f"Remove {items}{forced}? Their logs in S3 stay."
        tasks = sum(
            self._tasks_to_run(record) for records in selected.values() for record in records
        )
        return f"Requeue {items} ({count(tasks, 'task')} to run){forced}?"

    def _tasks_to_run(self, record: Record) -> int:
        nested = self._nested(record)
        return sum(task.status == State.TODO for task in nested) if nested else record.tasks

    def _nested(self, record: Record) -> list[NestedTask]:
        """The nested tasks with the statuses that a requeue gives them."""
        nested = self._request.nested
        if nested not in (FAILED_ONES, ALL):
            return requeued_tasks(record, only=record.tasks_named(nested))
        # A done item has no others than done ones
        return requeued_tasks(record, nested == ALL or record.state == State.DONE)

    # Writes

    def _change(self, table: WorkflowTable, selected: Sequence[Record]) -> int:
        if not selected:
            return 0
        changed = 0
        bar = self._progress_bar(table.name, len(selected), self._say)
        with bar as advance, ThreadPoolExecutor(WRITE_THREADS) as pool:
            futures = [pool.submit(self._apply, table, record) for record in selected]
            try:
                for record, future in zip(selected, futures, strict=True):
                    lost = future.result()
                    advance(1)
                    if lost:
                        self._not_changed.append(
                            f"{self._name(table, record)} {_why(lost, record)}"
                        )
                    else:
                        changed += 1
            except BaseException:
                pool.shutdown(cancel_futures=True)
                self._say(f"stopped after {count(changed, 'item')}; run the same command again")
                raise
        return changed

    def _apply(self, table: WorkflowTable, record: Record) -> Lost | None:
        """Change an item. If its holder has recorded results meanwhile, try again with those."""
        for _ in range(TRIES):
            lost = self._retry(partial(self._write, table, record))
            if lost is None or not lost.current or not _same_claim(lost.current, record):
                break
            if not self._request.force and lost.current.leased(table.clock.surely_past()):
                break
            record = lost.current
        return lost

    def _write(self, table: WorkflowTable, record: Record) -> Lost | None:
        force = self._request.force and record.state == State.LOCKED
        action = self._request.action
        if action is Action.REMOVE:
            return table.remove(record, force)
        if action is Action.HOLD:
            return table.hold(record)
        if action is Action.RESUME:
            return table.resume(record)
        return table.requeue(record, self._nested(record), force)


def _states(action: Action) -> list[str]:
    """The states of items that can be changed so."""
    sources = [state.value for each in _BEGINS_IN[action] for state in each.sources]
    return [*dict.fromkeys(sources)]


def change(
    request: ChangeRequest, words: Words, say: Callable[[str], object], progress_bar: ProgressBar
) -> bool:
    """Make a change, and print how many items were changed, a line for each table.

    Returns:
        False if some of the selected items were not changed.

    Raises:
        UsageError: A name or the state is unknown, or there is no terminal to ask on.
        AwsError: A request failed.
    """
    retry = OperatorRetry(say)
    outcome = Change(request, find_target(words, retry), retry, say, progress_bar).run()
    for table, items in outcome.changed.items():
        print(sentence(request.action, table, items))
    return outcome.complete


def sentence(action: Action, table: str, items: int) -> str:
    """How many items of a table were changed."""
    return f"{table}: {_DONE[action]} {count(items, 'item')}"


def requeued_tasks(
    record: Record, all_tasks: bool = False, only: Collection[str] = ()
) -> list[NestedTask]:
    """The nested tasks with the statuses that they get: those that are not done run again, or all,
    or `only` those beside what is todo.
    """

    def again(task: NestedTask) -> bool:
        if only:
            return task.name in only or task.status not in ENDED
        return all_tasks or task.status != State.DONE

    return [
        NestedTask(task.name, task.script, State.TODO.value if again(task) else task.status)
        for task in record.item.nested
    ]


def _counted(records: Sequence[Record]) -> str:
    """How many items are in which state, such as "1 failed and 2 done items"."""
    *some, (state, items) = sorted(Counter(record.state for record in records).items())
    before = "".join(f"{n:,} {other}, " for other, n in some).removesuffix(", ")
    return (
        f"{before} and {count(items, f'{state} item')}" if some else count(items, f"{state} item")
    )


def _same_claim(current: Record, seen: Record) -> bool:
    return (current.state, current.item.lock_id) == (seen.state, seen.item.lock_id)


def _why(lost: Lost, seen: Record) -> str:
    """Why an item was not changed."""
    if not lost.current:
        return "is gone"
    if _same_claim(lost.current, seen):
        return LOCKED.format(lost.current.item.instance_id)
    return f"changed meanwhile and is {lost.current.state}; left as it is"
