"""The job description for Tibanna, read by Tibanna's own code. What its image does with the command
is in test_dockerfile.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.tibanna_job import JOB, need_tibanna, tibanna_run


@pytest.fixture
def job() -> dict[str, Any]:
    """The job description."""
    need_tibanna()
    read: dict[str, Any] = json.loads(JOB.read_text())
    return read


def test_tibanna_runs_the_worker_on_spot_machines_of_the_types_named(
    job: dict[str, Any], tmp_path: Path
) -> None:
    run = tibanna_run(job, tmp_path)
    assert run.language == "shell"
    assert run.image == job["args"]["container_image"]
    types = [each["InstanceType"] for each in run.fleet["LaunchTemplateConfigs"][0]["Overrides"]]
    assert types == job["config"]["instance_type"]
    assert run.fleet["TargetCapacitySpecification"]["DefaultTargetCapacityType"] == "spot"
    # Nothing that is set here is a name that Tibanna does not know: it fills in the same names
    filled = tibanna_run({**job, "config": minimal(job)}, tmp_path).config
    assert set(job["config"]) <= set(filled)


def minimal(job: dict[str, Any]) -> dict[str, Any]:
    """The configuration that Tibanna must have."""
    wanted = ("log_bucket", "instance_type", "ebs_size")
    return {name: job["config"][name] for name in wanted}


def test_variables_of_the_command_are_left_to_the_container(
    job: dict[str, Any], tmp_path: Path
) -> None:
    run = tibanna_run(job, tmp_path)
    assert "-t $TABLE -b $BUCKET" in run.command
    assert run.variables == job["args"]["input_env"]


def test_without_the_backslashes_the_variables_are_those_of_the_machine(
    job: dict[str, Any], tmp_path: Path
) -> None:
    job["args"]["command"] = [line.replace("\\$", "$") for line in job["args"]["command"]]
    assert "-t $TABLE" not in tibanna_run(job, tmp_path).command


def test_tibanna_refuses_a_job_without_an_image(job: dict[str, Any], tmp_path: Path) -> None:
    del job["args"]["container_image"]
    with pytest.raises(RuntimeError, match="container_image is required"):
        tibanna_run(job, tmp_path)
