"""The transitions of `core.transitions`, sent: every change of an item is one conditional write.

Guaranteed: a write whose reply was lost is recognised as already applied when it is sent again.
Losing a race is a return value.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anamo.aws.dynamodb import Cancelled, ConditionFailed, TableRequests
from anamo.core import transitions
from anamo.core.item import (
    NULL,
    Attributes,
    Item,
    NestedTask,
    State,
    from_attributes,
    nested_attribute,
    new_attributes,
)
from anamo.core.log_entry import LogEntry
from anamo.core.record import Record, record_from
from anamo.core.transitions import Transition

TRANSACTION_BYTES = 4_000_000
"""Bytes of one TransactWriteItems (4 MB in DynamoDB's quotas)."""

GROUP_LIMIT = 50
"""Results of one write: an update expression may have 4 KB and 300 operators."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who claims: the instance, and how long its leases last in seconds."""

    instance_id: str
    lease: int


@dataclass(frozen=True, slots=True)
class Insertion:
    """What became of a transaction of puts: `existing` maps itemIDs that exist to their states, and
    nothing was written unless it is empty.
    """

    existing: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Lost:
    """A change that lost a race: `current` is what the item is instead, None if it is gone."""

    current: Record | None


Results = Mapping[str, LogEntry] | LogEntry
"""What a claim has to write: log entries of nested tasks by name, or the single task's."""


class TableWrites(TableRequests):
    """Changes items; threads may share it."""

    def insert(self, items: Sequence[Item], token: str) -> Insertion:
        """Add up to 100 new items, all or none.

        token: names this write, so that one that is sent again because its reply was lost is known
        to have landed, and its items do not count as somebody else's.
        Raises Throttled, or TransientError where another import writes the same items just now.
        """
        condition = transitions.IMPORT.condition
        puts = [
            {
                "Put": {
                    "TableName": self.name,
                    "Item": new_attributes(item),
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

    # The transitions of an operator

    def requeue(self, seen: Record, nested: Sequence[NestedTask], force: bool) -> Lost | None:
        """Make an item todo that is still as it was seen; None once it is.

        nested: all its nested tasks with the statuses they shall have. force: from its holder too.
        """
        ended = sum(task.status == State.DONE.value for task in nested)
        values = {
            ":todo": {"S": State.TODO.value},
            ":null": {"S": NULL},
            ":zero": {"N": "0"},
            ":ended": {"N": str(ended)},
        }
        update = _Update(NULL, values | self._as_seen(seen, force))
        if nested:
            update.paths["#TaskScript"] = "TaskScript"
            update.values[":nested"] = nested_attribute(nested)
            update.clauses.append("#TaskScript = :nested")
        transition = transitions.REQUEUE_HELD if force else transitions.REQUEUE
        _leaves(transition, seen)
        try:
            self._write(transition, seen.item.item_id, update, "NONE")
        except ConditionFailed as failed:
            there = record_from(failed.item) if failed.item else None
            # A holder may have given it back, with its attempts and failed tasks as they were
            afresh = there and (there.item.attempts, there.item.nested) == (0, tuple(nested))
            return (
                None
                if afresh and there and _already_applied(there.item, State.TODO, NULL)
                else Lost(there)
            )
        return None

    def remove(self, seen: Record, force: bool) -> Lost | None:
        """Delete an item that is still as it was seen; None once it is gone.

        force: a held one too.
        """
        transition = transitions.REMOVE_HELD if force else transitions.REMOVE
        _leaves(transition, seen)
        try:
            self.send(
                self._client.delete_item,
                Key={"itemID": {"N": str(seen.item.item_id)}},
                ConditionExpression=transition.condition,
                ExpressionAttributeValues=self._as_seen(seen, force),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            return Lost(record_from(failed.item)) if failed.item else None
        return None

    def _as_seen(self, seen: Record, force: bool) -> dict[str, Any]:
        """The values of `transitions.AS_SEEN`, and of UNHELD unless forced."""
        item = seen.item
        values = {
            ":seen": {"S": item.state},
            ":lock": {"S": item.lock_id},
            ":length": {"N": str(item.log_length)},
        }
        return values if force else values | {":epoch": self._epoch(), ":number": {"S": "N"}}

    # The transitions of a held item

    def claim(self, item_id: int, lock_id: str, holder: Holder) -> Item | None:
        """Take a todo item; None if it is not todo any more."""
        values = {":todo": {"S": State.TODO.value}}
        return self._hold(transitions.CLAIM, item_id, lock_id, holder, values)

    def take_over(self, seen: Item, lock_id: str, holder: Holder) -> Item | None:
        """Take a locked item whose lease has ended; None if somebody was quicker, or it goes on."""
        values = {":seen": {"S": seen.lock_id}, ":epoch": self._epoch()}
        return self._hold(transitions.TAKE_OVER, seen.item_id, lock_id, holder, values)

    def _hold(
        self,
        transition: Transition,
        item_id: int,
        lock_id: str,
        holder: Holder,
        values: dict[str, Any],
    ) -> Item | None:
        update = _Update(lock_id, values, {"#Log": "Log"})
        update.values |= {
            ":locked": {"S": State.LOCKED.value},
            ":mine": {"S": lock_id},
            ":instance": {"S": holder.instance_id},
            ":now": {"S": self.clock.timestamp()},
            ":expires": self._expiry(holder),
            ":zero": {"N": "0"},
            ":one": {"N": "1"},
            ":empty": {"M": {}},
        }
        try:
            return from_attributes(self._write(transition, item_id, update, "ALL_NEW"))
        except ConditionFailed as failed:
            item = from_attributes(failed.item) if failed.item else None
            return item if _already_applied(item, State.LOCKED, lock_id) else None

    def renew(self, item_id: int, lock_id: str, holder: Holder) -> bool:
        """Make the lease last from now; False if the claim is lost."""
        update = _Update(lock_id, {":expires": self._expiry(holder)})
        return self._settle(transitions.RENEW, item_id, State.LOCKED, update)

    def record(
        self, item: Item, holder: Holder, results: Mapping[str, LogEntry], ended: int
    ) -> bool:
        """Write up to GROUP_LIMIT results of nested tasks; False if the claim is lost.

        ended: how many nested tasks of the item have ended, these included.
        """
        update = _Update(item.lock_id, {":expires": self._expiry(holder)})
        update.add_results(results, ended)
        return self._settle(transitions.RECORD, item.item_id, State.LOCKED, update)

    def finish(self, item: Item, state: State, results: Results, ended: int) -> bool:
        """End the item as done or failed with its last results; False if the claim is lost.

        results: the single task's, or up to GROUP_LIMIT of nested tasks. ended: as for `record`.
        """
        failures = item.failures + (state == State.FAILED)
        update = _Update(item.lock_id, {":now": {"S": self.clock.timestamp()}})
        update.values[":failures"] = {"N": str(failures)}
        update.add_results(results, ended)
        return self._settle(transitions.FINISH, item.item_id, state, update)

    def release(self, item: Item, results: Results, ended: int) -> bool:
        """Give the item back with the results there are; False if the claim is lost.

        results, ended: as for `finish`.
        """
        update = _Update(item.lock_id, dict(_FREED))
        # Without results what the table has stays, Log_Length too: a single item may have the log
        # of an earlier try, and a record that had no reply may have landed
        if results:
            update.add_results(results, ended)
        return self._settle(transitions.RELEASE, item.item_id, State.TODO, update)

    def retry(self, item: Item, results: Results, ended: int, nested: Sequence[NestedTask]) -> bool:
        """Give a failed item back to be tried again; False if the claim is lost.

        results, ended: as for `finish`. nested: all nested tasks with the statuses they shall have.
        """
        update = _Update(item.lock_id, {**_FREED, ":failures": {"N": str(item.failures + 1)}})
        update.add_results(results, ended, statuses=not nested)
        if nested:
            # The whole map at once: hundreds of paths would not fit in an update expression
            update.paths["#TaskScript"] = "TaskScript"
            update.values[":nested"] = nested_attribute(nested)
            update.clauses.append("#TaskScript = :nested")
        return self._settle(transitions.RETRY, item.item_id, State.TODO, update)

    def _settle(
        self, transition: Transition, item_id: int, target: State, update: "_Update"
    ) -> bool:
        """Send a holder's write: True if it landed, now or on an earlier try."""
        if target not in transition.targets:
            raise ValueError(f"{transition.name} leads to {transition.targets}, not to {target}")
        update.values[":locked"] = {"S": State.LOCKED.value}
        update.values[":mine"] = {"S": update.lock_id}
        if ":target" in " ".join(transition.set):
            update.values[":target"] = {"S": target.value}
        try:
            self._write(transition, item_id, update, "NONE")
        except ConditionFailed as failed:
            item = from_attributes(failed.item) if failed.item else None
            if ":null" not in update.values:
                return _already_applied(item, target, update.lock_id)
            # A transition that frees the item takes the lockID away, and a holder that came after
            # may have freed it too: the results tell whose write it was
            return _already_applied(item, target, NULL) and update.is_in(failed.item or {})
        return True

    def _write(
        self, transition: Transition, item_id: int, update: "_Update", wanted: str
    ) -> Attributes:
        """Send a transition; the attributes `wanted`. Raises ConditionFailed."""
        expression = "SET " + ", ".join((*transition.set, *update.clauses))
        if transition.remove:
            expression += " REMOVE " + ", ".join(transition.remove)
        request: dict[str, Any] = {
            "Key": {"itemID": {"N": str(item_id)}},
            "ConditionExpression": transition.condition,
            "UpdateExpression": expression,
            "ExpressionAttributeValues": update.values,
            "ReturnValues": wanted,
            # Shows whether an earlier try of this very write is why the condition fails
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if update.paths:
            request["ExpressionAttributeNames"] = update.paths
        image: Attributes = self.send(self._client.update_item, **request).get("Attributes", {})
        return image

    def _expiry(self, holder: Holder) -> dict[str, str]:
        return {"N": str(math.ceil(self.clock.now() + holder.lease))}

    def _epoch(self) -> dict[str, str]:
        return {"N": str(math.floor(self.clock.now()))}


def _leaves(transition: Transition, seen: Record) -> None:
    """Raises ValueError where the transition does not begin in the state seen."""
    if seen.item.state not in {source.value for source in transition.sources}:
        raise ValueError(f"{transition.name} does not begin in {seen.item.state}")


def _already_applied(item: Item | None, target: State, lock_id: str) -> bool:
    """Whether an earlier try of a write made the item what it is."""
    return item is not None and item.state == target.value and item.lock_id == lock_id


_FREED = {":null": {"S": NULL}, ":one": {"N": "1"}}


@dataclass(slots=True)
class _Update:
    """What a transition's write needs beside its own clauses."""

    lock_id: str
    values: dict[str, Any]
    paths: dict[str, str] = field(default_factory=dict)
    clauses: list[str] = field(default_factory=list)

    def add_results(self, results: Results, ended: int, *, statuses: bool = True) -> None:
        """Write results too; `statuses` of nested tasks as well as their log entries."""
        if isinstance(results, LogEntry):
            self.values |= {":entry": results.to_attribute(), ":n": {"N": str(results.lines)}}
            self.paths["#Log"] = "Log"
            self.clauses += ["#Log = :entry", "Log_Length = :n"]
            return
        # Absolute, since a write that is sent again must not count twice
        self.values[":n"] = {"N": str(ended)}
        self.clauses.append("Log_Length = :n")
        for position, (name, entry) in enumerate(results.items()):
            self._add_result(f"t{position}", name, entry)
            if statuses:
                self._add_status(f"t{position}", State.DONE if entry.succeeded else State.FAILED)

    def is_in(self, image: Attributes) -> bool:
        """Whether the results are in an item. DynamoDB writes numbers in its own way."""
        log = image.get("Log", {})
        if ":entry" in self.values:
            return LogEntry.from_attribute(log) == LogEntry.from_attribute(self.values[":entry"])
        return all(
            LogEntry.from_attribute(log.get("M", {}).get(self.paths[f"#{key[1:]}"], {}))
            == LogEntry.from_attribute(entry)
            for key, entry in self.values.items()
            if f"#{key[1:]}" in self.paths
        )

    def _add_result(self, key: str, name: str, entry: LogEntry) -> None:
        self.paths |= {"#Log": "Log", f"#{key}": name}
        self.values[f":{key}"] = entry.to_attribute()
        self.clauses.append(f"#Log.#{key} = :{key}")

    def _add_status(self, key: str, state: State) -> None:
        self.paths |= {"#TaskScript": "TaskScript", "#Status": "Status"}
        self.values[f":{state}"] = {"S": state.value}
        self.clauses.append(f"#TaskScript.#{key}.#Status = :{state}")
