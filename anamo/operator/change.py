"""`pyanamo.py requeue`, `remove`, `hold` and `resume`: change the state of items, or delete them.

Guaranteed: nothing is requeued or removed before the operator has confirmed it, for all tables in
one question. An item is changed only if it is still as the operator was shown it, by one
conditional write, or by several where more than 200 nested tasks run again. An item that a worker
has locked is changed only with --force; that worker then finds its claim lost and writes nothing.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from anamo.aws.operator_writes import Lost
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core import transitions
from anamo.core.errors import UsageError
from anamo.core.item import State
from anamo.core.record import Record
from anamo.core.text import count, in_words
from anamo.operator.confirmation import confirmed
from anamo.operator.nested_choice import NestedChoice
from anamo.operator.selection import check_state, first_lines, selected_items
from anamo.operator.target import Target, Words, find_target

WRITE_THREADS = 8
"""Writes sent at once."""

TRIES = 20
"""Attempts at an item whose holder keeps recording results."""

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
    Action.REQUEUE: (transitions.REQUEUE, transitions.REQUEUE_LOCKED),
    Action.REMOVE: (transitions.REMOVE, transitions.REMOVE_LOCKED),
    Action.HOLD: (transitions.HOLD,),
    Action.RESUME: (transitions.RESUME,),
}


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """Which items to change, and how.

    Attributes:
        action: What to do.
        state: Items in this state only; None, which needs names, for any that the action begins in.
        nested: Which nested tasks run again, or, where it is one, are removed.
        chosen: Which of the selected items are meant.
        force: Also change items that workers have locked.
        confirmed: Do not ask for confirmation.
        implied: Whether the command chose the state, not the operator: a named item in another
            state is then reported, and does not count as left out.
    """

    action: Action
    state: str | None
    nested: NestedChoice = field(default_factory=NestedChoice)
    chosen: Callable[[WorkflowTable, Record], bool] = lambda table, record: True
    force: bool = False
    confirmed: bool = False
    implied: bool = False


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """What became of a change.

    Attributes:
        changed: How many items were changed, by table; empty where the operator answered no.
        complete: False if an item was left as it is, or the operator answered no. Items that
            workers hold, or without the nested task, count only where they were named; named items
            in another state, only where the operator gave a state, or nothing else was selected.
    """

    changed: Mapping[str, int]
    complete: bool


class Change:
    """Changes items of tables.

    Args:
        request: Which items to change, and how.
        target: The tables, and the names of the items.
        retry: Sends the requests; it is called from several threads.
        say: Called with messages about items that are left as they are.
        progress_bar: Shows the progress of each table.
    """

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
        self._changed: dict[str, int] = {}
        self._not_changed: list[str] = []
        self._locked = 0

    def run(self) -> ChangeResult:
        """Confirm the change, make it, and say what was left as it is.

        Raises:
            UsageError: A name or the state is unknown, or there is no terminal to ask on.
            AwsError: A request failed.
        """
        self._target.check()
        selected = self._select()
        if any(selected.values()) and not self._confirm(selected):
            self._say("nothing was changed")
            return ChangeResult({}, complete=False)
        for table, records in selected.items():
            self._changed[table.name] = 0
            self._change(table, records)
        self._say_some(self._not_changed)
        if self._locked == 1:
            self._say("1 item was left because a worker holds it (--force takes it)")
        elif self._locked:
            left = f"{self._locked:,} items were left because workers hold them"
            self._say(f"{left} (--force takes them)")
        return ChangeResult(self._changed, complete=not self._not_changed)

    def _say_some(self, lines: Sequence[str]) -> None:
        for line in first_lines(lines, "left as they are"):
            self._say(line)

    def _select(self) -> dict[WorkflowTable, list[Record]]:
        """The items to change, by table."""
        request = self._request
        others: list[str] = []
        found = selected_items(
            self._target,
            self._states(),
            Projection.WITHOUT_LOGS,
            self._retry,
            self._say,
            lambda message: others.append(f"{message}; left as it is"),
        )
        selected: dict[WorkflowTable, list[Record]] = {table: [] for table in self._target.tables}
        lacking = 0
        for table, record in found:
            if not request.chosen(table, record):
                continue
            if request.nested.is_one and not record.tasks_named(request.nested.word):
                lacking += 1
                if self._target.names:
                    lacks = f"has no nested task {request.nested.word}; left as it is"
                    others.append(f"{self._name(table, record)} {lacks}")
            elif self._may_change(table, record):
                selected[table].append(record)
        anything = any(selected.values()) or self._not_changed
        if lacking and not anything:
            raise UsageError(f"none of the items has a nested task {request.nested.word}")
        # Where names are enough, items that cannot be changed this way were not asked for
        if (request.state and not request.implied) or lacking or not anything:
            self._not_changed += others
        else:
            self._say_some(others)
        return selected

    def _states(self) -> list[str]:
        """The states of the items that are meant: that of --state, or each that can be changed
        this way.

        Raises:
            UsageError: There is neither a state nor a name, or the state rules the change out.
        """
        request = self._request
        begins_in = _BEGINS_IN[request.action]
        if self._removes_part:
            begins_in = (transitions.REMOVE_PART,)
            if request.state not in (None, State.FAILED.value):
                raise UsageError(
                    "--nested takes a nested task out of failed items only; for others, correct "
                    "the line and import it with --replace"
                )
        possible = [*dict.fromkeys(state.value for each in begins_in for state in each.sources)]
        if request.state in possible:
            return [request.state]
        if request.state:
            # A state that no item is in is more likely a typing error
            check_state(self._target.tables, request.state, self._retry)
            raise UsageError(
                f"items that are {request.state} cannot be {_DONE[request.action]}, only those "
                f"that are {in_words(possible, 'or')}"
            )
        if not self._target.names:
            known = in_words(possible, "or")
            raise UsageError(f"which items? Give a TASKID, or --state {known} for all of them")
        return possible

    def _may_change(self, table: WorkflowTable, record: Record) -> bool:
        if self._removes_part and (why := self._request.nested.cannot_be_removed(record)):
            self._not_changed.append(f"{self._name(table, record)} {why}; left as it is")
            return False
        if self._request.force or not record.leased(table.clock.surely_past()):
            return True
        if self._target.names:
            holder = LOCKED.format(record.item.instance_id)
            self._not_changed.append(f"{self._name(table, record)} {holder}")
        else:
            # Only counted: `--state locked` is meant for items whose workers are gone
            self._locked += 1
        return False

    @property
    def _removes_part(self) -> bool:
        return self._request.action is Action.REMOVE and self._request.nested.is_one

    def _name(self, table: WorkflowTable, record: Record) -> str:
        where = f"table {table.name}: " if len(self._target.tables) > 1 else ""
        return f"{where}{record.item.task_id} (item {record.item.item_id})"

    # Confirmation

    def _confirm(self, selected: Mapping[WorkflowTable, Sequence[Record]]) -> bool:
        if self._request.confirmed:
            return True
        question = self._question(selected)
        if not sys.stdin.isatty():
            raise UsageError(f"{question} stdin is not a terminal: pass --yes; nothing was changed")
        return confirmed(question)

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
        nested = self._request.nested
        if self._request.action is Action.REMOVE:
            part = f"nested task {nested.word} of " if nested.is_one else ""
            return f"Remove {part}{items}{forced}? Their logs in S3 stay."
        tasks = sum(
            nested.tasks_to_run(record) for records in selected.values() for record in records
        )
        return f"Requeue {items} ({count(tasks, 'task')} to run){forced}?"

    # Writes

    def _change(self, table: WorkflowTable, selected: Sequence[Record]) -> None:
        if not selected:
            return
        futures: list[Future[Lost | None]] = []
        bar = self._progress_bar(table.name, len(selected), self._say)
        try:
            with bar as advance, self._retry.pool(WRITE_THREADS) as pool:
                futures.extend(pool.submit(self._apply, table, record) for record in selected)
                for record, future in zip(selected, futures, strict=True):
                    lost = future.result()
                    advance(1)
                    if lost:
                        self._not_changed.append(
                            f"{self._name(table, record)} {_why(lost, record)}"
                        )
        except BaseException:
            self._changed[table.name] = sum(map(_was_changed, futures))
            self._say_some(self._not_changed)
            changed = count(sum(self._changed.values()), "item")
            self._say(f"stopped after {changed}; run the same command again")
            raise
        self._changed[table.name] += sum(map(_was_changed, futures))

    def _apply(self, table: WorkflowTable, record: Record) -> Lost | None:
        """Change an item. If its holder has recorded results meanwhile, try again with those."""
        for _ in range(TRIES):
            lost = self._retry(partial(self._write, table, record))
            if lost is None or not lost.current or not _same_claim(lost.current, record):
                break
            # What another operator took out of it since decides whether anything may go
            if self._removes_part:
                break
            if not self._request.force and lost.current.leased(table.clock.surely_past()):
                break
            record = lost.current
        return lost

    def _write(self, table: WorkflowTable, record: Record) -> Lost | None:
        force = self._request.force and record.state == State.LOCKED
        action = self._request.action
        nested = self._request.nested
        if self._removes_part:
            return table.remove_part(record, record.tasks_named(nested.word))
        if action is Action.REMOVE:
            return table.remove(record, force)
        if action is Action.HOLD:
            return table.hold(record)
        if action is Action.RESUME:
            return table.resume(record)
        return table.requeue(record, nested.requeued(record), force)


def change(
    request: ChangeRequest, words: Words, say: Callable[[str], object], progress_bar: ProgressBar
) -> bool:
    """Make a change, and print how many items were changed, a line for each table.

    Args:
        request: Which items to change, and how.
        words: The tables, and the names of the items.
        say: Called with messages about items that are left as they are.
        progress_bar: Shows the progress of each table.

    Returns:
        Whether it was complete, see `ChangeResult`.

    Raises:
        UsageError: A name or the state is unknown, or there is no terminal to ask on.
        AwsError: A request failed.
    """
    retry = OperatorRetry(say)
    result = Change(request, find_target(words, retry), retry, say, progress_bar).run()
    for table, items in result.changed.items():
        part = f" nested task {request.nested.word} of" if request.nested.is_one else ""
        # The exit code answers also where nobody reads the lines
        with suppress(BrokenPipeError):
            print(sentence(request.action, table, items, part))
    return result.complete


def sentence(action: Action, table: str, items: int, part: str = "") -> str:
    """How many items of a table were changed.

    Args:
        action: What was done.
        table: The table's name.
        items: The number of items.
        part: What of the items was changed, such as " nested task chr4 of"; "" for all of it.
    """
    return f"{table}: {_DONE[action]}{part} {count(items, 'item')}"


def _counted(records: Sequence[Record]) -> str:
    """How many items are in which state, such as "1 failed and 2 done items"."""
    *some, (state, items) = sorted(Counter(record.state for record in records).items())
    parts = [f"{n:,} {other}" for other, n in some]
    return in_words([*parts, count(items, f"{state} item")], "and")


def _was_changed(write: Future[Lost | None]) -> bool:
    """Whether a write was applied."""
    ended = write.done() and not write.cancelled() and write.exception() is None
    return ended and write.result() is None


def _same_claim(current: Record, seen: Record) -> bool:
    return (current.state, current.item.lock_id) == (seen.state, seen.item.lock_id)


def _why(lost: Lost, seen: Record) -> str:
    """Why an item was not changed."""
    if not lost.current:
        return "is gone"
    if lost.current.state == State.LOCKED and _same_claim(lost.current, seen):
        return LOCKED.format(lost.current.item.instance_id)
    return f"changed meanwhile and is {lost.current.state}; left as it is"
