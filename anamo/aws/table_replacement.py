"""Replaces items by new ones: an importer's `--replace`.

Guaranteed: a transaction adds all its new items and removes all its old ones, or changes nothing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from anamo.aws.dynamodb import Cancelled
from anamo.aws.operator_writes import OperatorWrites
from anamo.core import transitions
from anamo.core.codec import encode
from anamo.core.item import Item, new_values
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
        changes += [
            {
                "Put": {
                    "TableName": self.name,
                    "Item": encode({**new_values(item), "lockID": token}),
                    "ConditionExpression": transitions.IMPORT.condition,
                }
            }
            for item in new
        ]
        return partial(self._replace, [*(record.item for record in old), *new], changes, token)

    def _replace(
        self, items: Sequence[Item], changes: Sequence[dict[str, Any]], token: str
    ) -> bool:
        try:
            self.send(
                self._client.transact_write_items,
                named=False,
                TransactItems=changes,
                ClientRequestToken=token,
            )
        except Cancelled as cancelled:
            # Raises unless a condition was the reason
            return not cancelled.states_there(items, self.name)
        return True
