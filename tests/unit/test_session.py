"""Sessions and clients: one session a process, credentials that end, what is metered."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import boto3.session
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.loaders import JSONFileLoader

from anamo import __version__
from anamo.aws import session
from anamo.aws.clock import DatabaseClock
from anamo.aws.log_store import LogStore, Packed
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.errors import AwsError, CredentialsExpired, CredentialsMissing, RegionMissing
from anamo.core.item import single_item
from tests.support.actors import LossyClient
from tests.support.environment import REGION
from tests.support.fleet import Fleet
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.table import Table

NOT_NOW = exceptions.CredentialRetrievalError(provider="container-role", error_msg="timed out")
EXPIRED = ClientError({"Error": {"Code": "ExpiredToken", "Message": "no"}}, "UpdateItem")


def failing(error: Exception) -> Any:
    """A client factory's client whose requests all fail."""

    def fail(**_: object) -> None:
        raise error

    def client(service: str) -> Any:
        made = boto3.client(service, region_name=REGION)  # type: ignore[call-overload]
        made.meta.events.register("before-call", fail)
        return made

    return client


def put_a_log(client: Callable[[str], Any], *renew: Any) -> None:
    LogStore(client("s3"), "bucket", *renew).put(Packed("key", b"", ()))


def renew_a_lease(client: Callable[[str], Any], *renew: Any) -> None:
    WorkflowTable(client("dynamodb"), "Table", None, *renew).renew(7, "lock", Holder("host", 2))


@pytest.mark.parametrize(("request_", "service"), [(put_a_log, "s3"), (renew_a_lease, "dynamodb")])
@pytest.mark.parametrize("error", [exceptions.NoCredentialsError(), NOT_NOW, EXPIRED])
def test_a_worker_waits_for_credentials_that_are_gone(
    request_: Any, service: str, error: Exception
) -> None:
    def not_yet() -> None:
        raise CredentialsMissing

    for renew in (lambda: failing(error)(service), not_yet):
        with pytest.raises(CredentialsExpired):
            request_(failing(error), renew)


def test_whoever_has_none_at_first_is_told_so() -> None:
    with pytest.raises(CredentialsMissing):
        put_a_log(failing(exceptions.NoCredentialsError()))


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes in which a session was made, as far as this one knows."""
    made: list[int] = []

    class Counted(boto3.session.Session):
        def __init__(self, **given: Any) -> None:
            made.append(os.getpid())
            super().__init__(**given)

    monkeypatch.setattr(session, "Session", Counted)
    session._session.cache_clear()  # noqa: SLF001
    return made


def test_clients_of_a_process_share_a_session_and_renewed_ones_have_their_own(
    sessions: list[int],
) -> None:
    session.dynamodb_client(None)
    session.s3_client(None)
    assert sessions == [os.getpid()]
    session.dynamodb_client(None, renew=True)
    session.s3_client(None, renew=True)
    assert len(sessions) == 3


def test_a_forked_process_makes_its_own_session(sessions: list[int]) -> None:
    session.dynamodb_client(None)
    fork = get_context("fork")
    told = fork.SimpleQueue()

    def child() -> None:
        session.dynamodb_client(None)
        session.s3_client(None)
        told.put(list(sessions))

    process = fork.Process(target=child)
    process.start()
    assert told.get() == [os.getpid(), process.pid]
    process.join(30)


def test_a_forked_process_reads_no_service_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are most of what a further worker process would take of memory."""
    session.dynamodb_client(None)
    session.s3_client(None)
    read: list[str] = []
    load_file = JSONFileLoader.load_file

    def noting(self: JSONFileLoader, path: str) -> Any:
        read.append(path)
        return load_file(self, path)

    monkeypatch.setattr(JSONFileLoader, "load_file", noting)
    fork = get_context("fork")
    told = fork.SimpleQueue()

    def child() -> None:
        session.dynamodb_client(None)
        session.s3_client(None)
        told.put(list(read))

    process = fork.Process(target=child)
    process.start()
    assert told.get() == []
    process.join(30)
    # The control: a session of its own reads them
    boto3.session.Session().client("dynamodb")
    assert any("dynamodb" in path for path in read)


