"""Sends the transitions of importers and workers: every change of an item is one conditional write.

Guaranteed: a write whose reply was lost is recognised as already applied when it is sent again.
Losing a race is a return value. Every method raises what a request raises (see `table`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from anamo.aws.dynamodb import Cancelled, ConditionFailed, TableRequests
from anamo.aws.update import GROUP_LIMIT, STATUS_LIMIT, Results, Update
from anamo.core import transitions
from anamo.core.codec import ItemId, Values, decode, encode
from anamo.core.item import Item, State, new_values
from anamo.core.item_size import HOST_ERROR_LIMIT
from anamo.core.log_entry import LogEntry
from anamo.core.transitions import Transition

TRANSACTION_BYTES = 4_000_000
"""Bytes of one TransactWriteItems (4 MB in DynamoDB's quotas)."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who claims.

    Attributes:
        instance_id: The host or job.
        lease: How long its leases last, in seconds.
        attempt: Which attempt of an AWS Batch job it is, from 1; 0 outside of AWS Batch.
        worker: What the tokens of one worker process begin with.
    """

    instance_id: str
    lease: int
    attempt: int = 0
    worker: str = ""

    def as_process(self) -> "Holder":
        """The same for the worker process that calls this. The report tells by the tokens which of
        a host's worker processes ran what.
        """
        return replace(self, worker=uuid4().hex[:8])

    def new_lock_id(self) -> str:
        """A token that no other claim has; it ends with the number of the attempt, if any."""
        return self.worker + uuid4().hex[len(self.worker) :] + self._suffix

    def held_before(self, item: Item) -> bool:
        """Whether an earlier attempt of this job claimed the item last, and so is dead."""
        return (
            self.attempt > 1
            and item.instance_id == self.instance_id
            and not item.lock_id.endswith(self._suffix)
        )

    @property
    def _suffix(self) -> str:
        return f".{self.attempt}" if self.attempt else ""


class TableWrites(TableRequests):
    """Changes items; threads may share it."""

    def insert(self, items: Sequence[Item], token: str) -> Mapping[ItemId, str]:
        """Add up to 100 new items, all or none.

        Args:
            items: Together at most TRANSACTION_BYTES.
            token: The write's own, so that DynamoDB reports success when it is sent again
                because its reply was lost, for ten minutes. It is also the items' first lockID,
                which no late write knows from an earlier life of an item that was removed.

        Returns:
            The states by itemID of those that the table had already. Nothing was written if there
            are any.

        Raises:
            Throttled: The table throttles.
            TransientError: Another import is writing the same items.
        """
        puts = [self._put(item, token) for item in items]
        return self._transact(items, puts, token)

    def _put(self, item: Item, token: str) -> dict[str, Any]:
        """A transaction's write of a new item."""
        return {
            "Put": {
                "TableName": self.name,
                "Item": encode({**new_values(item), "lockID": token}),
                "ConditionExpression": transitions.IMPORT.condition,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _transact(
        self, items: Sequence[Item], changes: Sequence[dict[str, Any]], token: str
    ) -> Mapping[ItemId, str]:
        """Send a transaction; the states by itemID of the items whose conditions failed.

        Args:
            items: The items that the changes are of, in their order.
            changes: All are written, or none.
            token: The transaction's own; see `insert`.
        """
        try:
            self.send(
                self._client.transact_write_items,
                named=False,
                TransactItems=changes,
                ClientRequestToken=token,
            )
        except Cancelled as cancelled:
            return cancelled.existing_states(items, self.name)
        return {}

    def claim(self, seen: Item, lock_id: str, holder: Holder) -> Item | None:
        """Take a todo item; None if it is not todo any more, or was claimed in the meantime.

        Args:
            seen: The item as the index listed it.
            lock_id: The claim's token, minted for this claim.
            holder: Who claims it.
        """
        values = {":todo": State.TODO.value, ":seen": seen.lock_id, ":string": "S"}
        return self._send_claim(transitions.CLAIM, seen.item_id, lock_id, holder, values)

    def take_over(self, seen: Item, lock_id: str, holder: Holder) -> Item | None:
        """Take a locked item whose lease has ended; None if another worker was quicker or the
        lease has not ended.

        Args:
            seen: The item as the index listed it.
            lock_id: The claim's token, minted for this claim.
            holder: Who claims it.
        """
        values = {":seen": seen.lock_id, ":epoch": self._epoch()}
        return self._send_claim(transitions.TAKE_OVER, seen.item_id, lock_id, holder, values)

    def take_over_earlier(self, seen: Item, lock_id: str, holder: Holder) -> Item | None:
        """Take an item that an earlier attempt of the holder's AWS Batch job holds, without waiting
        for its lease; None if another process was quicker.

        Args:
            seen: The item as the index listed it.
            lock_id: The claim's token, minted for this claim.
            holder: Who claims it.
        """
        values = {":seen": seen.lock_id}
        return self._send_claim(
            transitions.TAKE_OVER_EARLIER, seen.item_id, lock_id, holder, values
        )

    def _send_claim(
        self,
        transition: Transition,
        item_id: ItemId,
        lock_id: str,
        holder: Holder,
        values: dict[str, Any],
    ) -> Item | None:
        update = Update(lock_id, values, {"#Log": "Log"})
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
            item = Item.from_values(failed.item) if failed.item else None
            if item is None or not already_applied(item, State.LOCKED, lock_id):
                return None
            # The lease began with the attempt whose reply was lost, and may end soon
            expires = max(self._expiry(holder), item.lease_expires or 0)
            if not self._extend_lease(item_id, Update(lock_id, {":expires": expires})):
                return None
            return replace(item, lease_expires=expires)

    def renew(self, item_id: ItemId, lock_id: str, holder: Holder, so_far: str = "") -> bool:
        """Extend the lease to its full length from now; False if the claim is lost.

        Args:
            item_id: The item.
            lock_id: The claim's token.
            holder: Who holds it.
            so_far: The address of its tasks' output so far, if that is in S3.
        """
        update = Update(lock_id, {":expires": self._expiry(holder)})
        if so_far:
            update.values[":so_far"] = so_far
            update.clauses.append("Log_So_Far = :so_far")
        return self._extend_lease(item_id, update)

    def _extend_lease(self, item_id: ItemId, update: Update) -> bool:
        return self._settle(transitions.RENEW, item_id, State.LOCKED, update)

    def record(self, item: Item, results: Mapping[str, LogEntry], ended: int) -> bool:
        """Write up to GROUP_LIMIT results of nested tasks; False if the claim is lost.

        Args:
            item: The item as it was claimed.
            results: Log entries by the names of the tasks, at least one.
            ended: How many nested tasks of the item have ended, these included.
        """
        ends = {f":{state}": state.value for state in (State.DONE, State.FAILED)}
        update = Update(item.lock_id, ends)
        update.add_results(item, results, ended)
        return self._settle(transitions.RECORD, item.item_id, State.LOCKED, update)

    def finish(
        self, item: Item, state: State, results: Results, ended: int, failed: int = 0
    ) -> bool:
        """End the item as done or failed with its last results; False if the claim is lost.

        Args:
            item: The item as it was claimed.
            state: DONE or FAILED.
            results: The single task's, or up to GROUP_LIMIT of nested tasks.
            ended: How many nested tasks of the item have ended, these included.
            failed: How many of them have failed.
        """
        update = Update(item.lock_id, {":now": self.clock.timestamp()})
        update.add_results(item, results, ended)
        if isinstance(results, LogEntry):
            update.set_length(results.lines)
        elif item.is_nested:
            update.set_length(ended)
        if state == State.FAILED:
            update.set("Failures", item.failures + 1)
            # Where some have not run, `status` reads the item
            update.set("Failed_Tasks", failed if item.is_nested and ended == item.tasks else 0)
        return self._settle(transitions.FINISH, item.item_id, state, update)

    def release(self, item: Item, results: Results, ended: int) -> bool:
        """Give the item back with the results there are; False if the claim is lost.

        Args:
            item: The item as it was claimed.
            results: As for `finish`, or none.
            ended: How many nested tasks of the item have ended, these included.
        """
        update = Update(item.lock_id, {":one": 1})
        # Without results the table keeps what it has, Ended_Tasks too: a record whose reply was
        # lost may have been applied
        if results:
            update.add_results(item, results, ended)
        return self._settle(transitions.RELEASE, item.item_id, State.TODO, update)

    def give_back(self, item: Item, results: Results, ended: int, why: str) -> bool:
        """Give the item back after a host error; False if the claim is lost.

        Args:
            item: The item as it was claimed.
            results: As for `finish`, or none.
            ended: How many nested tasks of the item have ended, these included.
            why: The host error, which is cut to HOST_ERROR_LIMIT.
        """
        reason = why.encode()[:HOST_ERROR_LIMIT].decode("utf-8", "ignore")
        update = Update(item.lock_id, {":one": 1, ":zero": 0, ":why": reason})
        if results:
            update.add_results(item, results, ended)
        return self._settle(transitions.GIVE_BACK, item.item_id, State.TODO, update)

    def retry(self, item: Item, results: Results, ended: int, again: Sequence[str] = ()) -> bool:
        """Give a failed item back to be retried; False if the claim is lost.

        Args:
            item: The item as it was claimed.
            results: The single task's, or up to GROUP_LIMIT of nested tasks.
            ended: How many nested tasks of the item have ended, without those that run again.
            again: The names of the nested tasks that run again.
        """
        recorded = [name for name in again if isinstance(results, LogEntry) or name not in results]
        while len(recorded) > GROUP_LIMIT:
            part, recorded = recorded[:STATUS_LIMIT], recorded[STATUS_LIMIT:]
            # Where it is refused, the claim is lost, or the retry itself was applied and its reply
            # lost: the last write tells
            self.retry_part(item, part)
        update = Update(item.lock_id, {":one": 1, ":failures": item.failures + 1})
        update.add_results(item, results, ended, again)
        update.set_todo(recorded)
        return self._settle(transitions.RETRY, item.item_id, State.TODO, update)

    def retry_part(self, item: Item, names: Sequence[str]) -> bool:
        """Set up to STATUS_LIMIT failed nested tasks to todo; False if the claim is lost.

        Args:
            item: The item as it was claimed.
            names: Those of the tasks.
        """
        update = Update(item.lock_id, {})
        update.set_todo(names)
        return self._settle(transitions.RETRY_PART, item.item_id, State.LOCKED, update)

    def _settle(
        self, transition: Transition, item_id: ItemId, target: State, update: Update
    ) -> bool:
        """Send a holder's write: True if it was applied, now or on an earlier attempt."""
        if target not in transition.targets:
            raise ValueError(f"{transition.name} leads to {transition.targets}, not to {target}")
        update.values |= {":locked": State.LOCKED.value, ":mine": update.lock_id}
        if ":target" in " ".join(transition.set):
            update.values[":target"] = target.value
        try:
            self._write(transition, item_id, update, "NONE")
        except ConditionFailed as failed:
            item = Item.from_values(failed.item) if failed.item else None
            # Where the claim continues, a later write of this same claim may have come first
            applied = already_applied(item, target, update.lock_id)
            # An operator may have made the item todo: the results tell whose write it was
            return applied and (target != State.TODO or update.is_in(failed.item or {}))
        return True

    def _write(
        self, transition: Transition, item_id: ItemId, update: Update, returned: str
    ) -> Values:
        """Send a transition.

        Args:
            transition: Gives the condition, and clauses and attributes of its own.
            item_id: The item.
            update: Gives the values, and further clauses and attributes.
            returned: Which attributes to return, as DynamoDB's `ReturnValues` takes it.

        Returns:
            The attributes.

        Raises:
            ConditionFailed: The transition's condition does not hold.
        """
        expression = "SET " + ", ".join((*transition.set, *update.clauses))
        if removed := (*transition.remove, *update.removed):
            expression += " REMOVE " + ", ".join(removed)
        request: dict[str, Any] = {
            "Key": encode({"itemID": item_id}),
            "ConditionExpression": transition.condition,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": encode(update.values),
            "ReturnValues": returned,
            # Shows whether an earlier attempt of this very write is why the condition fails
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if update.paths:
            request["ExpressionAttributeNames"] = update.paths
        return decode(self.send(self._client.update_item, **request).get("Attributes", {}))

    def _expiry(self, holder: Holder) -> int:
        return math.ceil(self.clock.now() + holder.lease)

    def _epoch(self) -> int:
        return math.floor(self.clock.surely_past())


def already_applied(item: Item | None, target: State, lock_id: str) -> bool:
    """Whether the item is what an earlier attempt of the same write made of it."""
    return item is not None and item.state == target.value and item.lock_id == lock_id
