"""Sends the transitions of `core.transitions`: every change of an item is one conditional write.

Guaranteed: a write whose reply was lost is recognised as already applied when it is sent again.
Losing a race is a return value. Every method raises what a request raises (see `table`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anamo.aws.dynamodb import Cancelled, ConditionFailed, TableRequests
from anamo.aws.item_update import ItemUpdate, Results
from anamo.core import transitions
from anamo.core.codec import Values, decode, encode
from anamo.core.item import NULL, Item, NestedTask, State, new_values
from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.core.transitions import Transition

TRANSACTION_BYTES = 4_000_000
"""Bytes of one TransactWriteItems (4 MB in DynamoDB's quotas)."""

GROUP_LIMIT = 50
"""Results in one write: an update expression has at most 4 KB and 300 operators."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who claims.

    Attributes:
        instance_id: The host or job.
        lease: How long its leases last, in seconds.
    """

    instance_id: str
    lease: int


@dataclass(frozen=True, slots=True)
class Insertion:
    """What became of a transaction of puts.

    Attributes:
        existing: States of the items that were in the table, by itemID; nothing was written unless
            it is empty.
    """

    existing: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Lost:
    """A change that lost a race.

    Attributes:
        current: The item as it is now; None if it is gone.
    """

    current: Record | None


class TableWrites(TableRequests):
    """Changes items; threads may share it."""

    def insert(self, items: Sequence[Item], token: str) -> Insertion:
        """Add up to 100 new items, all or none.

        Args:
            items: Together at most TRANSACTION_BYTES.
            token: The write's own, so that DynamoDB answers with success when it is sent again
                because its reply was lost, for ten minutes. It is also the items' first lockID,
                which no late write knows from an earlier life of an item that was removed.

        Raises:
            Throttled: The table throttles.
            TransientError: Another import is writing the same items.
        """
        condition = transitions.IMPORT.condition
        puts = [
            {
                "Put": {
                    "TableName": self.name,
                    "Item": encode({**new_values(item), "lockID": token}),
                    "ConditionExpression": condition,
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            }
            for item in items
        ]
        try:
            self.send(
                self._client.transact_write_items,
                named=False,
                TransactItems=puts,
                ClientRequestToken=token,
            )
        except Cancelled as cancelled:
            return Insertion(cancelled.states_there(items, self.name))
        return Insertion({})

    # An operator's transitions

    def requeue(self, seen: Record, nested: Sequence[NestedTask], force: bool) -> Lost | None:
        """Make an item todo, provided that it is still as it was seen.

        Args:
            seen: The item as the operator saw it.
            nested: All its nested tasks with the statuses they are to have.
            force: Take it from its holder too.

        Returns:
            None once it is todo.

        Raises:
            ValueError: The transition does not begin in the state seen.
        """
        ended = sum(task.status == State.DONE.value for task in nested)
        values = {":todo": State.TODO.value, ":null": NULL, ":zero": 0, ":ended": ended}
        update = ItemUpdate(NULL, values | self._as_seen(seen, force))
        if nested:
            update.set_nested(nested)
        transition = transitions.REQUEUE_HELD if force else transitions.REQUEUE
        _check_source(transition, seen)
        try:
            self._write(transition, seen.item.item_id, update, "NONE")
        except ConditionFailed as failed:
            if failed.item is None:
                return Lost(None)
            current = Record.from_values(failed.item)
            # A holder may have given it back, with its attempts and failed tasks as they were
            anew = (current.item.attempts, current.item.nested) == (0, tuple(nested))
            applied = anew and _already_applied(current.item, State.TODO, seen.item.lock_id)
            return None if applied else Lost(current)
        return None

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
        transition = transitions.REMOVE_HELD if force else transitions.REMOVE
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
        try:
            self._write(transition, seen.item.item_id, ItemUpdate(NULL, values), "NONE")
        except ConditionFailed as failed:
            if failed.item is None:
                return Lost(None)
            current = Record.from_values(failed.item)
            applied = _already_applied(current.item, target, seen.item.lock_id)
            return None if applied else Lost(current)
        return None

    def _as_seen(self, seen: Record, force: bool) -> dict[str, Any]:
        """The values of `transitions.AS_SEEN`, and of UNHELD unless forced."""
        item = seen.item
        values = {":seen": item.state, ":lock": item.lock_id, ":length": item.log_length}
        return values if force else values | {":epoch": self._epoch(), ":number": "N"}

    # A worker's transitions

    def claim(self, seen: Item, lock_id: str, holder: Holder) -> Item | None:
        """Take a todo item; None if it is not todo any more.

        Args:
            seen: The item as the index listed it.
            lock_id: The claim's token, minted for this claim.
            holder: Who claims it.
        """
        follows = seen.lock_id
        while True:
            values = {":todo": State.TODO.value, ":seen": follows, ":string": "S"}
            item = self._hold(transitions.CLAIM, seen.item_id, lock_id, holder, values)
            # What this claim won has ended by now where its own lockID is that of a todo item
            if item is None or item.state != State.TODO or item.lock_id == lock_id:
                return item if _already_applied(item, State.LOCKED, lock_id) else None
            # Given back by a holder of whom the index does not know yet
            follows = item.lock_id

    def take_over(self, seen: Item, lock_id: str, holder: Holder) -> Item | None:
        """Take a locked item whose lease has ended; None if another worker was quicker or the
        lease has not ended.

        Args:
            seen: The item as the index listed it.
            lock_id: The claim's token, minted for this claim.
            holder: Who claims it.
        """
        values = {":seen": seen.lock_id, ":epoch": self._epoch()}
        item = self._hold(transitions.TAKE_OVER, seen.item_id, lock_id, holder, values)
        return item if _already_applied(item, State.LOCKED, lock_id) else None

    def _hold(
        self,
        transition: Transition,
        item_id: int,
        lock_id: str,
        holder: Holder,
        values: dict[str, Any],
    ) -> Item | None:
        """The item, as this claim made it or as another did; None if it is gone."""
        update = ItemUpdate(lock_id, values, {"#Log": "Log"})
        update.values |= {
            ":locked": State.LOCKED.value,
            ":mine": lock_id,
            ":instance": holder.instance_id,
            ":now": self.clock.timestamp(),
            ":expires": self._expiry(holder),
            ":zero": 0,
            ":one": 1,
            ":empty": {},
        }
        try:
            return Item.from_values(self._write(transition, item_id, update, "ALL_NEW"))
        except ConditionFailed as failed:
            return Item.from_values(failed.item) if failed.item else None

    def renew(self, item_id: int, lock_id: str, holder: Holder) -> bool:
        """Make the lease last from now; False if the claim is lost."""
        update = ItemUpdate(lock_id, {":expires": self._expiry(holder)})
        return self._settle(transitions.RENEW, item_id, State.LOCKED, update)

    def record(self, item: Item, results: Mapping[str, LogEntry], ended: int) -> bool:
        """Write up to GROUP_LIMIT results of nested tasks; False if the claim is lost.

        Args:
            item: The item as it was claimed.
            results: Log entries by the names of the tasks, at least one.
            ended: How many nested tasks of the item have ended, these included.
        """
        ends = {f":{state}": state.value for state in (State.DONE, State.FAILED)}
        update = ItemUpdate(item.lock_id, ends)
        update.add_results(results, ended)
        return self._settle(transitions.RECORD, item.item_id, State.LOCKED, update)

    def finish(self, item: Item, state: State, results: Results, ended: int) -> bool:
        """End the item as done or failed with its last results; False if the claim is lost.

        Args:
            item: The item as it was claimed.
            state: DONE or FAILED.
            results: The single task's, or up to GROUP_LIMIT of nested tasks.
            ended: How many nested tasks of the item have ended, these included.
        """
        failures = item.failures + (state == State.FAILED)
        values = {":now": self.clock.timestamp(), ":failures": failures}
        update = ItemUpdate(item.lock_id, values)
        update.add_results(results, ended)
        return self._settle(transitions.FINISH, item.item_id, state, update)

    def release(self, item: Item, results: Results, ended: int) -> bool:
        """Give the item back with the results there are; False if the claim is lost.

        The arguments are those of `finish`; `results` may be empty.
        """
        update = ItemUpdate(item.lock_id, dict(_FREED))
        # Without results the table keeps what it has, Log_Length too: a single item may have the
        # log of an earlier try, and a record whose reply was lost may have been applied
        if results:
            update.add_results(results, ended)
        return self._settle(transitions.RELEASE, item.item_id, State.TODO, update)

    def retry(self, item: Item, results: Results, ended: int, nested: Sequence[NestedTask]) -> bool:
        """Give a failed item back to be tried again; False if the claim is lost.

        The arguments are those of `finish`; `nested` is all its nested tasks with the statuses they
        are to have.
        """
        update = ItemUpdate(item.lock_id, {**_FREED, ":failures": item.failures + 1})
        update.add_results(results, ended, statuses=not nested)
        if nested:
            update.set_nested(nested)
        return self._settle(transitions.RETRY, item.item_id, State.TODO, update)

    def _settle(
        self, transition: Transition, item_id: int, target: State, update: ItemUpdate
    ) -> bool:
        """Send a holder's write: True if it was applied, now or on an earlier try."""
        if target not in transition.targets:
            raise ValueError(f"{transition.name} leads to {transition.targets}, not to {target}")
        update.values |= {":locked": State.LOCKED.value, ":mine": update.lock_id}
        if ":target" in " ".join(transition.set):
            update.values[":target"] = target.value
        try:
            self._write(transition, item_id, update, "NONE")
        except ConditionFailed as failed:
            item = Item.from_values(failed.item) if failed.item else None
            # Where the claim goes on, a later write of this same claim may have come first
            applied = _already_applied(item, target, update.lock_id)
            # An operator may have made the item todo: the results tell whose write it was
            return applied and (target != State.TODO or update.is_in(failed.item or {}))
        return True

    def _write(
        self, transition: Transition, item_id: int, update: ItemUpdate, returned: str
    ) -> Values:
        """Send a transition; gives the attributes that `returned` asks for."""
        expression = "SET " + ", ".join((*transition.set, *update.clauses))
        if transition.remove:
            expression += " REMOVE " + ", ".join(transition.remove)
        request: dict[str, Any] = {
            "Key": encode({"itemID": item_id}),
            "ConditionExpression": transition.condition,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": encode(update.values),
            "ReturnValues": returned,
            # Shows whether an earlier try of this very write is why the condition fails
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if update.paths:
            request["ExpressionAttributeNames"] = update.paths
        return decode(self.send(self._client.update_item, **request).get("Attributes", {}))

    def _expiry(self, holder: Holder) -> int:
        return math.ceil(self.clock.now() + holder.lease)

    def _epoch(self) -> int:
        return math.floor(self.clock.surely_past())


def _check_source(transition: Transition, seen: Record) -> None:
    """Raises ValueError where the transition does not begin in the state seen."""
    if seen.item.state not in {source.value for source in transition.sources}:
        raise ValueError(f"{transition.name} does not begin in {seen.item.state}")


def _already_applied(item: Item | None, target: State, lock_id: str) -> bool:
    """Whether the item is what an earlier try of the same write made of it."""
    return item is not None and item.state == target.value and item.lock_id == lock_id


_FREED = {":null": NULL, ":one": 1}
