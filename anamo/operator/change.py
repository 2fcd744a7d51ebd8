"""`pyanamo.py requeue`, `remove`, `hold` and `resume`: change the state of items, or delete them.

Guaranteed: nothing is requeued or removed before the operator has confirmed it; an item is changed
by conditional writes, one unless more than 200 nested tasks run again, and only if it is still as
the operator was shown it; an item that a worker has locked is changed only with --force. That
worker then finds its claim lost and writes nothing.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from functools import partial

from anamo.aws import session
from anamo.aws.operator_writes import Lost
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.errors import UsageError
from anamo.core.item import NestedTask, State
from anamo.core.record import Record
from anamo.core.text import count
from anamo.operator.selection import selected_items

WRITE_THREADS = 8
"""Writes sent at once."""

TRIES = 20
"""How many times an item is read again because its holder has recorded results meanwhile."""

NAMED = 20
"""How many of the items that are not changed are named."""

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


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """Which items to change, and how.

    Attributes:
        table: The table's name.
        region: The AWS region; None for the configured one.
        action: What to do.
        state: Items in this state only.
        names: Task ids or itemIDs; none for all items in `state`.
        chosen: Which of these items are meant.
        all_nested: Nested tasks that are done run again too.
        force: Change items that workers have locked too.
        confirmed: Do not ask for confirmation.
    """

    table: str
    region: str | None
    action: Action
    state: str
    names: Sequence[str]
    chosen: Callable[[Record], bool] = lambda record: True
    all_nested: bool = False
    force: bool = False
    confirmed: bool = False


class Change:
    """Changes items of one table."""

    def __init__(
        self, request: ChangeRequest, say: Callable[[str], object], progress_bar: ProgressBar
    ) -> None:
        self._request = request
        self._say = say
        self._progress_bar = progress_bar
        self._retry = OperatorRetry(say)
        client = session.dynamodb_client(request.region)
        self._retry.where = session.where(client)
        self._table = WorkflowTable(client, request.table)
        self._not_changed: list[str] = []
        self._locked = 0

    def run(self) -> bool:
        """Confirm the change, make it, and print how many items were changed.

        Returns:
            False if some of the selected items were not changed.

        Raises:
            UsageError: A name or the state is unknown, or there is no terminal to ask on.
            AwsError: A request failed.
        """
        asked, skip = self._request, self._not_changed.append
        found = selected_items(
            self._table, asked.names, asked.state, Projection.STANDING, self._retry, skip
        )
        selected = [each for each in found if asked.chosen(each) and self._may_change(each)]
        if selected and not self._confirm(selected):
            self._say("nothing was changed")
            return False
        changed = self._change(selected) if selected else 0
        for line in self._not_changed[:NAMED]:
            self._say(line)
        if len(self._not_changed) > NAMED:
            self._say(f"and {len(self._not_changed) - NAMED:,} more left as they are")
        if self._locked:
            locked = count(self._locked, "item")
            self._say(f"{locked} locked by workers left as they are (--force takes them)")
        print(f"{asked.table}: {_DONE[asked.action]} {count(changed, 'item')}")
        return not self._not_changed

    def _may_change(self, record: Record) -> bool:
        if self._request.force or not record.leased(self._table.clock.surely_past()):
            return True
        if self._request.names:
            self._not_changed.append(f"{_name(record)} {LOCKED.format(record.item.instance_id)}")
        else:
            # Only counted: `--state locked` is meant for items whose workers are gone
            self._locked += 1
        return False

    # Confirmation

    def _confirm(self, selected: Sequence[Record]) -> bool:
        if self._request.confirmed:
            return True
        question = self._question(selected)
        if not sys.stdin.isatty():
            raise UsageError(
                f"{question} Stdin is not a terminal: add --yes to confirm; nothing was changed"
            )
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _question(self, selected: Sequence[Record]) -> str:
        asked = self._request
        items = f"{count(len(selected), f'{asked.state} item')} of table {asked.table}"
        held = sum(record.leased(self._table.clock.surely_past()) for record in selected)
        forced = f", {held:,} of them from workers that hold them" if held else ""
        if asked.action is Action.REMOVE:
            return f"Remove {items}{forced}? Their logs in S3 stay."
        tasks = sum(_tasks_to_run(record, self._all_tasks) for record in selected)
        return f"Requeue {items} ({count(tasks, 'task')} to run){forced}?"

    @property
    def _all_tasks(self) -> bool:
        """Whether nested tasks that are done run again: a done item has no others."""
        return self._request.all_nested or self._request.state == State.DONE

    # Writes

    def _change(self, selected: Sequence[Record]) -> int:
        changed = 0
        bar = self._progress_bar(self._request.table, len(selected), self._say)
        with bar as advance, ThreadPoolExecutor(WRITE_THREADS) as pool:
            futures = [pool.submit(self._apply, record) for record in selected]
            try:
                for record, future in zip(selected, futures, strict=True):
                    lost = future.result()
                    advance(1)
                    if lost:
                        self._not_changed.append(f"{_name(record)} {_why(lost, record)}")
                    else:
                        changed += 1
            except BaseException:
                pool.shutdown(cancel_futures=True)
                self._say(f"stopped after {count(changed, 'item')}; run the same command again")
                raise
        return changed

    def _apply(self, record: Record) -> Lost | None:
        """Change an item. If its holder has recorded results meanwhile, try again with those."""
        for _ in range(TRIES):
            lost = self._retry(partial(self._write, record))
            if lost is None or not lost.current or not _same_claim(lost.current, record):
                break
            if not self._request.force and lost.current.leased(self._table.clock.surely_past()):
                break
            record = lost.current
        return lost

    def _write(self, record: Record) -> Lost | None:
        force = self._request.force and record.state == State.LOCKED
        action = self._request.action
        if action is Action.REMOVE:
            return self._table.remove(record, force)
        if action is Action.HOLD:
            return self._table.hold(record)
        if action is Action.RESUME:
            return self._table.resume(record)
        return self._table.requeue(record, requeued_tasks(record, self._all_tasks), force)


def requeued_tasks(record: Record, all_tasks: bool) -> list[NestedTask]:
    """The nested tasks, those that run again as todo: those that are not done, or all."""
    return [
        NestedTask(
            task.name,
            task.script,
            (State.DONE if task.status == State.DONE and not all_tasks else State.TODO).value,
        )
        for task in record.item.nested
    ]


def _tasks_to_run(record: Record, all_tasks: bool) -> int:
    nested = requeued_tasks(record, all_tasks)
    return sum(task.status == State.TODO for task in nested) if nested else record.tasks


def _same_claim(current: Record, seen: Record) -> bool:
    return (current.state, current.item.lock_id) == (seen.state, seen.item.lock_id)


def _name(record: Record) -> str:
    return f"{record.item.task_id} (item {record.item.item_id})"


def _why(lost: Lost, seen: Record) -> str:
    """Why an item was not changed."""
    if not lost.current:
        return "is gone"
    if _same_claim(lost.current, seen):
        return LOCKED.format(lost.current.item.instance_id)
    return f"changed meanwhile and is {lost.current.state}; left as it is"
