"""The IAM documents let the scripts do all they must, and nothing else.

Each action has a test that takes it away and sees what no longer works; a document that allows more
than those actions is found out.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable

import pytest

from tests.aws.conftest import LARGE, LINE, Stage
from tests.support.policies import actions, also, document, excess, without
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.table import Table

# The worker

STARTS = {
    "dynamodb:DescribeTable": "DescribeTable",
    "dynamodb:Query": "Query",
    "dynamodb:UpdateItem": "UpdateItem",
    "s3:ListBucket": "HeadBucket",
}
"""Actions without which a worker claims nothing, and the request it says was refused."""


def worker(stage: Stage) -> dict[str, object]:
    return document("worker", stage.table.name, stage.bucket)


def test_a_worker_with_its_document_does_all_it_must(stage: Stage) -> None:
    stage.fill("".join(LINE.replace("{number}", str(k)) for k in range(4)) + LARGE)
    worked = stage.work(stage.account.user(worker(stage)), "-i", "2", "-n", "2")
    assert worked.returncode == 0, worked.stderr
    assert stage.states() == Counter(done=5)
    assert len(stage.logs()) >= 5
    assert max(stage.logs()) > 20_000_000


@pytest.mark.parametrize(("action", "refused"), STARTS.items())
def test_without_what_it_begins_with_a_worker_claims_nothing(
    stage: Stage, action: str, refused: str
) -> None:
    stage.fill(LINE)
    worked = stage.work(stage.account.user(without(worker(stage), action)))
    assert worked.returncode == 3
    assert f"{refused}: " in worked.stderr
    assert "lack a permission" in worked.stderr
    assert stage.states() == Counter(todo=1)


def test_without_put_object_an_outcome_is_recorded_and_its_log_kept(stage: Stage) -> None:
    stage.fill(LINE)
    worked = stage.work(stage.account.user(without(worker(stage), "s3:PutObject")))
    assert worked.returncode == 3
    assert "log kept in" in worked.stderr
    assert stage.states() == Counter(done=1)
    assert stage.logs() == []


@pytest.mark.parametrize("allowed", [True, False])
def test_abort_multipart_upload_is_what_clears_away_an_upload_that_broke_off(
    stage: Stage, make_proxy: Callable[[str], Proxy], allowed: bool
) -> None:
    def refuse_second_part(request: Request, forward: Forward) -> Reply:
        if request.method == "PUT" and "partNumber=2" in request.path:
            return Reply.of({}, 403)
        return forward(request)

    stage.fill(LARGE)
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
        ("{table}", "another", "PyAnamo", "HeadBucket"),
        ("{table}", "{bucket}", "Another", "PutObject"),
    ],
)
def test_a_worker_may_use_no_other_table_bucket_or_prefix(
    stage: Stage, table: str, bucket: str, prefix: str, refused: str
) -> None:
    stage.fill(LINE)
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


def test_create_table_is_for_a_missing_table_and_nothing_else(stage: Stage) -> None:
    name = f"Made-{uuid.uuid4().hex[:12]}"
    policy = without(document("importer", name, "any"), "dynamodb:CreateTable")
    refused = stage.load(stage.account.user(policy), LINE, "--create-table", table=name)
    assert refused.returncode == 3
    assert "CreateTable: " in refused.stderr
    policy = without(document("importer", stage.table.name, "any"), "dynamodb:CreateTable")
    assert stage.load(stage.account.user(policy), LINE).returncode == 0
    assert stage.states() == Counter(todo=1)


# Nothing else

NEEDED = {
    "worker": {*STARTS, "s3:PutObject", "s3:AbortMultipartUpload"},
    "importer": {*IMPORTS, "dynamodb:CreateTable"},
}
"""The actions that the tests above take away."""


@pytest.mark.parametrize("name", NEEDED)
def test_a_document_allows_what_is_needed_and_nothing_else(name: str) -> None:
    policy = document(name, "Testing", "logs")
    assert actions(policy) == NEEDED[name]
    assert excess(policy, NEEDED[name], "Testing", "logs") == []


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
