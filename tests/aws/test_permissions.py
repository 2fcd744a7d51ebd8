"""The IAM documents let the scripts do all they must, and nothing else.

Each action has a test that takes it away and sees what no longer works; a document that allows more
than those actions is found out.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.aws.conftest import LARGE, LINE, LONG, Stage
from tests.support import workflow
from tests.support.policies import (
    KMS_KEY,
    Policy,
    actions,
    also,
    document,
    excess,
    listed,
    without,
)
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

STATE_INDEX, TASK_INDEX = "ItemStateIndex", "TaskStateIndex"


@dataclass(frozen=True)
class Clients:
    """A user's clients."""

    dynamodb: DynamoDBClient
    s3: S3Client


# The worker

STARTS = {
    "dynamodb:DescribeTable": "DescribeTable",
    "dynamodb:Query": "Query",
    "dynamodb:UpdateItem": "UpdateItem",
    "s3:PutObject": "PutObject",
}
"""Actions without which a worker claims nothing, and the request it says was refused."""


def worker(stage: Stage) -> dict[str, Any]:
    return document("worker", stage.table.name, stage.bucket)


def test_a_worker_with_its_document_does_all_it_must(stage: Stage) -> None:
    stage.fill("".join(LINE.replace("{number}", str(k)) for k in range(4)) + LARGE, "-n", ",")
    worked = stage.work(stage.account.user(worker(stage)), "-i", "2", "-n", "2")
    assert worked.returncode == 0, worked.stderr
    assert stage.states() == Counter(done=5)
    assert len(stage.logs()) >= 5
    assert max(stage.logs()) > 20_000_000


@pytest.mark.parametrize(("action", "refused"), STARTS.items())
def test_without_what_it_begins_with_a_worker_claims_nothing(
    stage: Stage, action: str, refused: str
) -> None:
    stage.fill(LINE, "-n", ",")
    worked = stage.work(stage.account.user(without(worker(stage), action)))
    assert worked.returncode == 3
    assert f"{refused}: " in worked.stderr
    assert "lack a permission" in worked.stderr
    assert stage.states() == Counter(todo=1)


@pytest.mark.parametrize("allowed", [True, False])
def test_scan_is_what_shows_that_nothing_is_left_and_a_worker_can_do_without(
    stage: Stage, allowed: bool
) -> None:
    stage.fill(LINE, "-n", ",")
    policy = worker(stage) if allowed else without(worker(stage), "dynamodb:Scan")
    worked = stage.work(stage.account.user(policy), "--debug")
    assert worked.returncode == 0
    assert ("Scan: " in worked.stderr) == (not allowed)
    assert stage.states() == Counter(done=1)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_index_by_instance_shows_what_an_earlier_attempt_left_and_a_worker_can_do_without(
    stage: Stage, allowed: bool
) -> None:
    left = workflow.item("Left", "locked", TaskScript="true", InstanceID="job-7", Lock_Date="-")
    workflow.put_all(stage.account.dynamodb, stage.table, [{**left, "Lease_Expires": 1 << 40}])
    policy = worker(stage) if allowed else without_index(worker(stage), "InstanceStateIndex")
    attempt = {"AWS_BATCH_JOB_ID": "job-7", "AWS_BATCH_JOB_ATTEMPT": "2"}
    worked = stage.work({**stage.account.user(policy), **attempt}, "--debug")
    assert worked.returncode == 0, worked.stderr
    assert ("reading all locked items instead" in worked.stderr) == (not allowed)
    assert stage.states() == Counter(done=1)


def without_index(policy: Policy, index: str) -> dict[str, Any]:
    """The policy without an index."""
    changed = deepcopy(dict(policy))
    for statement in changed["Statement"]:
        resources = listed(statement["Resource"])
        statement["Resource"] = [each for each in resources if not each.endswith(f"/{index}")]
    return changed


@pytest.mark.parametrize("allowed", [True, False])
def test_delete_object_is_what_output_so_far_needs_and_a_worker_can_do_without(
    stage: Stage, allowed: bool
) -> None:
    stage.fill(LONG)
    policy = worker(stage) if allowed else without(worker(stage), "s3:DeleteObject")
    worked = stage.work(stage.account.user(policy), "--partial-logs", "1")
    assert worked.returncode == 0
    assert ("partial output is not uploaded" in worked.stderr) == (not allowed)
    assert len(stage.logs()) == 1


