"""Replaces items by new ones: an importer's `--replace`.

Guaranteed: a transaction adds all its new items and removes all its old ones, or changes nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from anamo.aws.operator_writes import OperatorWrites
from anamo.core import transitions
from anamo.core.codec import encode
from anamo.core.item import Item
from anamo.core.record import Record


class TableReplacement(OperatorWrites):
    """Replaces items; threads may share it."""

    def replacement(self, old: Sequence[Record], new: Sequence[Item]) -> Callable[[], bool]:
        """The write that removes items and adds others, together at most 100, all or none.

        It may be sent again because its reply was lost: its token, of which `insert` says more, and
        its time are the same each time, or DynamoDB would refuse it then.

        Args:
            old: As they were seen, in states that `transitions.REMOVE` begins in.
            new: Items that the table does not have.

        Returns:
            Sends it. Its answer is False if an old item has changed since it was seen or a worker
            holds it, or a new one is there; nothing was written then.

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
