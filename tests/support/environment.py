"""Environments that hold nothing of the caller's AWS account, configuration or proxies."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

REGION = "us-east-1"
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}


def dummy_account(home: Path) -> dict[str, str]:
    """Return the AWS_* variables of an account that exists nowhere; `home` has no AWS files."""
    return {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / "no-aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "no-aws-credentials"),
    }


def scrub(variables: MutableMapping[str, str]) -> None:
    """Take out whatever could lead an AWS client of this process anywhere but where a test says."""
    for name in list(variables):
        if name.startswith(("AWS_", "PYANAMO_")) or name.upper() in PROXIES:
            del variables[name]


def environment(home: Path, *, dynamodb: str, s3: str) -> dict[str, str]:
    """Return the whole environment of a child process.

    It is built from nothing: of the caller's variables only PATH is kept, behind the folder of
    this interpreter, so that `python` and `aws` are those of the tests, and what measures coverage.

    Args:
        home: An empty folder, its HOME and TMPDIR.
        dynamodb: Endpoint URL for DynamoDB.
        s3: Endpoint URL for S3.
    """
    return dummy_account(home) | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONUNBUFFERED": "1",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
        "AWS_ENDPOINT_URL_S3": s3,
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
    }
