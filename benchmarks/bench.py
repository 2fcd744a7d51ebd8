"""The rig: both servers, tables, and the commands that are timed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from anamo.aws.table import WorkflowTable
from anamo.aws.table_admin import INDEX_FILE
from anamo.core.item import Item, nested_item, single_item
from anamo.importer.importer import Importer
from benchmarks.measure import Contender, Failed, Sample, run
from benchmarks.servers import BUCKET, s3_sink
from tests.support.dynamodb_local import dynamodb_local
from tests.support.environment import dummy_account, environment, scrub
from tests.support.table import KEY_TYPES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).parents[1]

WARM_UP = 6_000
"""Items: 3,000 of the database floor took 9 to 12 s the first time, 6.3 to 7.2 then, and 5.9 to 6.7
the third time, in four runs. The worker's first 3,000 after those took 15.4 to 19.1 s, the next
ones 12.1 to 14.2, in three runs.
"""


@dataclass(frozen=True)
class Bench:
    """Where things run. `folder` is emptied at the end. With `wide`, indexes hold whole items."""

    prepared: Path
    folder: Path
    client: DynamoDBClient
    environment: Mapping[str, str]
    wide: bool = False

    @contextmanager
    def table(self, items: Iterable[Item] = ()) -> Iterator[str]:
        """A workflow table with these items."""
        table = WorkflowTable(self.client, f"Bench-{uuid.uuid4().hex[:8]}")
        if self.wide:
            create_wide(self.client, table.name)
        else:
            table.create()
        try:
            Importer(table).run(list(items))
            yield table.name
        finally:
            self.client.delete_table(TableName=table.name)

    def run(self, *command: str, **variables: str) -> Sample:
        """Run a command, in an empty folder of its own."""
        folder = self.folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        try:
            return run(command, {**self.environment, **variables}, folder)
        finally:
            shutil.rmtree(folder)

    def python(self, *command: str) -> Sample:
        """Run a module of the benchmark, or a script of the project."""
        return self.run(sys.executable, *command)

    def work(self, table: str, *flags: str) -> Sample:
        """Run the worker until nothing is left; Failed if an item is not done then."""
        where = ["-t", table, "-b", BUCKET, "-r", "us-east-1"]
        sample = self.python(str(ROOT / "pyanamo.py"), *where, *flags)
        if WorkflowTable(self.client, table).last_todo() is not None:
            raise Failed(f"table {table} still has items: {sample.output[-500:]}")
        return sample

    def contender(
        self, name: str, tasks: int, items: Sequence[Item], job: Callable[[str], Sample]
    ) -> Contender:
        """What works through a table of its own, created for each run."""

        def work() -> Sample:
            with self.table(items) as table:
                return job(table)

        return Contender(name, tasks, work)


def create_wide(client: DynamoDBClient, name: str) -> None:
    """Make a workflow table as the original has them."""
    definitions: Any = json.loads(INDEX_FILE.read_text(encoding="utf-8"))
    for definition in definitions:
        definition["Projection"] = {"ProjectionType": "ALL"}
        del definition["ProvisionedThroughput"]
    attributes: Any = [
        {"AttributeName": attribute, "AttributeType": kind} for attribute, kind in KEY_TYPES.items()
    ]
    client.create_table(
        TableName=name,
        AttributeDefinitions=attributes,
        KeySchema=[{"AttributeName": "itemID", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=definitions,
    )


def singles(count: int, script: str = "true") -> list[Item]:
    """Single items."""
    return [single_item(f"Sample{number}", script) for number in range(count)]


def nested(count: int, tasks: int, script: str = "true") -> list[Item]:
    """Nested items."""
    return [nested_item(f"Sample{number}", [script] * tasks) for number in range(count)]


@contextmanager
def bench(prepared: Path, folder: Path) -> Iterator[Bench]:
    """Start both servers, cut off from the caller's AWS account."""
    scrub(os.environ)
    home = folder / "home"
    engine = folder / "engine"
    for each in (home, engine):
        each.mkdir()
    with (
        # As it is delivered: it runs for long enough to be compiled well
        dynamodb_local(engine, prepared, java_options=()) as database,
        s3_sink(prepared) as s3,
    ):
        os.environ.update(dummy_account(home))
        variables = environment(home, dynamodb=database, s3=s3) | {"PYTHONPATH": str(ROOT)}
        client: DynamoDBClient = boto3.client("dynamodb", endpoint_url=database)
        rig = Bench(prepared, folder, client, variables)
        _warm_up(rig)
        yield rig


def _warm_up(rig: Bench) -> None:
    """Use the database until it is compiled, for the requests of the floor and of the worker: no
    part should pay for that because it comes first.
    """
    with rig.table(singles(WARM_UP)) as table:
        rig.python("-m", "benchmarks.floor", "database", table)
    with rig.table(singles(WARM_UP)) as table:
        rig.work(table, "-i", "2")
