"""The proxy does to requests what its tests rely on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from http.client import RemoteDisconnected
from typing import TYPE_CHECKING
from urllib.request import urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from tests.support.proxy import (
    Forward,
    Proxy,
    Reply,
    Request,
    cutting,
    dating,
    dropping_reply,
    failing,
    on,
    skewing,
)
from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

NO_RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=10)


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], dynamodb: str) -> Proxy:
    return make_proxy(dynamodb)


@pytest.fixture
def client(proxy: Proxy) -> Iterator[DynamoDBClient]:
    client: DynamoDBClient = boto3.client("dynamodb", endpoint_url=proxy.url, config=NO_RETRIES)
    yield client
    client.close()


def put(client: DynamoDBClient, table: Table, item_id: int) -> None:
    client.put_item(TableName=table.name, Item={"itemID": {"N": str(item_id)}})


def ids(table: Table) -> set[int]:
    return {item["itemID"] for item in table.items()}


def test_it_passes_and_records(proxy: Proxy, client: DynamoDBClient, table: Table) -> None:
    put(client, table, 1)
    client.get_item(TableName=table.name, Key={"itemID": {"N": "1"}})
    assert ids(table) == {1}
    assert [request.operation for request in proxy.requests] == ["PutItem", "GetItem"]
    assert proxy.requests[0].json["Item"] == {"itemID": {"N": "1"}}


def test_a_dropped_reply_is_of_a_request_that_was_executed(
    proxy: Proxy, client: DynamoDBClient, table: Table
) -> None:
    proxy.behaviour = dropping_reply
    with pytest.raises(ConnectionClosedError):
        put(client, table, 1)
    assert ids(table) == {1}


def test_a_cut_request_was_not_executed(proxy: Proxy, client: DynamoDBClient, table: Table) -> None:
    proxy.behaviour = cutting
    with pytest.raises(ConnectionClosedError):
        put(client, table, 1)
    assert ids(table) == set()


@pytest.mark.parametrize(
    ("code", "status"),
    [("ProvisionedThroughputExceededException", 400), ("InternalServerError", 500)],
)
def test_it_answers_an_error_of_dynamodb_in_its_stead(
    proxy: Proxy, client: DynamoDBClient, table: Table, code: str, status: int
) -> None:
    proxy.behaviour = failing(code, status)
    with pytest.raises(ClientError) as caught:
        put(client, table, 1)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert ids(table) == set()


def test_it_treats_the_first_requests_of_one_operation_only(
    proxy: Proxy, client: DynamoDBClient, table: Table
) -> None:
    proxy.behaviour = on("PutItem", cutting, first=2)
    client.list_tables()
    for item_id in (1, 2):
        with pytest.raises(ConnectionClosedError):
            put(client, table, item_id)
    put(client, table, 3)
    assert ids(table) == {3}
    assert proxy.operations == Counter({"PutItem": 3, "ListTables": 1})


def test_it_refuses_connections_while_down(
    proxy: Proxy, client: DynamoDBClient, table: Table
) -> None:
    put(client, table, 1)
    with proxy.down(), pytest.raises((EndpointConnectionError, ConnectionClosedError)):
        put(client, table, 2)
    with proxy.down(), pytest.raises(EndpointConnectionError):
        put(client, table, 3)
    put(client, table, 4)
    assert ids(table) == {1, 4}


def test_it_keeps_connections_open(proxy: Proxy, client: DynamoDBClient, table: Table) -> None:
    connections = set()

    def behaviour(request: Request, forward: Forward) -> Reply:
        connections.add(threading.get_ident())  # a thread serves one connection
        return forward(request)

    proxy.behaviour = behaviour
    for item_id in range(20):
        put(client, table, item_id)
    assert len(connections) == 1


def test_a_behaviour_can_hold_one_request_while_others_pass(
    proxy: Proxy, client: DynamoDBClient, table: Table
) -> None:
    released = threading.Event()

    def behaviour(request: Request, forward: Forward) -> Reply:
        if request.operation == "PutItem":
            assert released.wait(10)
        return forward(request)

    proxy.behaviour = behaviour
    held = threading.Thread(target=put, args=(client, table, 1))
    held.start()
    client.list_tables()
    assert ids(table) == set()
    released.set()
    held.join(10)
    assert ids(table) == {1}


def test_it_sets_the_date_ahead(proxy: Proxy, client: DynamoDBClient) -> None:
    proxy.behaviour = skewing(3600)
    headers = client.list_tables()["ResponseMetadata"]["HTTPHeaders"]
    assert parsedate_to_datetime(headers["date"]).timestamp() == pytest.approx(
        time.time() + 3600, abs=30
    )


def test_a_reply_can_be_made_up(proxy: Proxy, client: DynamoDBClient) -> None:
    proxy.behaviour = lambda _request, _forward: Reply.of({"TableNames": ["nowhere"]})
    assert client.list_tables()["TableNames"] == ["nowhere"]


def test_an_error_in_a_behaviour_is_not_lost(dynamodb: str) -> None:
    def behaviour(_request: Request, _forward: Forward) -> Reply:
        raise LookupError

    def use() -> None:
        with Proxy(dynamodb) as proxy:
            proxy.behaviour = behaviour
            with pytest.raises(RemoteDisconnected):
                urlopen(proxy.url)

    with pytest.raises(LookupError):
        use()


def test_it_stands_before_s3_too(
    make_proxy: Callable[[str], Proxy], s3: str, s3_client: S3Client, bucket: str
) -> None:
    proxy = make_proxy(s3)
    client: S3Client = boto3.client("s3", endpoint_url=proxy.url, config=NO_RETRIES)
    body = b"line\n" * 300_000
    client.put_object(Bucket=bucket, Key="a log", Body=body)
    assert client.head_object(Bucket=bucket, Key="a log")["ContentLength"] == len(body)
    part = client.get_object(Bucket=bucket, Key="a log", Range="bytes=0-4")
    assert part["Body"].read() == b"line\n"
    path = f"/{bucket}/a%20log"
    assert proxy.operations == Counter([f"PUT {path}", f"HEAD {path}", f"GET {path}"])

    proxy.behaviour = failing("AccessDenied", 403)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.put_object(Bucket=bucket, Key="another", Body=body)
    client.close()
    assert s3_client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_dating_sends_one_reply_in_ten_ahead_from_a_certain_request_on(
    dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(dynamodb)
    proxy.behaviour = dating(86_400, lambda request: request.operation == "DescribeLimits")
    client = boto3.client("dynamodb", endpoint_url=proxy.url)
    operations = [client.list_tables] * 3 + [client.describe_limits] + [client.list_tables] * 11
    ahead = [
        parsedate_to_datetime(operation()["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
        > time.time() + 80_000
        for operation in operations
    ]
    assert [number for number, late in enumerate(ahead) if late] == [3, 13]
