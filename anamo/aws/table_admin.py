"""Workflow tables and their indexes: definition, creation, and the check before they are used."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anamo.aws.dynamodb import STATE_INDEX, TableExists, TableRequests
from anamo.aws.retry import RetryPolicy
from anamo.core.capacity import Index
from anamo.core.errors import CredentialsExpired, TableMissing, TableUnusable, Unreachable

INDEX_FILE = Path(__file__).resolve().parents[1] / "workflow-gsi-index.json"
"""The indexes of a workflow table; in a checkout, a link to the file at the top."""

CHECK_SECONDS = 300.0
"""How long a check before the work is retried while AWS throttles or fails."""

NOT_RETRIED = (Unreachable, CredentialsExpired)
"""Faults that end such a check immediately."""

ACTIVATION_SECONDS = 900
"""How long to wait for a table that is being created; four indexes take a minute or two."""

_KEYS = {"itemID": "N", "ItemState": "S", "taskID": "S", "InstanceID": "S", "Log_Length": "N"}
"""The attributes of the keys of a table and its indexes, and their types."""

_DISPENSABLE = {"Failed_Tasks", "Failures"}
"""What ItemStateIndex need not hold: without Failed_Tasks, `status` reads failed items from the
table, and Failures comes with a claim.

Without lockID, InstanceID or Lease_Expires, workers would find items and could not take them. The
others are for operators, who take what an index lacks for what an item lacks: without Nested_Tasks,
Lock_Date or Done_Date, `status` would refuse to count, or count items that have nested tasks as one
task, what was given back half done as not begun, and what has ended at no time."""


def index_definitions() -> list[dict[str, Any]]:
    """The indexes of a workflow table, as CreateTable takes them."""
    definitions: list[dict[str, Any]] = json.loads(INDEX_FILE.read_text(encoding="utf-8"))
    return definitions


def workflow_indexes() -> list[Index]:
    """The indexes of a workflow table."""
    return list(map(Index.from_definition, index_definitions()))


class TableAdmin(TableRequests):
    """Creates a table, and waits until it can be used."""

    def create(self) -> bool:
        """Create the table with on-demand billing; False if it exists."""
        indexes = [
            {key: value for key, value in index.items() if key != "ProvisionedThroughput"}
            for index in index_definitions()
        ]
        try:
            self.send(
                self._client.create_table,
                AttributeDefinitions=[
                    {"AttributeName": name, "AttributeType": kind} for name, kind in _KEYS.items()
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

        Transient errors are retried: a thousand workers may start at once.

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
            attempt,
            CHECK_SECONDS,
            say=lambda fault: say(f"{fault}; trying again"),
            not_retried=NOT_RETRIED,
        )

    def indexes(self) -> list[Index]:
        """The indexes that the table has."""
        return _indexes(self.send(self._client.describe_table)["Table"])

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

    def _describe(self, sleep: Callable[[float], object]) -> Mapping[str, Any]:
        try:
            response = self.send(self._client.describe_table)
        except TableMissing:
            # Right after CreateTable, DescribeTable may not find the table yet
            sleep(1)
            response = self.send(self._client.describe_table)
        table: Mapping[str, Any] = response["Table"]
        return table


def _check_schema(name: str, table: Mapping[str, Any]) -> None:
    """Raise TableUnusable unless key and indexes are those of a workflow table."""
    kinds = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    key = [(each["AttributeName"], each["KeyType"]) for each in table["KeySchema"]]
    if key != [("itemID", "HASH")] or kinds.get("itemID") != "N":
        raise TableUnusable(
            f"table {name}: its key must be itemID, a number, and nothing else; "
            "importing with --create-table creates a table that has it"
        )
    existing = {index.name: index for index in _indexes(table)}
    for index in workflow_indexes():
        if fault := _fault(index, existing.get(index.name)):
            raise TableUnusable(
                f"table {name}: index {index.name} {fault}; "
                f"{INDEX_FILE.name} holds the indexes a workflow table has"
            )


def _indexes(table: Mapping[str, Any]) -> list[Index]:
    return list(map(Index.from_definition, table.get("GlobalSecondaryIndexes", [])))


def _fault(index: Index, found: Index | None) -> str:
    """What is wrong with an index as it was found in a table; empty if nothing is."""
    if found is None or found.keys != index.keys:
        return "is missing or has another key"
    if index.name != STATE_INDEX or index.projected is None or found.projected is None:
        return ""
    lacking = sorted(index.projected - found.projected - _DISPENSABLE)
    return f"does not project {', '.join(lacking)}" if lacking else ""


def _not_ready(table: Mapping[str, Any]) -> str:
    """What is not active yet, in words; empty if all is."""
    if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
        return f"the table is {table['TableStatus']}"
    for index in table.get("GlobalSecondaryIndexes", []):
        if index.get("IndexStatus", "ACTIVE") not in ("ACTIVE", "UPDATING"):
            return f"index {index['IndexName']} is {index['IndexStatus']}"
    return ""
