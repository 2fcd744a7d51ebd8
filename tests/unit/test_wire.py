"""Requests without the SDK: signed as the SDK signs, and given back to it when in trouble."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from mypy_boto3_s3 import S3Client

from anamo.aws import dynamodb_client as our_dynamodb
from anamo.aws import s3_client as our_s3
from anamo.wire import QUICK_BODY, REFUSALS, Access, QuickDynamoDB, Signer
from tests.support.environment import REGION
from tests.support.proxy import Behaviour, Proxy, Reply, cutting, failing, on
from tests.support.table import Table

KEY = st.text("abcXYZ019-_.~%/ é", min_size=1, max_size=30)


@given(KEY, st.binary(max_size=50), st.none() | st.just("token"))
def test_requests_are_signed_as_the_sdk_signs_them(
    key: str, body: bytes, token: str | None
) -> None:
    path = "/" + quote(key, safe="/~")
    theirs = AWSRequest("PUT", f"http://bucket.example{path}", {"x-amz-target": "T.Op"}, body)
    S3SigV4Auth(Credentials("AKID", "secret", token), "s3", REGION).add_auth(theirs)
    date = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
    ours = Signer("s3", REGION).sign(
        "PUT",
        path,
        {"x-amz-target": "T.Op", "host": "bucket.example"},
        body,
        ReadOnlyCredentials("AKID", "secret", token),
        date,
    )
    assert ours["authorization"] == theirs.headers["Authorization"]


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], dynamodb: str, monkeypatch: Any) -> Proxy:
    """A proxy before DynamoDB that our clients use."""
    made = make_proxy(dynamodb)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", made.url)
    return made


@pytest.fixture
def s3_proxy(make_proxy: Callable[[str], Proxy], s3: str, monkeypatch: Any) -> Proxy:
    """A proxy before S3 that our clients use."""
    made = make_proxy(s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.url)
    return made


def put(client: Any, table: Table, item_id: int, state: str = "todo") -> Any:
    return client.update_item(
        TableName=table.name,
        Key={"itemID": {"N": str(item_id)}},
        UpdateExpression="SET ItemState = :state",
        ConditionExpression="attribute_not_exists(itemID)",
        ExpressionAttributeValues={":state": {"S": state}},
        ReturnValues="ALL_NEW",
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )


def learned(table: Table) -> Any:
    """A client that has seen the SDK's way."""
    client = our_dynamodb(REGION)
    put(client, table, 1)
    return client


def test_only_the_first_request_goes_the_sdks_way(proxy: Proxy, table: Table) -> None:
    client = learned(table)
    answer = put(client, table, 2)
    assert answer["Attributes"] == {"itemID": {"N": "2"}, "ItemState": {"S": "todo"}}
    assert answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    retries = [request.headers["amz-sdk-request"] for request in proxy.requests]
    assert [bool(retry) for retry in retries] == [True, False]
    assert "Boto3" in proxy.requests[1].headers["User-Agent"]


def test_a_failed_condition_is_the_sdks_error(proxy: Proxy, table: Table) -> None:
    client = learned(table)
    with pytest.raises(ClientError) as caught:
        put(client, table, 1, "done")
    response: Any = caught.value.response
    assert response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert response["Item"]["ItemState"] == {"S": "todo"}
    assert len(proxy.requests) == 2


def corrupted(request: Any, forward: Any) -> Reply:
    reply: Reply = forward(request)
    reply.body = reply.body.replace(b"todo", b"dodo")
    return reply


def not_json(request: Any, forward: Any) -> Reply:
    reply: Reply = forward(request)
    del reply.headers["x-amz-crc32"]
    reply.body = b"<html>"
    return reply


@pytest.mark.parametrize("trouble", [cutting, corrupted, not_json])
def test_what_breaks_is_left_to_the_sdk(proxy: Proxy, table: Table, trouble: Behaviour) -> None:
    client = learned(table)
    proxy.behaviour = on("Query", trouble, first=1)
    query = {
        "TableName": table.name,
        "IndexName": "ItemStateIndex",
        "KeyConditionExpression": "ItemState = :state",
        "ExpressionAttributeValues": {":state": {"S": "todo"}},
    }
    assert client.query(**query)["Count"] == 1
    assert proxy.operations["Query"] == 2