@pytest.mark.parametrize("allowed", [True, False])
def test_abort_multipart_upload_is_what_clears_away_an_upload_that_broke_off(
    stage: Stage, make_proxy: Callable[[str], Proxy], allowed: bool
) -> None:
    def refuse_second_part(request: Request, forward: Forward) -> Reply:
        if request.method == "PUT" and "partNumber=2" in request.path:
            return Reply.of({}, 403)
        return forward(request)

    stage.fill(LARGE, "-n", ",")
    policy = worker(stage) if allowed else without(worker(stage), "s3:AbortMultipartUpload")
    proxy = make_proxy(stage.account.url)
    proxy.behaviour = refuse_second_part
    worked = stage.work({**stage.account.user(policy), "AWS_ENDPOINT_URL_S3": proxy.url})
    assert worked.returncode == 3
    left = stage.account.s3.list_multipart_uploads(Bucket=stage.bucket).get("Uploads", [])
    assert bool(left) == (not allowed)


@pytest.mark.parametrize(
    ("table", "bucket", "prefix", "refused"),
    [
        ("Another", "{bucket}", "PyAnamo", "DescribeTable"),
        ("{table}", "another", "PyAnamo", "PutObject"),
        ("{table}", "{bucket}", "Another", "PutObject"),
    ],
)
def test_a_worker_may_use_no_other_table_bucket_or_prefix(
    stage: Stage, table: str, bucket: str, prefix: str, refused: str
) -> None:
    stage.fill(LINE, "-n", ",")
    names = {"table": stage.table.name, "bucket": stage.bucket}
    policy = document("worker", table.format(**names), bucket.format(**names))
    worked = stage.work(stage.account.user(policy), "-k", prefix)
    assert worked.returncode == 3
    assert f"{refused}: " in worked.stderr


# The importer

IMPORTS = {
    "dynamodb:DescribeTable": "DescribeTable",
    "dynamodb:BatchGetItem": "BatchGetItem",
    "dynamodb:PutItem": "TransactWriteItems",
}
"""Actions without which nothing is imported, and the request that is refused."""


def test_an_importer_with_its_document_makes_a_table_and_fills_it(stage: Stage) -> None:
    name = f"Made-{uuid.uuid4().hex[:12]}"
    user = stage.account.user(document("importer", name, "any"))
    for _ in range(2):
        imported = stage.load(user, LINE, "--create-table", table=name)
        assert imported.returncode == 0, imported.stderr
    assert Table(name, stage.account.dynamodb).states() == Counter(todo=1)


@pytest.mark.parametrize(("action", "refused"), IMPORTS.items())
def test_without_one_of_its_actions_an_importer_imports_nothing(
    stage: Stage, action: str, refused: str
) -> None:
    policy = without(document("importer", stage.table.name, "any"), action)
    imported = stage.load(stage.account.user(policy), LINE)
    assert imported.returncode == 3
    assert f"{refused}: " in imported.stderr
    assert stage.states() == Counter()


REPLACES = {"dynamodb:Query": "Query", "dynamodb:DeleteItem": "TransactWriteItems"}
"""Actions without which nothing is replaced, and the request that is refused."""

CORRECTED = LINE.replace("seq", "echo")


def test_an_importer_with_its_document_replaces_a_corrected_line(stage: Stage) -> None:
    user = stage.account.user(document("importer", stage.table.name, "any"))
    assert stage.load(user, LINE).returncode == 0
    replaced = stage.load(user, CORRECTED, "--replace")
    assert replaced.returncode == 0, replaced.stderr
    assert "1 old item removed" in replaced.stdout
    assert stage.states() == Counter(todo=1)


@pytest.mark.parametrize(("action", "refused"), REPLACES.items())
def test_without_one_of_its_actions_an_importer_replaces_nothing_but_imports(
    stage: Stage, action: str, refused: str
) -> None:
    user = stage.account.user(without(document("importer", stage.table.name, "any"), action))
    assert stage.load(user, LINE).returncode == 0
    replaced = stage.load(user, CORRECTED, "--replace")
    assert replaced.returncode == 3
    assert f"{refused}: " in replaced.stderr
    assert stage.states() == Counter(todo=1)
    assert stage.load(user, CORRECTED).returncode == 0
    assert stage.states() == Counter(todo=2)


def test_create_table_is_for_a_missing_table_and_nothing_else(stage: Stage) -> None:
    name = f"Made-{uuid.uuid4().hex[:12]}"
    policy = without(document("importer", name, "any"), "dynamodb:CreateTable")
    refused = stage.load(stage.account.user(policy), LINE, "--create-table", table=name)
    assert refused.returncode == 3
    assert "CreateTable: " in refused.stderr
    policy = without(document("importer", stage.table.name, "any"), "dynamodb:CreateTable")
    assert stage.load(stage.account.user(policy), LINE).returncode == 0
    assert stage.states() == Counter(todo=1)


# The operator: the requests themselves; test_operator.py has the commands that send them


def query(stage: Stage, clients: Clients, index: str) -> object:
    return clients.dynamodb.query(
        TableName=stage.table.name,
        IndexName=index,
        KeyConditionExpression="ItemState = :state",
        ExpressionAttributeValues={":state": {"S": "todo"}},
    )


