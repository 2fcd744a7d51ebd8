"""What Tibanna makes of a job description, by its own code, which has a Python of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripts import ROOT

JOB = ROOT / "aws" / "tibanna" / "job.json"
PYTHON = ROOT / ".test" / "linters" / "bin" / "python"

# As its run.sh does: the file is read by a shell, and some of its variables go to the container
READ = r"""
. ./env_command_list.txt
printf '%s\0' "$LANGUAGE" "$CONTAINER_IMAGE" "$COMMAND"
for word in $DOCKER_ENV_OPTION; do
  [ "$word" = -e ] || printf '%s=%s\0' "$word" "${!word}"
done
"""


@dataclass(frozen=True)
class TibannaRun:
    """What an instance of Tibanna's runs.

    Attributes:
        language: How it runs it.
        image: The image that it pulls.
        command: What `sh -c` gets in the container.
        variables: What the container's environment has.
        config: Tibanna's configuration, with what it fills in.
        fleet: What it asks EC2 for.
    """

    language: str
    image: str
    command: str
    variables: dict[str, str]
    config: dict[str, Any]
    fleet: dict[str, Any]


def need_tibanna() -> None:
    """Skip the test where Tibanna has no release for this Python."""
    if sys.version_info >= (3, 13):
        pytest.skip("Tibanna has no release for Python 3.13")


def tibanna_run(job: dict[str, Any], folder: Path) -> TibannaRun:
    """Have Tibanna read a job description.

    Raises:
        RuntimeError: Tibanna does not accept it.
    """
    (folder / "job.json").write_text(json.dumps(job))
    account = {
        "AWS_ACCOUNT_NUMBER": "123456789012",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": "/usr/bin:/bin",
    }
    script = Path(__file__).with_name("tibanna_run.py")
    made = subprocess.run(
        [PYTHON, script, "job.json"],
        cwd=folder,
        env=account,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if made.returncode:
        raise RuntimeError(made.stderr)
    read = subprocess.run(
        ["bash", "-c", READ], cwd=folder, env={}, capture_output=True, text=True, check=True
    )
    language, image, command, *pairs = read.stdout.rstrip("\0").split("\0")
    variables = dict(pair.split("=", 1) for pair in pairs)
    said = json.loads(made.stdout)
    return TibannaRun(language, image, command, variables, said["config"], said["fleet"])
