"""`pyanamo.py requeue` and `remove`: items back to todo, or gone.

Guaranteed: nothing is changed before the operator has confirmed it; each item is changed by one
conditional write, and only if it is still what the operator was asked about; a held item only if
forced. Whoever worked on it then finds the claim lost and writes nothing.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

from anamo.aws import session
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.aws.table_writes import Lost
from anamo.cli.progress_bar import import_bar
from anamo.core.errors import UsageError
from anamo.core.item import NestedTask, State
from anamo.core.record import Record
from anamo.core.text import count
from anamo.operator import selection

THREADS = 8
"""Writes under way at once."""

TRIES = 20
"""How often an item is looked at anew whose holder records results meanwhile."""

NAMED = 20
"""Items left alone that are named."""


class Action(str, Enum):
    """What to do to items."""

    REQUEUE = "requeue"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """names: task ids or itemIDs, none for all in `state`. all_nested: nested tasks that are done
    run again too. force: held items too. confirmed: ask nobody.
    """

    table: str
    region: str | None
    action: Action
    state: str
    names: Sequence[str]
    all_nested: bool = False
    force: bool = False
    confirmed: bool = False


class Change:
    """Requeues or removes items of one table; `say` is given what the operator should know."""

    def __init__(self, asked: ChangeRequest, say: Callable[[str], object]) -> None:
        client = session.dynamodb_client(asked.region)
        self._request = asked
        self._say = say
        self._patience = OperatorRetry(say)
        self._table = WorkflowTable(client, asked.table)
        self._left: list[str] = []
        self._held = 0

    def run(self) -> bool:
        """Do it; False if items that were meant have been left as they are.

        Raises UsageError where a name means nothing or nobody confirmed, and what requests of
        `table` raise.
        """
        meant = [record for record in self._meant() if self._free(record)]
        if meant and not self._confirm(meant):
            self._say("nothing was changed")
            return False
        changed = self._change(meant) if meant else 0
        for line in self._left[:NAMED]:
            self._say(line)
        if len(self._left) > NAMED:
            self._say(f"and {len(self._left) - NAMED:,} more left as they are")
        if self._held:
            say = f"{count(self._held, 'item')} held by workers left as they are"
            self._say(f"{say} (--force takes them)")
        done = {Action.REQUEUE: "requeued", Action.REMOVE: "removed"}[self._request.action]
        print(f"{self._request.table}: {done} {count(changed, 'item')}")
        return not self._left

    def _meant(self) -> Iterator[Record]:
        """The items in the state that is asked for; those that were named and are not, are said."""
        asked = self._request
        selection.check_state(self._table, asked.state, self._patience)
        if not asked.names:
            yield from selection.in_state(
                self._table, asked.state, Projection.STANDING, self._patience
            )
            return
        for name, records in selection.named(
            self._table, asked.names, Projection.STANDING, self._patience
        ):
            for record in records:
                if record.state == asked.state:
                    yield record
                else:
                    self._left.append(selection.elsewhere(name, record, asked.state))

    def _free(self, record: Record) -> bool:
        if self._request.force or not record.leased(self._table.clock.now()):
            return True
        if self._request.names:
            self._left.append(f"{_name(record)} {_HELD.format(record.item.instance_id)}")
        else:
            # Nobody who frees what is locked means these
            self._held += 1
        return False

    # The question

    def _confirm(self, meant: Sequence[Record]) -> bool:
        if self._request.confirmed:
            return True
        if not sys.stdin.isatty():
            raise UsageError(
                f"{self._question(meant)} Nobody to ask: add --yes to confirm; nothing was changed"
            )
        print(f"{self._question(meant)} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _question(self, meant: Sequence[Record]) -> str:
        """What will be done, with counts."""
        asked = self._request
        items = f"{count(len(meant), f'{asked.state} item')} of table {asked.table}"
        held = sum(record.leased(self._table.clock.now()) for record in meant)
        forced = f", {held:,} of them from workers that hold them" if held else ""
        if asked.action is Action.REMOVE:
            return f"Remove {items}{forced}? Their logs in S3 stay."
        tasks = sum(_to_run(record, self._all) for record in meant)
        return f"Requeue {items} ({count(tasks, 'task')} to run){forced}?"

    @property
    def _all(self) -> bool:
        """Whether nested tasks run again that are done: done items have no others."""
        return self._request.all_nested or self._request.state == State.DONE

    # The writes

    def _change(self, meant: Sequence[Record]) -> int:
        changed = 0
        bar = import_bar(self._request.table, len(meant), self._say)
        with bar as advance, ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(self._apply, record) for record in meant]
            try:
                for record, future in zip(meant, futures, strict=True):
                    lost = future.result()
                    advance(1)
                    changed += lost is None
                    if lost:
                        self._left.append(f"{_name(record)} {_instead(lost, record)}")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                self._say(f"broke off after {count(changed, 'item')}; run the same command again")
                raise
        return changed

    def _apply(self, record: Record) -> Lost | None:
        """Change an item. What its holder records meanwhile is kept: it is looked at anew."""
        for _ in range(TRIES):
            lost = self._patience(lambda seen=record: self._write(seen))  # type: ignore[misc]
            if lost is None or not lost.current or not _same_claim(lost.current, record):
                break
            if not self._request.force and lost.current.leased(self._table.clock.now()):
                break
            record = lost.current
        return lost

    def _write(self, record: Record) -> Lost | None:
        force = self._request.force and record.state == State.LOCKED
        if self._request.action is Action.REMOVE:
            return self._table.remove(record, force)
        return self._table.requeue(record, again(record, all_tasks=self._all), force)


_HELD = "is held by {}, whose lease has not ended; left as it is (--force takes it)"


def again(record: Record, *, all_tasks: bool) -> list[NestedTask]:
    """The nested tasks with those todo that shall run: the failed ones, or all."""
    return [
        NestedTask(task.name, task.script, str(_status(task, all_tasks=all_tasks)))
        for task in record.item.nested
    ]


def _status(task: NestedTask, *, all_tasks: bool) -> State:
    return State.DONE if task.status == State.DONE and not all_tasks else State.TODO


def _to_run(record: Record, all_tasks: bool) -> int:
    nested = again(record, all_tasks=all_tasks)
    return sum(task.status == State.TODO for task in nested) if nested else record.tasks


def _same_claim(there: Record, seen: Record) -> bool:
    return (there.state, there.item.lock_id) == (seen.state, seen.item.lock_id)


def _name(record: Record) -> str:
    return f"{record.item.task_id} (item {record.item.item_id})"


def _instead(lost: Lost, seen: Record) -> str:
    """Why an item was left alone."""
    if not lost.current:
        return "is gone"
    if _same_claim(lost.current, seen):
        return _HELD.format(lost.current.item.instance_id)
    return f"changed meanwhile and is {lost.current.state}; left as it is"
