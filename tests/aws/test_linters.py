"""What linters of templates and policies find in aws/, each finding answered.

cfn-lint has a test of its own in test_template.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.policies import KMS_KEY, document
from tests.support.scripts import ROOT
from tests.support.stack import TEMPLATE, Stack, resources

TOOLS = ROOT / ".test" / "linters" / "bin"

ANSWERS = {
    # Keys of one's own are billed for their use, and need policies of their own. What is stored is
    # encrypted without them; the bucket's key can be chosen (KeyArn).
    ("Table", "CKV_AWS_119"): "DynamoDB encrypts every table with a key of its own",
    ("Repository", "CKV_AWS_136"): "ECR encrypts every image with a key of S3's",
    ("Messages", "CKV_AWS_158"): "CloudWatch encrypts every log group with a key of its own",
    (
        "AlertTopic",
        "CKV_AWS_26",
    ): "names of jobs are no secret, and EventBridge may not use SNS's key",
    (
        "Bucket",
        "CKV_AWS_18",
    ): "logs of access to logs: a bucket more, which none of the scripts reads",
    (
        "Bucket",
        "CKV_AWS_21",
    ): "an object is written once under a key of its own; versions only cost",
    ("Repository", "CKV_AWS_51"): "a push to `latest` replaces the image, as the walk-through says",
}
"""What checkov finds, and why it stays."""


def run(tool: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    assert (TOOLS / tool).exists(), f"{TOOLS / tool} is missing: ./test.sh makes it"
    return subprocess.run(
        [str(TOOLS / tool), *arguments],
        capture_output=True,
        check=False,
        cwd=home,
        # Neither their settings nor anything else of the caller's
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=300,
    )


def test_every_finding_of_checkov_has_its_answer_and_a_worse_template_more_findings(
    tmp_path: Path,
) -> None:
    text = TEMPLATE.read_text()
    worse = text.replace("BlockPublicPolicy: true", "BlockPublicPolicy: false")
    worse = worse.replace("PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false")
    for name, content in (("as-it-is", text), ("worse", worse)):
        (tmp_path / f"{name}.yaml").write_text(content)
    # Without --skip-download it asks its maker's server for links
    options = ("--framework", "cloudformation", "--skip-download", "--compact", "-o", "json")
    checked = run("checkov", "-d", ".", *options, home=tmp_path)
    results = json.loads(checked.stdout)["results"]
    assert results["parsing_errors"] == []
    found: dict[str, set[tuple[str, str]]] = {"/as-it-is.yaml": set(), "/worse.yaml": set()}
    for each in results["failed_checks"]:
        found[each["file_path"]].add((each["resource"].rpartition(".")[2], each["check_id"]))
    assert found["/as-it-is.yaml"] == ANSWERS.keys()
    assert found["/worse.yaml"] - ANSWERS.keys() == {
        ("Bucket", "CKV_AWS_54"),
        ("Table", "CKV_AWS_28"),
    }


def plain(value: Any) -> Any:
    """A policy of the template with its functions replaced by what they may result in."""
    match value:
        case {"Fn::If": [_, then, _]}:
            return plain(then)
        case {"Fn::Sub": [str(text), _]} | {"Fn::Sub": str(text)}:
            for name, stands_for in SUBSTITUTES.items():
                text = text.replace(f"${{{name}}}", stands_for)
            return text
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]}:
            return ARNS.get(name, "arn:aws:s3:::made-here")
        case dict():
            return {key: plain(member) for key, member in value.items()}
        case list():
            return [plain(member) for member in value]
        case _:
            return value


SUBSTITUTES = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
    "TableName": "Testing",
    "FurtherTables": "*",
    "Bucket": "made-here",
    "Name": "made-here",
}
ACCOUNT = "us-east-1:123456789012"
ARNS = {
    "KeyArn": KMS_KEY,
    "AWS::AccountId": "123456789012",
    "Repository": f"arn:aws:ecr:{ACCOUNT}:repository/made-here",
    "Messages": f"arn:aws:logs:{ACCOUNT}:log-group:made-here:*",
    "JobDefinition": f"arn:aws:batch:{ACCOUNT}:job-definition/made-here:1",
    "Queue": f"arn:aws:batch:{ACCOUNT}:job-queue/made-here",
    "AlertTopic": f"arn:aws:sns:{ACCOUNT}:made-here",
    "FailedJobs": f"arn:aws:events:{ACCOUNT}:rule/made-here",
}


def policies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every IAM document of aws/, with a name for each."""
    for file in sorted((ROOT / "aws" / "iam").iterdir()):
        yield file.stem, document(file.stem, "Testing", "logs", KMS_KEY)
    for name, resource in resources().items():
        properties = resource.get("Properties", {})
        if "PolicyDocument" in properties:
            yield name, plain(properties["PolicyDocument"])
        for policy in properties.get("Policies", []):
            yield f"{name}-{policy['PolicyName']}", plain(policy["PolicyDocument"])
        if "AssumeRolePolicyDocument" in properties:
            trust = plain(properties["AssumeRolePolicyDocument"])
            # Always of the role itself; parliament wants to read it
            for statement in trust["Statement"]:
                statement["Resource"] = f"arn:aws:iam::123456789012:role/{name}"
            yield f"{name}-trust", trust


SUBMIT_JOB = ("ScheduleRole-SubmitWorkers.json", "RESOURCE_MISMATCH")
"""The definition and the queue are all that has to be named, says AWS ("Resource: Restrict to a job
queue" in the user guide of AWS Batch); parliament also wants the job, which has no ARN yet."""


def test_parliament_has_nothing_to_say_about_any_policy_but_what_has_its_answer(
    tmp_path: Path,
) -> None:
    found = dict(policies())
    assert len(found) == 16
    for name, policy in found.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(policy))
    judged = run("parliament", "--directory", ".", "--json", home=tmp_path)
    findings = [json.loads(line) for line in judged.stdout.splitlines()]
    assert [(Path(each["location"]["filepath"]).name, each["issue"]) for each in findings] == [
        SUBMIT_JOB
    ], judged.stderr


@pytest.mark.parametrize(
    ("action", "resource", "finding"),
    [
        ("dynamodb:Qurey", "*", "Unknown action"),
        ("s3:GetObject", "arn:aws:s3:::logs", "No resources match"),
        ("sqs:SendMessage", "arn:aws:s3:::logs/*", "No resources match"),
    ],
)
def test_parliament_sees_what_is_wrong(
    tmp_path: Path, action: str, resource: str, finding: str
) -> None:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    (tmp_path / "wrong.json").write_text(json.dumps(policy))
    judged = run("parliament", "--directory", ".", home=tmp_path)
    assert judged.returncode != 0
    assert finding in judged.stdout


def test_what_parliament_reads_is_what_the_stack_has(stack: Stack) -> None:
    found = dict(policies())
    for role, name in (("ExecutionRole", "StartContainers"), ("GateRole", "ReadTables")):
        made = stack.inline_policies(role)[name]
        read = found[f"{role}-{name}"]
        assert [each["Action"] for each in made["Statement"]] == [
            each["Action"] for each in read["Statement"]
        ]