def test_a_connection_that_was_closed_meanwhile_is_made_anew(proxy: Proxy, table: Table) -> None:
    client = learned(table)
    put(client, table, 2)
    with proxy.down():
        pass
    put(client, table, 3)
    assert len(proxy.requests) == 3


def test_errors_that_are_not_dynamodbs_have_the_status_as_code(proxy: Proxy, table: Table) -> None:
    client = learned(table)
    proxy.behaviour = failing("InternalServerError", 500)
    with pytest.raises(ClientError, match="InternalServerError"):
        put(client, table, 2)
    proxy.behaviour = lambda request, forward: Reply(503, request.headers, b"<html>")
    with pytest.raises(ClientError) as caught:
        put(client, table, 2)
    assert caught.value.response["Error"]["Code"] == "503"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_credentials_are_asked_for_each_request(proxy: Proxy, table: Table) -> None:
    sdk = boto3.client("dynamodb", REGION, endpoint_url=proxy.url)
    keys = iter(["FIRST", "SECOND"])
    access = Access(lambda: ReadOnlyCredentials(next(keys), "secret", "token"), None, 4, 8)
    client = QuickDynamoDB(sdk, access)
    for item_id in (1, 2, 3):
        put(client, table, item_id)
    sent = [request.headers["Authorization"] for request in proxy.requests]
    assert [re.findall("Credential=([A-Z]+)/", each) for each in sent[1:]] == [
        ["FIRST"],
        ["SECOND"],
    ]
    assert proxy.requests[-1].headers["X-Amz-Security-Token"] == "token"


def test_behind_a_proxy_the_sdk_does_everything(
    proxy: Proxy, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = our_dynamodb(REGION)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    for item_id in (1, 2):
        put(client, table, item_id)
    assert all(request.headers["amz-sdk-request"] for request in proxy.requests)


def log(number: int) -> dict[str, Any]:
    key = f"PyAnamo/Table%20x/a b+%2E/{number}.log.gz"
    return {"Key": key, "Body": b"log %d" % number, "ContentType": "application/gzip"}


def test_objects_land_where_the_sdk_puts_them(
    s3_proxy: Proxy, s3_client: S3Client, bucket: str
) -> None:
    client = our_s3(REGION)
    for number in range(3):
        client.put_object(Bucket=bucket, **log(number))
    for number in range(3):
        sent = log(number)
        reply = s3_client.get_object(Bucket=bucket, Key=sent["Key"])
        assert reply["Body"].read() == sent["Body"]
        assert reply["ContentType"] == "application/gzip"
    retries = [request.headers["amz-sdk-request"] for request in s3_proxy.requests]
    assert [bool(retry) for retry in retries] == [True, False, False]


def test_what_s3_refuses_is_left_to_the_sdk_and_soon_at_once(s3_proxy: Proxy, bucket: str) -> None:
    client = our_s3(REGION)
    client.put_object(Bucket=bucket, **log(0))

    def refusing(request: Any, forward: Any) -> Reply | None:
        if request.headers["amz-sdk-request"]:
            reply: Reply = forward(request)
            return reply
        return failing("InvalidRequest", 400)(request, forward)

    s3_proxy.behaviour = refusing
    for number in range(1, REFUSALS + 2):
        client.put_object(Bucket=bucket, **log(number))
    assert len(s3_proxy.requests) == 1 + 2 * REFUSALS + 1


def test_large_objects_and_other_buckets_go_the_sdks_way(
    s3_proxy: Proxy, s3_client: S3Client, bucket: str
) -> None:
    client = our_s3(REGION)
    client.put_object(Bucket=bucket, **log(0))
    s3_client.create_bucket(Bucket=f"{bucket}-2")
    client.put_object(Bucket=f"{bucket}-2", **log(1))
    client.put_object(Bucket=bucket, **{**log(2), "Body": b"x" * (QUICK_BODY + 1)})
    assert all(request.headers["amz-sdk-request"] for request in s3_proxy.requests)


def test_other_operations_are_the_sdks(table: Table, proxy: Proxy) -> None:
    client = learned(table)
    assert client.describe_table(TableName=table.name)["Table"]["TableName"] == table.name
    assert proxy.requests[-1].headers["amz-sdk-request"]
