"""Creating a table, and checking that it can be used."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from anamo.aws.dynamodb import STATE_INDEX, TableExists, TableRequests
from anamo.aws.retry import RetryPolicy
from anamo.core.capacity import INDEX_FILE, Index
from anamo.core.errors import CredentialsExpired, TableMissing, TableUnusable, Unreachable

CHECK_SECONDS = 300.0
"""How long a check before the work is retried while AWS throttles or fails."""

AT_ONCE = (Unreachable, CredentialsExpired)
"""Faults that end such a check immediately."""

ACTIVATION_SECONDS = 900
"""How long to wait for a table that is being created; four indexes take a minute or two."""


class TableAdmin(TableRequests):
    """Creates a table, and waits until it can be used."""

    def create(self) -> bool:
        """Create the table with on-demand billing; False if it exists."""
        indexes = [
            {key: value for key, value in index.items() if key != "ProvisionedThroughput"}
            for index in _index_definitions()
        ]
        names = {"itemID": "N", "ItemState": "S", "taskID": "S", "InstanceID": "S"}
        names["Log_Length"] = "N"
        try:
            self.send(
                self._client.create_table,
                AttributeDefinitions=[
                    {"AttributeName": name, "AttributeType": kind} for name, kind in names.items()
                ],
                KeySchema=[{"AttributeName": "itemID", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
                GlobalSecondaryIndexes=indexes,
            )
        except TableExists:
            return False
        return True

    def prepare(
        self,
        sleep: Callable[[float], object],
        say: Callable[[str], object],
        *,
        create: bool = False,
    ) -> None:
        """Check key and indexes, and wait until the table is active.

        Passing faults are retried: a thousand workers may start at once.

        Args:
            sleep: Waits that many seconds.
            say: Told what is waited for.
            create: Create the table if it does not exist.

        Raises:
            TableMissing: It does not exist.
            TableUnusable: The message says what is wrong.
            Unreachable: Immediately: whoever just typed the command can correct it.
            CredentialsExpired: Immediately, too.
            AwsError: Or another of its subclasses.
        """

        def attempt() -> None:
            if create and self.create():
                say(f"table {self.name}: created")
            self._wait_until_usable(sleep, say)

        RetryPolicy(sleep).retry(
            attempt, CHECK_SECONDS, say=lambda fault: say(f"{fault}; trying again"), at_once=AT_ONCE
        )

    def indexes(self) -> list[Index]:
        """The indexes that the table has, as DynamoDB describes them."""
        described = self.send(self._client.describe_table)["Table"]
        return list(map(Index.from_definition, described.get("GlobalSecondaryIndexes", [])))

    def _wait_until_usable(
        self, sleep: Callable[[float], object], say: Callable[[str], object]
    ) -> None:
        deadline = self.clock.monotonic() + ACTIVATION_SECONDS
        described = self._describe(sleep)
        _check_schema(self.name, described)
        waiting = False
        while not_ready := _not_ready(described):
            if self.clock.monotonic() > deadline:
                raise TableUnusable(f"table {self.name}: still not active: {not_ready}")
            if not waiting:
                say(f"waiting for table {self.name}: {not_ready}")
            waiting = True
            sleep(2)
            described = self._describe(sleep)

    def wide_indexes(self) -> list[str]:
        """The names of the indexes that hold whole items."""
        answer = self.send(self._client.describe_table)
        indexes = answer["Table"].get("GlobalSecondaryIndexes", [])
        return [index["IndexName"] for index in indexes if _is_wide(index)]

    def _describe(self, sleep: Callable[[float], object]) -> Mapping[str, Any]:
        try:
            answer = self.send(self._client.describe_table)
        except TableMissing:
            # Right after CreateTable, DescribeTable may not find the table yet
            sleep(1)
            answer = self.send(self._client.describe_table)
        table: Mapping[str, Any] = answer["Table"]
        return table


def _index_definitions() -> list[dict[str, Any]]:
    definitions: list[dict[str, Any]] = json.loads(INDEX_FILE.read_text(encoding="utf-8"))
    return definitions


def _check_schema(name: str, table: Mapping[str, Any]) -> None:
    """Raise TableUnusable unless key and indexes are those of a workflow table."""
    kinds = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    key = [(each["AttributeName"], each["KeyType"]) for each in table["KeySchema"]]
    if key != [("itemID", "HASH")] or kinds.get("itemID") != "N":
        raise TableUnusable(
            f"table {name}: its key must be itemID, a number, and nothing else; "
            "make a new table with --create-table"
        )
    existing = {each["IndexName"]: each for each in table.get("GlobalSecondaryIndexes", [])}
    for index in _index_definitions():
        found = existing.get(index["IndexName"], {})
        if found.get("KeySchema") != index["KeySchema"]:
            raise TableUnusable(
                f"table {name}: index {index['IndexName']} is missing or has another key; "
                f"{INDEX_FILE.name} holds the indexes a workflow table has"
            )
        if index["IndexName"] == STATE_INDEX and (lacking := _lacking(found, index)):
            # Without these, workers would find items and could not claim them
            raise TableUnusable(
                f"table {name}: index {STATE_INDEX} does not project {', '.join(lacking)}; "
                f"{INDEX_FILE.name} holds the indexes a workflow table has"
            )


def _lacking(found: Mapping[str, Any], defined: Mapping[str, Any]) -> list[str]:
    """The attributes that an index should hold and does not."""
    if _is_wide(found):
        return []
    held = found["Projection"].get("NonKeyAttributes", [])
    return [name for name in defined["Projection"]["NonKeyAttributes"] if name not in held]


def _is_wide(index: Mapping[str, Any]) -> bool:
    """Whether an index holds whole items."""
    return bool(index["Projection"]["ProjectionType"] == "ALL")


def _not_ready(table: Mapping[str, Any]) -> str:
    """What is not active yet, in words; empty if all is."""
    if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
        return f"the table is {table['TableStatus']}"
    for index in table.get("GlobalSecondaryIndexes", []):
        if index.get("IndexStatus", "ACTIVE") not in ("ACTIVE", "UPDATING"):
            return f"index {index['IndexName']} is {index['IndexStatus']}"
    return ""
