"""Sends an operator's transitions: an item is changed only if it is still as it was seen.

Guaranteed: of nested tasks a requeue sets the statuses and nothing else. If it is cut off half way,
because an item has more of them than fit in one write, no worker runs the item, and another requeue
completes it. A replacement adds all its new items and removes all its old ones, or changes nothing.
A lost reply is recognised, and losing a race is a return value, as in `table_writes`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from anamo.aws import table_writes
from anamo.aws.dynamodb import ConditionFailed
from anamo.aws.table_writes import TableWrites
from anamo.aws.update import STATUS_LIMIT, Update
from anamo.core import transitions
from anamo.core.codec import encode
from anamo.core.item import NULL, Item, NestedTask, State
from anamo.core.record import ENDED, Record
from anamo.core.transitions import Transition


@dataclass(frozen=True, slots=True)
class Lost:
    """A change that lost a race.

    Attributes:
        current: The item as it is now; None if it is gone.
    """

    current: Record | None


class OperatorWrites(TableWrites):
    """Requeues, holds, resumes, removes and replaces items; threads may share it."""

    def requeue(self, seen: Record, nested: Sequence[NestedTask], force: bool) -> Lost | None:
        """Make an item todo, provided that it is still as it was seen.

        Args:
            seen: The item as the operator saw it.
            nested: All its nested tasks with the statuses they are to have: todo, or as seen.
            force: Take it from its holder too.

        Returns:
            None once it is todo.

        Raises:
            ValueError: The transition does not begin in the state seen.
        """
        transition = transitions.REQUEUE_LOCKED if force else transitions.REQUEUE
        _check_source(transition, seen)
        while len(changed := _changed(seen, nested)) > STATUS_LIMIT:
            current = self.requeue_part(seen, changed[:STATUS_LIMIT], force)
            if isinstance(current, Lost):
                return current
            seen, force, transition = current, False, transitions.REQUEUE
        ended = sum(task.status in ENDED for task in nested)
        update = Update(NULL, {":todo": State.TODO.value} | self._as_seen(seen, force))
        update.set_todo(changed)
        update.set("Ended_Tasks", ended)
        if not ended:
            # Where it stays, `status` reads the item to see how far it is
            update.removed.append("Lock_Date")

        def applied(item: Item) -> bool:
            # A holder may have given it back, with its attempts and failed tasks as they were
            as_new = (item.attempts, item.nested) == (0, tuple(nested))
            return as_new and table_writes.already_applied(item, State.TODO, seen.item.lock_id)

        return self._change(transition, seen, update, applied)

    def requeue_part(self, seen: Record, names: Sequence[str], force: bool) -> Record | Lost:
        """Set up to STATUS_LIMIT nested tasks to todo before a requeue; the item as it is then.

        Args:
            seen: The item as the operator saw it.
            names: Those of the tasks.
            force: Take it from its holder too.

        Raises:
            ValueError: The transition does not begin in the state seen.
        """
        transition = transitions.REQUEUE_LOCKED_PART if force else transitions.REQUEUE_PART
        _check_source(transition, seen)
        item = seen.item
        # Shows whether this write was already applied; a holder must not take it for its own
        token = item.lock_id if item.state == State.FAILED else f"{item.lock_id}-requeued"
        values = {":failed": State.FAILED.value, ":token": token, ":todo": State.TODO.value}
        update = Update(token, values | self._as_seen(seen, force))
        update.set_todo(names)
        try:
            return Record.from_values(self._write(transition, item.item_id, update, "ALL_NEW"))
        except ConditionFailed as failed:
            if failed.item is None:
                return Lost(None)
            current = Record.from_values(failed.item)
            left = {task.name for task in current.item.nested if task.status != State.TODO}
            applied = table_writes.already_applied(current.item, State.FAILED, token)
            return current if applied and not left & set(names) else Lost(current)

    def remove(self, seen: Record, force: bool) -> Lost | None:
        """Delete an item, provided that it is still as it was seen.

        Args:
            seen: The item as the operator saw it.
            force: Delete one that a worker holds too.

        Returns:
            None once it is gone.

        Raises:
            ValueError: The transition does not begin in the state seen.
        """
        transition = transitions.REMOVE_LOCKED if force else transitions.REMOVE
        _check_source(transition, seen)
        try:
            self.send(
                self._client.delete_item,
                Key=encode({"itemID": seen.item.item_id}),
                ConditionExpression=transition.condition,
                ExpressionAttributeValues=encode(self._as_seen(seen, force)),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            return Lost(Record.from_values(failed.item)) if failed.item else None
        return None

    def remove_part(self, seen: Record, names: Sequence[str]) -> Lost | None:
        """Take failed nested tasks out of a failed item, provided that it is still as it was seen.

        Args:
            seen: The item as the operator saw it.
            names: Those of the nested tasks, at most STATUS_LIMIT and not all of the item's.

        Returns:
            None once they are gone.

        Raises:
            ValueError: The item was not seen as failed.
        """
        _check_source(transitions.REMOVE_PART, seen)
        left = [task.status for task in seen.item.nested if task.name not in names]
        target = State.DONE if set(left) == {State.DONE.value} else State.FAILED
        ended, failures = sum(status in ENDED for status in left), left.count(State.FAILED.value)
        values = {":target": target.value, ":left": len(left), ":left_ended": ended}
        update = Update(NULL, values | self._as_seen(seen, force=True))
        update.remove_nested(names)
        update.set("Ended_Tasks", ended)
        update.set("Failed_Tasks", failures if ended == len(left) else 0)

        def applied(item: Item) -> bool:
            gone = not {task.name for task in item.nested} & set(names)
            return gone and table_writes.already_applied(item, target, seen.item.lock_id)

        return self._change(transitions.REMOVE_PART, seen, update, applied)

    def replacement(self, old: Sequence[Record], new: Sequence[Item]) -> Callable[[], bool]:
        """The write that removes items and adds others, together at most 100, all or none.

        It may be sent again because its reply was lost. Its token, of which `insert` says more, and
        its time are then the same, or DynamoDB would reject it.

        Args:
            old: As they were seen, in states that `transitions.REMOVE` begins in.
            new: Items that the table does not have.

        Returns:
            What sends it: False if an old item has changed since it was seen or a worker holds it,
            or a new one is there; nothing was written then.

        Raises:
            Throttled: The table throttles.
            TransientError: Another transaction writes the same items.
        """
        token = uuid4().hex
        changes: list[dict[str, Any]] = [
            {
                "Delete": {
                    "TableName": self.name,
                    "Key": encode({"itemID": record.item.item_id}),
                    "ConditionExpression": transitions.REMOVE.condition,
                    "ExpressionAttributeValues": encode(self._as_seen(record, force=False)),
                }
            }
            for record in old
        ]
        changes += [self._put(item, token) for item in new]
        items = [*(record.item for record in old), *new]
        return lambda: not self._transact(items, changes, token)

    def hold(self, seen: Record) -> Lost | None:
        """Keep a todo item from workers, provided that it is still as it was seen.

        Returns:
            None once it is held.

        Raises:
            ValueError: It was not seen as todo.
        """
        return self._move(transitions.HOLD, seen)

    def resume(self, seen: Record) -> Lost | None:
        """Let workers take a held item again, provided that it is still as it was seen.

        Returns:
            None once it is todo.

        Raises:
            ValueError: It was not seen as held.
        """
        return self._move(transitions.RESUME, seen)

    def _move(self, transition: Transition, seen: Record) -> Lost | None:
        _check_source(transition, seen)
        (target,) = transition.targets
        values = {":target": target.value, **self._as_seen(seen, force=True)}

        def applied(item: Item) -> bool:
            return table_writes.already_applied(item, target, seen.item.lock_id)

        return self._change(transition, seen, Update(NULL, values), applied)

    def _change(
        self,
        transition: Transition,
        seen: Record,
        update: Update,
        applied: Callable[[Item], bool],
    ) -> Lost | None:
        """Send a change of an item; None once it is written.

        Args:
            transition: The change.
            seen: The item as the operator saw it.
            update: What it sets.
            applied: Whether an item that fails the condition fails it because this change was
                written before, and its reply was lost.
        """
        try:
            self._write(transition, seen.item.item_id, update, "NONE")
        except ConditionFailed as failed:
            current = Record.from_values(failed.item) if failed.item else None
            return None if current and applied(current.item) else Lost(current)
        return None

    def _as_seen(self, seen: Record, force: bool) -> dict[str, Any]:
        """The values of `transitions.AS_SEEN`, and of NO_LIVE_LEASE unless forced."""
        lock, length, ended = seen.seen
        values = {":seen": seen.state, ":lock": lock, ":length": length, ":ended": ended}
        return values if force else values | {":epoch": self._epoch(), ":number": "N"}


def _changed(seen: Record, nested: Sequence[NestedTask]) -> list[str]:
    """The names of the nested tasks that are to be todo and were not."""
    seen_todo = {task.name for task in seen.item.nested if task.status == State.TODO}
    return [
        task.name for task in nested if task.status == State.TODO and task.name not in seen_todo
    ]


def _check_source(transition: Transition, seen: Record) -> None:
    """Raises ValueError where the transition does not begin in the state seen."""
    if seen.item.state not in {source.value for source in transition.sources}:
        raise ValueError(f"{transition.name} does not begin in {seen.item.state}")
