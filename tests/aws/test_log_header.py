"""The header of a log says where its task ran: in which job of AWS Batch, on which machine."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anamo.aws.instance import host_metadata
from tests.support.fleet import Fleet
from tests.support.metadata_service import metadata_server
from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

JOB = {
    "AWS_BATCH_JOB_ID": "4b9e-array:7",
    "AWS_BATCH_JOB_ARRAY_INDEX": "7",
    "AWS_BATCH_JOB_ATTEMPT": "2",
}
JOB_LINES = {"job": "4b9e-array:7", "array index": "7", "job attempt": "2"}
SPOT = {
    "/latest/meta-data/instance-type": "c7g.large",
    "/latest/meta-data/placement/availability-zone": "us-east-1b",
    "/latest/meta-data/instance-life-cycle": "spot",
}
SPOT_LINES = {"instance type": "c7g.large", "zone": "us-east-1b", "lifecycle": "spot"}


def test_the_log_of_a_batch_job_on_ec2_names_job_machine_and_zone(
    run: Callable[..., Any], fleet: Fleet, table: Table, bucket: str, s3_client: S3Client
) -> None:
    fleet.add(["true"], task_ids=["Task-1"])
    with metadata_server(SPOT) as (_, there):
        variables = {**JOB, **there, "AWS_EC2_METADATA_DISABLED": "false"}
        worked = run("pyanamo.py", "-t", table.name, "-b", bucket, env=variables)
    assert worked.returncode == 0, worked.stderr
    (item,) = table.items()
    assert item["InstanceID"] == "4b9e-array-7"
    key = item["Log"]["S3"].removeprefix(f"s3://{bucket}/")
    log = gzip.decompress(s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()).decode()
    header = dict(line.split(": ", 1) for line in log.partition("\n\n")[0].splitlines())
    assert {name: header.get(name) for name in JOB_LINES | SPOT_LINES} == JOB_LINES | SPOT_LINES


def test_elsewhere_a_log_says_nothing_of_it() -> None:
    assert host_metadata({"AWS_EC2_METADATA_DISABLED": "true"}) == {}


def test_what_is_not_known_is_left_out() -> None:
    job = {
        "AWS_BATCH_JOB_ID": "4b9e",
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    assert host_metadata(job) == {"job": "4b9e", "job attempt": "1"}
    with metadata_server({k: v for k, v in SPOT.items() if "life-cycle" not in k}) as (_, there):
        assert host_metadata(there) == {k: v for k, v in SPOT_LINES.items() if k != "lifecycle"}


def test_metadata_that_is_switched_off_is_not_asked_for() -> None:
    with metadata_server(SPOT) as (server, there):
        assert host_metadata(there) == SPOT_LINES
        asked = len(server.asked)
        assert host_metadata({**there, "AWS_EC2_METADATA_DISABLED": "true"}) == {}
        assert len(server.asked) == asked


def test_a_service_that_gives_no_token_is_asked_once() -> None:
    with metadata_server(SPOT, token=None) as (server, there):
        assert host_metadata(there) == {}
        assert server.asked == ["PUT /latest/api/token"]
