"""Log objects in S3: put, refused, read back."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from anamo.aws.log_store import CHUNK, IN_MEMORY, LogStore
from anamo.aws.session import SMALL_BODY
from anamo.aws.session import s3_client as our_client
from anamo.core.errors import (
    AccessDenied,
    AwsError,
    BucketMissing,
    Throttled,
    TransientError,
    Unreachable,
)
from tests.support.ended_tasks import Tasks
from tests.support.proxy import Behaviour, Forward, Proxy, Reply, Request, cutting, failing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    with ExitStack() as stack:
        yield Tasks(stack)


@pytest.mark.parametrize("size", [1000, IN_MEMORY + 3 * CHUNK])
def test_a_member_is_read_back_from_s3_by_its_range(
    tasks: Tasks, s3_client: S3Client, bucket: str, size: int
) -> None:
    printed = os.urandom(size)
    packed = tasks.pack([tasks.ended(b"small\n"), tasks.ended(printed), tasks.ended(b"last\n")])
    LogStore(s3_client, bucket).put(packed)
    for text, entry in zip((b"small\n", printed, b"last\n"), packed.entries, strict=True):
        reply = s3_client.get_object(Bucket=bucket, Key=packed.key, Range=f"bytes={entry.s3_range}")
        assert text in gzip.decompress(reply["Body"].read())
    head = s3_client.head_object(Bucket=bucket, Key=packed.key)
    assert head["ContentType"] == "application/gzip"


def test_a_missing_bucket_is_named(tasks: Tasks, s3_client: S3Client) -> None:
    store = LogStore(s3_client, "no-such-bucket")
    how = "does not exist; to create it: aws s3 mb s3://no-such-bucket --region us-east-1"
    with pytest.raises(BucketMissing, match=how):
        store.check("PyAnamo/")
    with pytest.raises(BucketMissing, match="bucket no-such-bucket does not exist"):
        store.put(tasks.pack([tasks.ended()]))


@pytest.mark.parametrize("name", ["Bad_Bucket", "bucket-"])
def test_a_bucket_that_cannot_be_created_is_not_offered_for_creation(
    s3_client: S3Client, name: str
) -> None:
    with pytest.raises(BucketMissing) as caught:
        LogStore(s3_client, name).check("PyAnamo/")
    assert str(caught.value) == (
        f"bucket {name} does not exist: it is no valid name of a bucket (3 to 63 of a-z 0-9 . -)"
    )


def test_a_usable_bucket_passes(s3_client: S3Client, bucket: str) -> None:
    for _ in range(2):
        LogStore(s3_client, bucket).check("PyAnamo/Table/")
    (probe,) = s3_client.list_objects_v2(Bucket=bucket)["Contents"]
    assert probe["Key"] == "PyAnamo/Table/.pyanamo-probe"
    assert LogStore(s3_client, bucket).address("a/b") == f"s3://{bucket}/a/b"


@pytest.fixture
def refused(
    make_proxy: Callable[[str], Proxy], s3: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Behaviour], LogStore]]:
    """Make a store whose requests are treated in a certain way."""
    proxy = make_proxy(s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
    client = our_client(None, attempts=1)

    def store(behaviour: Behaviour) -> LogStore:
        proxy.behaviour = behaviour
        return LogStore(client, bucket)

    yield store
    client.close()


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (failing("AccessDenied", 403), AccessDenied),
        (failing("InternalError", 500), TransientError),
        (failing("SlowDown", 503), Throttled),
        (failing("InvalidRequest", 400), AwsError),
        (cutting, Unreachable),
    ],
    ids=["denied", "failing", "throttling", "refusing", "away"],
)
@pytest.mark.parametrize("size", [1000, IN_MEMORY + 3 * CHUNK])
def test_what_s3_says_is_told_apart(
    tasks: Tasks,
    refused: Callable[[Behaviour], LogStore],
    behaviour: Behaviour,
    error: type[AwsError],
    size: int,
) -> None:
    store = refused(behaviour)
    with pytest.raises(error) as caught:
        store.put(tasks.pack([tasks.ended(os.urandom(size))]))
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"bucket {store.bucket}: ")


@pytest.mark.parametrize(("size", "asks"), [(1000, False), (SMALL_BODY, True)])
def test_a_small_log_is_sent_at_once_and_a_large_one_once_s3_has_agreed(
    tasks: Tasks, refused: Callable[[Behaviour], LogStore], size: int, asks: bool
) -> None:
    asked = []

    def note(request: Request, forward: Forward) -> Reply | None:
        asked.append(request.headers.get("Expect") == "100-continue")
        return forward(request)

    refused(note).put(tasks.pack([tasks.ended(os.urandom(size))]))
    assert asked == [asks]


NO_KEY = (
    "User: arn:aws:sts::123456789012:assumed-role/Job/1 is not authorized to perform: "
    "kms:GenerateDataKey on resource: arn:aws:kms:us-east-1:123456789012:key/1234abcd because no "
    "identity-based policy allows the kms:GenerateDataKey action"
)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (failing("AccessDenied", 403), ": a worker needs s3:PutObject on s3://{bucket}/PyAnamo/*"),
        (
            failing("AccessDenied", 403, NO_KEY),
            ": a worker needs kms:GenerateDataKey and kms:Decrypt on the bucket's KMS key",
        ),
        (
            failing("KMS.DisabledException", 400, "arn:aws:kms:… is disabled."),
            "; enable the bucket's KMS key, or give the bucket another one",
        ),
    ],
    ids=["denied", "no key", "key disabled"],
)
def test_the_check_says_what_keeps_a_worker_from_putting_logs(
    refused: Callable[[Behaviour], LogStore], behaviour: Behaviour, said: str
) -> None:
    store = refused(behaviour)
    with pytest.raises(AwsError) as caught:
        store.check("PyAnamo/")
    assert said.format(bucket=store.bucket) in str(caught.value)


def test_a_log_that_may_not_be_read_may_also_be_gone(
    refused: Callable[[Behaviour], LogStore],
) -> None:
    """Without s3:ListBucket, S3 answers with 403 in both cases."""
    store = refused(failing("AccessDenied", 403))
    with pytest.raises(AccessDenied) as caught:
        list(store.read("PyAnamo/T/S1/1-a.log.gz", ""))
    said = str(caught.value)
    assert said.startswith(f"s3://{store.bucket}/PyAnamo/T/S1/1-a.log.gz: GetObject: ")
    assert "the credentials lack a permission" in said
    assert "or the log no longer exists" in said
    assert "s3:ListBucket" in said


@pytest.mark.parametrize("reachable", [True, False])
def test_a_bucket_in_another_region_is_written_to_there(
    refused: Callable[[Behaviour], LogStore], reachable: bool
) -> None:
    asked: list[str] = []

    def elsewhere(request: Request, forward: Forward) -> Reply | None:
        region = request.headers["Authorization"].split("/")[2]
        asked.append(region)
        if reachable and region == "eu-central-1":
            return forward(request)
        reply = failing("PermanentRedirect", 301)(request, forward)
        assert reply
        reply.headers["x-amz-bucket-region"] = "eu-central-1"
        return reply

    store = refused(elsewhere)
    if reachable:
        store.check("PyAnamo/")
    else:
        with pytest.raises(AwsError, match="is in another region, where it cannot be reached"):
            store.check("PyAnamo/")
    assert asked == ["us-east-1", "eu-central-1"]