KEY = {"itemID": {"N": "1"}}
REQUESTS: dict[str, Callable[[Stage, Clients], object]] = {
    "dynamodb:DescribeTable": lambda s, c: c.dynamodb.describe_table(TableName=s.table.name),
    "dynamodb:Query": lambda s, c: [query(s, c, STATE_INDEX), query(s, c, TASK_INDEX)],
    "dynamodb:Scan": lambda s, c: c.dynamodb.scan(TableName=s.table.name, IndexName=STATE_INDEX),
    "dynamodb:BatchGetItem": lambda s, c: c.dynamodb.batch_get_item(
        RequestItems={s.table.name: {"Keys": [KEY]}}
    ),
    "dynamodb:UpdateItem": lambda s, c: c.dynamodb.update_item(
        TableName=s.table.name, Key=KEY, UpdateExpression="REMOVE Lease_Expires"
    ),
    "dynamodb:DeleteItem": lambda s, c: c.dynamodb.delete_item(TableName=s.table.name, Key=KEY),
    "s3:GetObject": lambda s, c: c.s3.get_object(Bucket=s.bucket, Key="PyAnamo/a log"),
}


def clients(stage: Stage, policy: dict[str, object]) -> Clients:
    user = stage.account.user(policy)
    session = boto3.Session(user["AWS_ACCESS_KEY_ID"], user["AWS_SECRET_ACCESS_KEY"])
    url = stage.account.url
    return Clients(
        session.client("dynamodb", endpoint_url=url), session.client("s3", endpoint_url=url)
    )


@pytest.mark.parametrize(("action", "request_of"), REQUESTS.items())
def test_an_operator_may_send_each_of_its_requests_with_the_action_for_it_and_not_without(
    stage: Stage, action: str, request_of: Callable[[Stage, Clients], object]
) -> None:
    stage.account.s3.put_object(Bucket=stage.bucket, Key="PyAnamo/a log", Body=b"text")
    policy = document("operator", stage.table.name, stage.bucket)
    allowed, refused = clients(stage, policy), clients(stage, without(policy, action))
    with stage.account.enforced():
        assert request_of(stage, allowed)
        with pytest.raises(ClientError, match="AccessDenied"):
            request_of(stage, refused)


def test_an_operator_is_told_that_a_log_is_gone_because_it_may_list_the_bucket(
    stage: Stage,
) -> None:
    policy = document("operator", stage.table.name, stage.bucket)
    allowed, refused = clients(stage, policy), clients(stage, without(policy, "s3:ListBucket"))
    with stage.account.enforced():
        with pytest.raises(ClientError, match="NoSuchKey"):
            allowed.s3.get_object(Bucket=stage.bucket, Key="PyAnamo/gone")
        with pytest.raises(ClientError, match="AccessDenied"):
            refused.s3.get_object(Bucket=stage.bucket, Key="PyAnamo/gone")


# Nothing else

NEEDED = {
    "worker": {*STARTS, "dynamodb:Scan", "s3:AbortMultipartUpload", "s3:DeleteObject"},
    "importer": {*IMPORTS, *REPLACES, "dynamodb:CreateTable"},
    "operator": {*REQUESTS, "s3:ListBucket"},
}
"""The actions that the tests above take away."""


@pytest.mark.parametrize("name", NEEDED)
def test_a_document_allows_what_is_needed_and_nothing_else(name: str) -> None:
    policy = document(name, "Testing", "logs")
    assert actions(policy) == NEEDED[name]
    assert excess(policy, NEEDED[name], "Testing", "logs") == []


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("worker", {"kms:GenerateDataKey", "kms:Decrypt"}),
        ("importer", set()),
        ("operator", {"kms:Decrypt"}),
    ],
)
def test_with_a_key_a_document_allows_its_use_by_s3_and_nothing_else(
    name: str, more: set[str]
) -> None:
    policy = document(name, "Testing", "logs", KMS_KEY)
    of_the_key = [each for each in policy["Statement"] if each["Resource"] == KMS_KEY]
    assert actions({"Statement": of_the_key}) == more
    assert actions(policy) == NEEDED[name] | more
    for each in of_the_key:
        assert each["Condition"] == {
            "StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}
        }


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("dynamodb:*", "arn:aws:dynamodb:us-east-1:123456789012:table/Testing"),
        ("dynamodb:Query", "arn:aws:dynamodb:us-east-1:123456789012:table/*"),
        ("dynamodb:Query", "*"),
        ("s3:PutObject", "arn:aws:s3:::logs/*"),
        ("s3:DeleteObject", "arn:aws:s3:::logs/PyAnamo/*"),
    ],
)
def test_a_document_that_allows_more_is_found_out(action: str, resource: str) -> None:
    policy = also(document("worker", "Testing", "logs"), action, resource)
    assert len(excess(policy, NEEDED["worker"], "Testing", "logs")) == 1
