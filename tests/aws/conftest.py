"""Fixtures: an AWS account, and scripts run as one of its users."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.account import Account, aws_account
from tests.support.stack import Stack, make_stack, own_parameters
from tests.support.table import Table, workflow_table
from tests.support.task_files import import_here

LINE = "Task-{number}|{table}|seq|1,2\n"
LONG = "Long|{table}|bash -c 'echo begun; sleep $1' _|4\n"
LARGE = "Large|{table}|head -c 20000000|/dev/urandom\n"
"""What it prints does not compress, so that its log is uploaded in parts."""

Ended = CompletedProcess[str]
User = Mapping[str, str]


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    """An account; what tests make in it has names of its own."""
    with aws_account() as account:
        yield account


@pytest.fixture(scope="session")
def stack(account: Account) -> Stack:
    """A stack made with the defaults, but for the table's name."""
    return make_stack(account)


@pytest.fixture(scope="session")
def own_stack(account: Account) -> Stack:
    """A stack in a network of one's own, with a bucket and a key of one's own and every option."""
    return make_stack(account, **own_parameters(account))


@dataclass(frozen=True)
class Stage:
    """A table and a bucket in the account, and the scripts at work on them.

    Each is run as a user that is asked for its permissions.
    """

    account: Account
    table: Table
    bucket: str
    run: Callable[..., Any]
    folder: Path

    def run_as(self, user: User, *command: str, **options: Any) -> Ended:
        """Run a script."""
        there = {
            "AWS_ENDPOINT_URL_DYNAMODB": self.account.url,
            "AWS_ENDPOINT_URL_S3": self.account.url,
        }
        with self.account.enforced():
            ended: Ended = self.run(*command, env={**there, **user}, **options)
        return ended

    def load(self, user: User, lines: str, *more: str, table: str | None = None) -> Ended:
        """Run the importer on lines in which {table} stands for the table."""
        name = table or self.table.name
        command = ("import-items-generic.py", "-t", name, "-d", "-", "-s", "|", "-n", ",")
        return self.run_as(user, *command, *more, stdin=lines.replace("{table}", name))

    def work(self, user: User, *more: str) -> Ended:
        """Run the worker."""
        return self.run_as(user, "pyanamo.py", "-t", self.table.name, "-b", self.bucket, *more)

    def fill(self, lines: str, *flags: str) -> None:
        """Import as the account's owner lines in which {table} stands for the table."""
        file = self.folder / "tasks.txt"
        file.write_text(lines.replace("{table}", self.table.name))
        import_here(self.table, file, *flags)

    def states(self) -> Counter[str]:
        """How many items are in each state."""
        return self.table.states()

    def logs(self) -> list[int]:
        """The sizes of the log objects."""
        found = self.account.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [each["Size"] for each in found if each["Key"].endswith(".log.gz")]


@pytest.fixture
def stage(account: Account, run: Callable[..., Any], tmp_path: Path) -> Iterator[Stage]:
    """An empty table and an empty bucket."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    account.s3.create_bucket(Bucket=bucket)
    with workflow_table(account.dynamodb) as table:
        yield Stage(account, table, bucket, run, tmp_path)
