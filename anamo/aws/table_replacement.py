"""Replaces items by new ones: an importer's `--replace`.

Guaranteed: a transaction adds all its new items and removes all its old ones, or changes nothing.
"""

from collections.abc import Sequence
from typing import Any

from anamo.aws.dynamodb import Cancelled
from anamo.aws.table_writes import TableWrites
from anamo.core import transitions
from anamo.core.codec import encode
from anamo.core.item import Item, new_values
from anamo.core.record import Record


class TableReplacement(TableWrites):
    """Replaces items; threads may share it."""

    def replace(self, old: Sequence[Record], new: Sequence[Item], token: str) -> bool:
        """Remove items and add others, together at most 100, all or none.

        Args:
            old: As they were seen, in states that `transitions.REMOVE` begins in.
            new: Items that the table does not have.
            token: The write's own; see `insert`.

        Returns:
            False if an old item has changed since it was seen or a worker holds it, or a new one is
            there; nothing was written.

        Raises:
            Throttled: The table throttles.
            TransientError: Another transaction writes the same items.
        """
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
                    "Item": encode(new_values(item)),
                    "ConditionExpression": transitions.IMPORT.condition,
                }
            }
            for item in new
        ]
        items = [*(record.item for record in old), *new]
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
