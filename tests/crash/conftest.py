"""Fixtures of the crash tests: a table with a history, a ledger, a fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.support.fleet import Fleet
from tests.support.history import changes, faults, keep_history
from tests.support.scripts import Scripts
from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient


@pytest.fixture(scope="session")
def streams(dynamodb: str) -> Iterator[DynamoDBStreamsClient]:
    """Client for the streams of DynamoDB Local."""
    client: DynamoDBStreamsClient = boto3.client("dynamodbstreams", endpoint_url=dynamodb)
    yield client
    client.close()


@pytest.fixture
def watched(table: Table) -> Table:
    """An empty workflow table that keeps its history."""
    keep_history(table)
    return table


@pytest.fixture
def fleet(scripts: Scripts, watched: Table, bucket: str, tmp_path: Path) -> Fleet:
    """Workers on the watched table."""
    return Fleet(scripts, watched, bucket, tmp_path)


@pytest.fixture
def find_faults(fleet: Fleet, streams: DynamoDBStreamsClient) -> Callable[[], list[str]]:
    """What happened in the fleet's table that must not."""
    return lambda: faults(changes(fleet.table, streams), fleet.ledger.starts())
