"""Fixtures: local servers for the whole run, tables, buckets and child processes for one test."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import settings

from tests.support import shared_servers
from tests.support.dynamodb_local import dynamodb_local
from tests.support.environment import dummy_account, environment, scrub
from tests.support.fleet import Fleet
from tests.support.moto_server import moto_server
from tests.support.proxy import Proxy
from tests.support.scripts import Scripts
from tests.support.table import Table, workflow_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client


SERVERS = {"dynamodb", "s3"}
"""Fixtures that start DynamoDB Local and moto's server."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --long and --quick."""
    parser.addoption("--long", action="store_true", help="include the tests marked `long`")
    parser.addoption("--quick", action="store_true", help="leave out what needs a local server")


def pytest_configure(config: pytest.Config) -> None:
    """Cut this process off from the caller's AWS account; let SIGTERM, too, run the teardowns."""
    scrub(os.environ)
    os.environ.update(dummy_account(Path(os.devnull)))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Examples start processes and ask DynamoDB Local: how long one takes says nothing of the code
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")
    # Children would respect that nohup, or a script that runs this in the background, ignores them
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Processes that this one starts with -n find the variable set
    if shared_servers.ADDRESS not in os.environ:
        servers = ExitStack()
        folder = Path(servers.enter_context(TemporaryDirectory(prefix="pytest-servers-")))
        starts = {"dynamodb": lambda: dynamodb_local(folder), "s3": moto_server}
        servers.enter_context(shared_servers.shared_servers(starts))
        config.add_cleanup(servers.close)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked `long` unless asked for; with --quick those that use a server."""

    def left_out(item: pytest.Item) -> bool:
        if config.getoption("--quick") and SERVERS & set(getattr(item, "fixturenames", ())):
            return True
        return bool(item.get_closest_marker("long")) and not config.getoption("--long")

    config.hook.pytest_deselected(items=[item for item in items if left_out(item)])
    items[:] = [item for item in items if not left_out(item)]


@pytest.fixture(scope="session")
def dynamodb() -> str:
    """Endpoint URL of DynamoDB Local, which all processes of the run share."""
    return shared_servers.endpoint("dynamodb")


@pytest.fixture(scope="session")
def s3() -> str:
    """Endpoint URL of a local S3, which all processes of the run share."""
    return shared_servers.endpoint("s3")


@pytest.fixture(scope="session")
def dynamodb_client(dynamodb: str) -> Iterator[DynamoDBClient]:
    """Client for DynamoDB Local; threads may share it."""
    client: DynamoDBClient = boto3.client("dynamodb", endpoint_url=dynamodb)
    yield client
    client.close()


@pytest.fixture(scope="session")
def s3_client(s3: str) -> Iterator[S3Client]:
    """Client for the local S3; threads may share it."""
    client: S3Client = boto3.client("s3", endpoint_url=s3)
    yield client
    client.close()


@pytest.fixture
def wide(request: pytest.FixtureRequest) -> bool:
    """Whether the indexes of tables hold whole items; `both_kinds` sets it."""
    return bool(getattr(request, "param", False))


@pytest.fixture
def make_table(dynamodb_client: DynamoDBClient, wide: bool) -> Iterator[Callable[[], Table]]:
    """Make as many workflow tables as the test likes, each with a name of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(workflow_table(dynamodb_client, wide=wide))


@pytest.fixture(scope="module")
def shared(dynamodb_client: DynamoDBClient) -> Iterator[Table]:
    """A workflow table for all tests of a module."""
    with workflow_table(dynamodb_client) as made:
        yield made


@pytest.fixture
def table(make_table: Callable[[], Table]) -> Table:
    """An empty workflow table."""
    return make_table()


@pytest.fixture
def bucket(s3_client: S3Client) -> str:
    """Name of an empty bucket; it goes with the server."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def scripts(dynamodb: str, s3: str, tmp_path: Path) -> Iterator[Scripts]:
    """Child processes in a scrubbed environment, each ended with the test."""
    home = tmp_path / "home"
    home.mkdir()
    with Scripts(environment(home, dynamodb=dynamodb, s3=s3), tmp_path) as scripts:
        yield scripts


@pytest.fixture(scope="session")
def shared_scripts(
    dynamodb: str, s3: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scripts]:
    """Child processes that prepare what several tests read."""
    folder = tmp_path_factory.mktemp("shared-scripts")
    with Scripts(environment(folder, dynamodb=dynamodb, s3=s3), folder) as scripts:
        yield scripts


@pytest.fixture
def run(scripts: Scripts) -> Callable[..., Any]:
    """`Scripts.run`: run a script to its end."""
    return scripts.run


@pytest.fixture
def start(scripts: Scripts) -> Callable[..., Any]:
    """`Scripts.start`: start a script."""
    return scripts.start


@pytest.fixture
def fleet(scripts: Scripts, table: Table, bucket: str, tmp_path: Path) -> Fleet:
    """Importers and workers for the table."""
    return Fleet(scripts, table, bucket, tmp_path)


@pytest.fixture
def make_proxy() -> Iterator[Callable[[str], Proxy]]:
    """Make a proxy before an endpoint URL; what its behaviours raised fails the test at the end."""
    with ExitStack() as stack:
        yield lambda upstream: stack.enter_context(Proxy(upstream))


@pytest.fixture
def database(fleet: Fleet, dynamodb: str, make_proxy: Callable[[str], Proxy]) -> Proxy:
    """What stands between the fleet's workers and DynamoDB."""
    proxy = make_proxy(dynamodb)
    fleet.environment["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    return proxy


@pytest.fixture
def store(fleet: Fleet, s3: str, make_proxy: Callable[[str], Proxy]) -> Proxy:
    """What stands between the fleet's workers and S3."""
    proxy = make_proxy(s3)
    fleet.environment["AWS_ENDPOINT_URL_S3"] = proxy.url
    return proxy
