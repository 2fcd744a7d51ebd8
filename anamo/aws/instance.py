"""Who am I, and where: an AWS Batch job, an EC2 instance, or a host.

Guaranteed: no request leaves a machine that is not on EC2, and none is sent at all where
AWS_EC2_METADATA_DISABLED is true.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

_BOARD = Path("/sys/devices/virtual/dmi/id/board_asset_tag")
"""On EC2's Nitro machines this holds the instance's id."""

_VENDOR = Path("/sys/devices/virtual/dmi/id/sys_vendor")

_BATCH = {
    "job": "AWS_BATCH_JOB_ID",
    "array index": "AWS_BATCH_JOB_ARRAY_INDEX",
    "job attempt": "AWS_BATCH_JOB_ATTEMPT",
}
"""Lines of a log's header, and the variables AWS Batch sets in a container."""

_EC2 = {
    "instance type": "instance-type",
    "zone": "placement/availability-zone",
    "lifecycle": "instance-life-cycle",
}
"""Lines of a log's header, and where EC2's metadata has them."""


def instance_id(environment: Mapping[str, str] = os.environ) -> str:
    """The AWS Batch job id (`:` of an array child written `-`), else the EC2 instance id, else the
    host name.
    """
    job = environment.get("AWS_BATCH_JOB_ID")
    if job:
        return job.replace(":", "-")
    return _ec2_instance(environment) or host_name()


def host_metadata(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What AWS Batch and EC2 say of where this process runs, as lines of a log's header; only what
    is known.
    """
    job = {
        line: environment[variable]
        for line, variable in _BATCH.items()
        if environment.get(variable)
    }
    return job | _ec2_metadata(environment)


def _ec2_metadata(environment: Mapping[str, str]) -> dict[str, str]:
    if not on_ec2(environment):
        return {}
    # Imported here because the command lines' --help needs none of botocore
    from anamo.aws.metadata import InstanceMetadata

    metadata = InstanceMetadata(environment)
    found = {}
    for line, path in _EC2.items():
        value = metadata.get(f"latest/meta-data/{path}")
        if not metadata.reachable:
            # Each further request would wait as long
            break
        if value:
            found[line] = value
    return found


def host_name() -> str:
    """This machine's name."""
    return socket.gethostname() or "unknown-host"


def on_ec2(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is an instance metadata service to be asked."""
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    return "AWS_EC2_METADATA_SERVICE_ENDPOINT" in environment or "Amazon" in _read(_VENDOR)


def _ec2_instance(environment: Mapping[str, str]) -> str | None:
    if not on_ec2(environment):
        return None
    board = _read(_BOARD)
    if board.startswith("i-"):
        return board
    # Imported here because the command lines' --help needs none of botocore
    from anamo.aws.metadata import InstanceMetadata

    return InstanceMetadata(environment).get("latest/meta-data/instance-id")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
