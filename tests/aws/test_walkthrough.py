"""What docs/aws-batch.md and aws/README.md tell the reader to type works as it stands.

Docker is stood in for by a script that notes what it was asked for, and AWS Batch's containers by a
worker that is started as one of the array job's children would be. Moto can neither change a stack
that has conditions nor delete a network: the changed parameters make a stack of their own instead,
and of deleting the stack only the command line is checked.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.account import Account
from tests.support.policies import KMS_KEY, document
from tests.support.scripts import ROOT
from tests.support.table import Table

WALK = ROOT / "docs" / "aws-batch.md"
FOLDER = ROOT / "aws" / "README.md"
DOCKER = """#!/bin/bash
echo "$@" >> "$DOCKER_CALLS"
[[ $1 != login ]] || cat > /dev/null
"""
OVERRIDES = "--parameter-overrides"
DEPLOY = re.compile(r"^aws cloudformation deploy (?:.*\\\n)*.*$", re.MULTILINE)
WORKER = """
AWS_BATCH_JOB_ID="$job:17" AWS_BATCH_JOB_ARRAY_INDEX=17 AWS_BATCH_JOB_ATTEMPT=1 \\
  python pyanamo.py -q -t "$PYANAMO_TABLE" -b "$S3_BUCKET" -i 2 -n 4
"""


def blocks(text: str) -> list[str]:
    """The shell blocks of a document."""
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """The sections of a document by their titles."""
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's folder, in which the reader's files may be left."""
    project = tmp_path / "project"
    project.mkdir()
    for name in (
        "anamo",
        "aws",
        "import-items-generic.py",
        "pyanamo.py",
        "workflow-gsi-index.json",
    ):
        (project / name).symlink_to(ROOT / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    return project


@pytest.fixture
def type_in(
    account: Account, project: Path, run: Callable[..., Any], scripts: Any
) -> Callable[[str], Any]:
    """Type lines into a shell in the project's folder."""

    def type_in(lines: str) -> Any:
        env = {
            "AWS_ENDPOINT_URL": account.url,
            "AWS_ENDPOINT_URL_DYNAMODB": account.url,
            "AWS_ENDPOINT_URL_S3": account.url,
            "PATH": f"{project.parent}/bin:{scripts.environment['PATH']}",
            "DOCKER_CALLS": str(project.parent / "docker-calls"),
        }
        lines = f"set -euo pipefail\n{lines}"
        return run("bash", "-c", lines, env=env, cwd=project, timeout=240)

    return type_in


def without_changes(block: str) -> str:
    """A block without the command that changes the stack."""
    return DEPLOY.sub("", block)


def test_the_walk_through_works_from_an_empty_account_to_the_logs(
    account: Account, project: Path, type_in: Callable[[str], Any]
) -> None:
    by_title = sections(WALK.read_text())
    del by_title["7. Tear down"]
    first, *others = [block for text in by_title.values() for block in blocks(text)]
    lines = [first, *map(without_changes, others)]
    # What the reader types to find out why nothing runs
    lines += re.findall(r"`(aws .*?)`", by_title["Troubleshooting"])
    submit = next(number for number, block in enumerate(lines) if "job=$(" in block)
    lines.insert(submit + 1, WORKER)
    walked = type_in("\n".join(lines))
    assert walked.returncode == 0, walked.stderr

    table = Table("Testing", account.dynamodb)
    assert table.states() == Counter(done=100)
    assert all(item["InstanceID"].endswith("-17") for item in table.items())
    assert Table("Testing-Call", account.dynamodb).states() == Counter(todo=1)
    assert len([*(project / "logs" / "Task-7").glob("*.log.gz")]) == 1
    assert "\n7\n" in walked.stdout
    assert "array index: 17" in walked.stdout
    calls = (project.parent / "docker-calls").read_text()
    image = re.search(r"push (\S+):latest", calls)
    assert image
    assert f"-t {image[1]}:latest ." in calls


def test_the_changes_to_the_stack_are_parameters_that_it_has(account: Account) -> None:
    changes = DEPLOY.findall("\n".join(blocks(WALK.read_text())))
    words = [shlex.split(change.replace("\\\n", " ")) for change in changes]
    overrides = [each for line in words for each in line[line.index(OVERRIDES) + 1 :]]
    chosen = dict(each.split("=", 1) for each in overrides)
    assert chosen.keys() == {
        *("TableName", "FurtherTables", "Schedule", "ScheduledWorkers"),
        *("AlertEmail", "ThrottlingAlarms", "OnDemandVCpus", "Metrics"),
    }
    account.client("cloudformation", "us-west-2").create_stack(
        StackName="changed",
        TemplateBody=(ROOT / "aws" / "pyanamo.yaml").read_text(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in chosen.items()
        ],
    )
    rules = account.client("events", "us-west-2").list_rules()["Rules"]
    assert [each.get("ScheduleExpression") for each in rules].count("rate(1 hour)") == 1


def test_what_is_torn_down_takes_the_bucket_with_it(
    account: Account, type_in: Callable[[str], Any]
) -> None:
    deletion, listing, emptying = blocks(sections(WALK.read_text())["7. Tear down"])
    delete, wait = deletion.splitlines()
    assert wait == 'aws cloudformation wait stack-delete-complete --stack-name "$STACK"'
    account.s3.create_bucket(Bucket="torn-down")
    account.s3.put_object(Bucket="torn-down", Key="a/log", Body=b"text")
    names = "STACK=pyanamo S3_BUCKET=torn-down PYANAMO_TABLE=Torn"
    made = " ".join(
        f"python import-items-generic.py -t {name} -d - -s '|' --create-table <<< 'A|{name}|true';"
        for name in ("Torn-Call", "Torn-Filter", "Other")
    )
    deleted = f"{delete} --generate-cli-skeleton output"
    torn = type_in(f"{names}\n{made}\n{deleted}\n{listing}\n{emptying}")
    assert torn.returncode == 0, torn.stderr
    assert "Torn-Call\tTorn-Filter\n" in torn.stdout
    tables = account.dynamodb.list_tables()["TableNames"]
    assert "Other" in tables
    assert not {"Torn-Call", "Torn-Filter"} & set(tables)
    assert "torn-down" not in [each["Name"] for each in account.s3.list_buckets()["Buckets"]]


@pytest.mark.parametrize(
    "line",
    [
        "aws batch submit-job --no-such x",
        "aws cloudformation delete-stack --generate-cli-skeleton output --no-such",
        "python pyanamo.py --no-such-flag",
        "false | cat",
    ],
)
def test_a_line_that_does_not_work_is_noticed(type_in: Callable[[str], Any], line: str) -> None:
    assert type_in(f"{line}\ntrue").returncode != 0


def test_the_documents_can_be_filled_in_by_hand(
    project: Path, type_in: Callable[[str], Any]
) -> None:
    (by_hand,) = blocks(sections(FOLDER.read_text())["Using the IAM policies without the template"])
    typed = type_in(by_hand)
    assert typed.returncode == 0, typed.stderr
    filled = json.loads((project / "worker.json").read_text())
    assert filled == document("worker", "Testing", "my-logs", KMS_KEY)
