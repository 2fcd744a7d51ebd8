"""The identity of this host: an AWS Batch job, an EC2 instance, or a host name.

Guaranteed: the instance metadata service is asked only on EC2 or where its endpoint is set, and
never where AWS_EC2_METADATA_DISABLED is true.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from anamo.aws.metadata import InstanceMetadata

_ASSET_TAG = Path("/sys/devices/virtual/dmi/id/board_asset_tag")
"""On EC2's Nitro instances this holds the instance id."""

_VENDOR = Path("/sys/devices/virtual/dmi/id/sys_vendor")
"""On Nitro instances "Amazon EC2"."""

_HYPERVISOR = Path("/sys/hypervisor/uuid")
"""On Xen instances it begins with ec2, in either case; their vendor is Xen."""

_FARGATE = "AWS_ECS_FARGATE"
"""AWS_EXECUTION_ENV on Fargate, whose machines look like EC2 but offer containers no metadata."""

_BATCH = {
    "job": "AWS_BATCH_JOB_ID",
    "array index": "AWS_BATCH_JOB_ARRAY_INDEX",
    "job attempt": "AWS_BATCH_JOB_ATTEMPT",
}
"""Names in a log's header, and the variables AWS Batch sets in a container."""

_EC2 = {
    "instance type": "instance-type",
    "zone": "placement/availability-zone",
    "lifecycle": "instance-life-cycle",
}
"""Names in a log's header, and their paths below meta-data."""


def instance_id(environment: Mapping[str, str] = os.environ) -> str:
    """The AWS Batch job id (`:` of an array child written `-`), else the EC2 instance id, else the
    host name.
    """
    job = environment.get("AWS_BATCH_JOB_ID")
    if job:
        return job.replace(":", "-")
    return _ec2_instance(environment) or host_name()


def job_attempt(environment: Mapping[str, str] = os.environ) -> int:
    """Which attempt of its AWS Batch job this is, from 1; 0 outside of AWS Batch."""
    attempt = environment.get("AWS_BATCH_JOB_ATTEMPT", "")
    known = "AWS_BATCH_JOB_ID" in environment and attempt.isascii() and attempt.isdigit()
    return int(attempt) if known else 0


def host_metadata(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What AWS Batch and EC2 say of where this process runs.

    Returns:
        Names and values for a log's header, as far as they are known.
    """
    job = {
        name: environment[variable]
        for name, variable in _BATCH.items()
        if environment.get(variable)
    }
    return job | _ec2_metadata(environment)


def _ec2_metadata(environment: Mapping[str, str]) -> dict[str, str]:
    if not has_metadata_service(environment):
        return {}
    metadata = InstanceMetadata(environment)
    found = {}
    for name, path in _EC2.items():
        value = metadata.get(f"latest/meta-data/{path}")
        if not metadata.reachable:
            # Each further request would take as long to fail
            break
        if value:
            found[name] = value
    return found


def host_name() -> str:
    """This host's name."""
    return socket.gethostname() or "unknown-host"


def has_metadata_service(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is an instance metadata service that may be asked."""
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    if "AWS_EC2_METADATA_SERVICE_ENDPOINT" in environment:
        return True
    if environment.get("AWS_EXECUTION_ENV") == _FARGATE:
        return False
    return "Amazon" in _read(_VENDOR) or _read(_HYPERVISOR).lower().startswith("ec2")


def _ec2_instance(environment: Mapping[str, str]) -> str | None:
    if not has_metadata_service(environment):
        return None
    asset_tag = _read(_ASSET_TAG)
    if asset_tag.startswith("i-"):
        return asset_tag
    return InstanceMetadata(environment).get("latest/meta-data/instance-id")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