def test_credentials_are_read_anew_by_a_renewed_client(
    sessions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sessions == []

    def key(client: Any) -> str:
        sent: list[str] = []

        def caught(request: Any, **_: object) -> None:
            sent.append(request.headers["Authorization"].decode())
            raise exceptions.HTTPClientError(error="not sent")

        client.meta.events.register("before-send", caught)
        with pytest.raises(exceptions.HTTPClientError):
            client.list_tables()
        return sent[0].partition("Credential=")[2].partition("/")[0]

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "first")
    assert key(session.dynamodb_client(None, 1)) == "first"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "second")
    assert key(session.dynamodb_client(None, 1)) == "first"
    assert key(session.dynamodb_client(None, 1, renew=True)) == "second"


def test_an_empty_region_is_a_missing_one(
    sessions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sessions == []
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert session.dynamodb_client(None, renew=True).meta.region_name == "eu-central-1"
    assert session.s3_client("eu-west-1").meta.region_name == "eu-west-1"
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(RegionMissing):
        session.dynamodb_client(None, renew=True)


def test_an_endpoint_without_a_scheme_is_named(
    sessions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sessions == []
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "127.0.0.1:8000")
    with pytest.raises(
        AwsError, match=r"Invalid endpoint: 127\.0\.0\.1:8000 .* begins with http://"
    ):
        session.dynamodb_client(None, renew=True)


def test_a_workers_requests_are_those_of_boto3_and_name_pyanamo(
    fleet: Fleet, make_proxy: Callable[[str], Proxy], dynamodb: str, s3: str
) -> None:
    agents = {}
    for variable, endpoint in (("DYNAMODB", dynamodb), ("S3", s3)):
        seen = agents[variable] = set[str]()

        def noting(request: Request, forward: Forward, seen: set[str] = seen) -> Reply:
            seen.add(request.headers["User-Agent"])
            return forward(request)

        proxy = make_proxy(endpoint)
        proxy.behaviour = noting
        fleet.environment[f"AWS_ENDPOINT_URL_{variable}"] = proxy.url
    fleet.add(["true"])
    assert fleet.start().wait().returncode == 0
    for seen in agents.values():
        assert seen
        assert all(each.startswith("Boto3/") for each in seen)
        assert all(f"pyanamo/{__version__}" in each for each in seen)


# What boto3's events tell


def test_tables_that_share_a_client_have_meters_of_their_own(
    make_table: Callable[[], Table],
) -> None:
    first, second = make_table(), make_table()
    client = boto3.client("dynamodb", endpoint_url=first.client.meta.endpoint_url)
    tables = [WorkflowTable(client, each.name) for each in (first, second)]
    for ours in tables:
        ours.insert([single_item("Task-1", "true")], ours.name)
    tables[0].todo(0, 1)
    tables[1].todo(0, 1)
    tables[1].todo(0, 1)
    consumed = [each.meter.consumed for each in tables]
    assert [each.requests for each in consumed] == [2, 3]
    assert [each.read_units for each in consumed] == [0.5, 1.0]


def test_writes_are_metered_through_a_wrapped_client_even_if_their_reply_is_lost(
    table: Table,
) -> None:
    client = LossyClient(table.client)
    ours = WorkflowTable(client, table.name)
    item = replace(single_item("Task-1", "true"), lock_id=table.name)
    ours.insert([item], item.lock_id)
    inserted = ours.meter.consumed
    assert (inserted.requests, inserted.write_units) == (1, 0)
    holder = Holder("host", 60)
    assert ours.claim(item, "mine", holder)
    claimed = ours.meter.consumed
    assert claimed.requests == 2
    assert claimed.write_units > 1
    assert ours.claim(item, "other", holder) is None
    assert ours.meter.consumed.write_units == claimed.write_units + 1


def test_the_clock_is_set_by_a_renewed_client_too(table: Table) -> None:
    url = table.client.meta.endpoint_url

    def renewed() -> Any:
        return boto3.client("dynamodb", endpoint_url=url)

    ours = WorkflowTable(failing(EXPIRED)("dynamodb"), table.name, WrongClock(), renewed)
    with pytest.raises(CredentialsExpired):
        ours.todo(0, 1)
    assert ours.clock.now() < 3600
    assert ours.todo(0, 1) == []
    assert ours.clock.now() > 1_700_000_000
    assert ours.meter.consumed.requests == 1


class WrongClock(DatabaseClock):
    """A clock of 1970."""

    def __init__(self) -> None:
        super().__init__(wall=lambda: 0.0)
