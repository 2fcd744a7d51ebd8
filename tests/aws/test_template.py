"""The CloudFormation template: linted, made in moto, and used by the real scripts.

Moto makes all of it but the bucket's policy, and takes no notice of some properties; those are read
from the template itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from cfnlint.decode.cfn_yaml import load  # type: ignore[import-untyped]

from anamo.cli import worker_command
from anamo.cli.arguments import LogLocation
from tests.aws.conftest import LINE, Stage
from tests.support.account import Account
from tests.support.environment import REGION
from tests.support.policies import document, listed
from tests.support.scripts import ROOT
from tests.support.table import INDEXES, Table

TEMPLATE = ROOT / "aws" / "pyanamo.yaml"
NAMES = {"worker": "WorkerPolicy", "importer": "ImporterPolicy", "operator": "OperatorPolicy"}


def lint(template: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "cfn-lint"), "--include-checks", "I", "--"]
    return subprocess.run(
        [*command, str(template)], capture_output=True, text=True, check=False, timeout=300
    )


def test_the_linter_has_nothing_to_say() -> None:
    linted = lint(TEMPLATE)
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("SPOT_PRICE_CAPACITY_OPTIMIZED", "SPOT_PRICE"),
        ("HttpPutResponseHopLimit", "HopLimit"),
        ("!GetAtt JobRole.Arn", "!GetAtt JobRoll.Arn"),
    ],
)
def test_the_linter_sees_what_is_wrong(tmp_path: Path, good: str, bad: str) -> None:
    text = TEMPLATE.read_text()
    assert good in text
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace(good, bad))
    assert lint(wrong).returncode != 0


@dataclass(frozen=True)
class Stack:
    """A stack of the template: its outputs, and what physical resources it is made of."""

    account: Account
    outputs: Mapping[str, str]
    resources: Mapping[str, str]

    def policy(self, name: str) -> dict[str, Any]:
        """One of its managed policies."""
        version = self.account.client("iam").get_policy_version(
            PolicyArn=self.resources[name], VersionId="v1"
        )
        document: dict[str, Any] = version["PolicyVersion"]["Document"]
        return document

    @property
    def job_definition(self) -> dict[str, Any]:
        """The job definition as AWS Batch describes it."""
        found = self.account.client("batch").describe_job_definitions(
            jobDefinitions=[self.outputs["JobDefinition"]]
        )
        (definition,) = found["jobDefinitions"]
        described: dict[str, Any] = definition
        return described

    def job_role(self) -> dict[str, str]:
        """The variables that make a script run with the job role's credentials."""
        role = self.job_definition["containerProperties"]["jobRoleArn"]
        session = self.account.client("sts").assume_role(RoleArn=role, RoleSessionName="worker")
        return {
            "AWS_ACCESS_KEY_ID": session["Credentials"]["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": session["Credentials"]["SecretAccessKey"],
            "AWS_SESSION_TOKEN": session["Credentials"]["SessionToken"],
        }


def make_stack(account: Account, **parameters: str) -> Stack:
    """Make a stack with a name and a table of its own; it goes with the account."""
    cloudformation = account.client("cloudformation")
    name = f"stack-{uuid.uuid4().hex[:8]}"
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=TEMPLATE.read_text(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value}
            for key, value in {"TableName": name, **parameters}.items()
        ],
    )
    (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert described["StackStatus"] == "CREATE_COMPLETE"
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    return Stack(
        account,
        {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]},
        {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for each in resources
            if "LogicalResourceId" in each
        },
    )


@pytest.fixture(scope="module")
def stack(account: Account) -> Stack:
    """A stack made with the defaults, but for the table's name."""
    return make_stack(account)


def test_the_scripts_run_on_a_new_stack_with_its_own_policies(stack: Stack, stage: Stage) -> None:
    here = Stage(
        stack.account,
        Table(stack.outputs["Table"], stack.account.dynamodb),
        stack.outputs["Bucket"],
        stage.run,
    )
    importer = stack.account.user(stack.policy("ImporterPolicy"))
    lines = "".join(LINE.replace("{number}", str(number)) for number in range(4))
    assert here.load(importer, lines).returncode == 0
    worked = here.work(stack.job_role(), "-i", "2")
    assert worked.returncode == 0, worked.stderr
    assert here.states() == Counter(done=4)
    assert len(here.logs()) >= 4
    # The job role's credentials are asked for permissions: it may not import
    assert here.load(stack.job_role(), LINE.replace("{number}", "9")).returncode == 3


def test_the_table_has_the_indexes_of_the_projects_file(stack: Stack) -> None:
    table = stack.account.dynamodb.describe_table(TableName=stack.outputs["Table"])["Table"]
    ours = [(each["IndexName"], each["KeySchema"]) for each in json.loads(INDEXES.read_text())]
    theirs = [(each["IndexName"], each["KeySchema"]) for each in table["GlobalSecondaryIndexes"]]
    assert theirs == ours
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("further", ["", "*"])
def test_a_policy_of_the_template_is_the_document_of_that_name(
    account: Account, name: str, further: str
) -> None:
    stack = make_stack(account, FurtherTables=further)
    filled = document(name, stack.outputs["Table"] + further, stack.outputs["Bucket"])
    if not further:
        # The one table is there already
        filled["Statement"] = [
            each for each in filled["Statement"] if not each["Sid"].startswith("Optional")
        ]
    assert stack.policy(NAMES[name]) == filled


def command_line(definition: Mapping[str, Any], parameters: Mapping[str, str]) -> list[str]:
    """The words AWS Batch starts a container with: it puts parameters where Ref::name stands."""
    values = {**definition["parameters"], **parameters}
    words = definition["containerProperties"]["command"]
    return [
        str(values.get(word.removeprefix("Ref::"), word)) if word.startswith("Ref::") else word
        for word in words
    ]


def parsed(words: list[str]) -> dict[str, Any]:
    """What pyanamo.py makes of its command line."""
    arguments: dict[str, Any] = vars(worker_command.parser().parse_args(words))
    return arguments


def test_the_job_definitions_parameters_fill_the_workers_command_line(stack: Stack) -> None:
    arguments = parsed(command_line(stack.job_definition, {}))
    expected = {
        "table": stack.outputs["Table"],
        "bucket": LogLocation(stack.outputs["Bucket"], None),
        "region": REGION,
        "items": 2,
        "nested": 1,
        "lease": 600,
        "wall_time": 7 * 86400.0,
    }
    assert {name: arguments[name] for name in expected} == expected
    chosen = {"table": "Call", "items": "4", "nested": "8", "lease": "60", "walltime": "90m"}
    arguments = parsed(command_line(stack.job_definition, chosen))
    assert arguments["table"] == "Call"
    assert [arguments[name] for name in ("items", "nested", "lease")] == [4, 8, 60]
    assert arguments["wall_time"] == 5400


@pytest.mark.parametrize("parameter", ["items", "nested", "lease", "walltime"])
def test_a_parameter_that_is_not_filled_in_is_no_command_line(
    stack: Stack, parameter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    definition = stack.job_definition
    del definition["parameters"][parameter]
    with pytest.raises(SystemExit):
        parsed(command_line(definition, {}))
    assert f"Ref::{parameter}" in capsys.readouterr().err


def report(operation: str, request: Mapping[str, Any]) -> str:
    """What botocore finds wrong with a request of AWS Batch."""
    model = botocore.session.get_session().get_service_model("batch")
    shape = model.operation_model(operation).input_shape
    assert shape
    found = ParamValidator().validate(request, shape)
    return str(found.generate_report())


def registration(stack: Stack) -> Any:
    """The request that registers the template's job definition."""
    definition = stack.job_definition
    left_out = {"jobDefinitionArn", "revision", "status"}
    request = deepcopy({key: value for key, value in definition.items() if key not in left_out})
    # CloudFormation sends numbers as the strings that the API wants; moto keeps the numbers
    request["parameters"] = {key: str(value) for key, value in request["parameters"].items()}
    for each in request["containerProperties"]["resourceRequirements"]:
        each["value"] = str(each["value"])
    return request


def test_the_job_definition_is_one_that_the_api_takes(stack: Stack) -> None:
    request = registration(stack)
    assert report("RegisterJobDefinition", request) == ""
    properties = request["containerProperties"]
    properties["linuxParameters"]["initProcess"] = properties["linuxParameters"].pop(
        "initProcessEnabled"
    )
    assert "initProcess" in report("RegisterJobDefinition", request)


def test_a_worker_starts_again_where_its_machine_was_taken_away_and_only_then(
    stack: Stack,
) -> None:
    definition = stack.job_definition
    reclaimed, otherwise = definition["retryStrategy"]["evaluateOnExit"]
    assert reclaimed == {"onStatusReason": "Host EC2*", "action": "retry"}
    assert otherwise == {"onReason": "*", "action": "exit"}
    assert definition["containerProperties"]["linuxParameters"]["initProcessEnabled"] is True


def test_the_fleet_is_spot_and_its_machines_answer_containers(stack: Stack) -> None:
    (environment,) = stack.account.client("batch").describe_compute_environments(
        computeEnvironments=[stack.resources["ComputeEnvironment"]]
    )["computeEnvironments"]
    fleet = environment["computeResources"]
    assert (fleet["type"], fleet["minvCpus"]) == ("SPOT", 0)
    assert fleet["allocationStrategy"] == "SPOT_PRICE_CAPACITY_OPTIMIZED"
    (version,) = stack.account.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=fleet["launchTemplate"]["launchTemplateId"]
    )["LaunchTemplateVersions"]
    metadata = version["LaunchTemplateData"]["MetadataOptions"]
    assert (metadata["HttpTokens"], metadata["HttpPutResponseHopLimit"]) == ("required", 2)


# Moto makes nothing of these properties

PROMISED = {
    "Table": {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}},
    "Bucket": {
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
    },
}


def test_the_table_can_be_put_back_and_the_bucket_is_private() -> None:
    resources = load(str(TEMPLATE))["Resources"]
    for name, promised in PROMISED.items():
        properties = resources[name]["Properties"]
        assert {key: properties[key] for key in promised} == promised
    logs, _ = resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert (logs["Prefix"], logs["ExpirationInDays"]) == ("PyAnamo/", {"Ref": "LogDays"})


def test_eventbridge_starts_workers_where_a_schedule_is_given(
    account: Account, stack: Stack
) -> None:
    assert "ScheduledRun" not in stack.resources
    stack = make_stack(account, Schedule="rate(1 hour)", ScheduledWorkers="50")
    events = stack.account.client("events")
    (rule,) = [
        each
        for each in events.list_rules()["Rules"]
        if each["Name"] in stack.resources["ScheduledRun"]
    ]
    assert rule["ScheduleExpression"] == "rate(1 hour)"
    (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    assert target["Arn"] == stack.outputs["Queue"]
    assert target["BatchParameters"]["JobDefinition"] == stack.outputs["JobDefinition"]
    assert target["BatchParameters"]["ArrayProperties"] == {"Size": 50}


def wild(part: Any) -> list[str]:
    """The actions that a part of a template allows on everything, or by a pattern."""
    if isinstance(part, list):
        return [each for member in part for each in wild(member)]
    if not isinstance(part, dict):
        return []
    found = [each for member in part.values() for each in wild(member)]
    if part.get("Effect") == "Allow" and "Resource" in part:
        names = listed(part["Action"])
        found += (
            names if "*" in listed(part["Resource"]) else [each for each in names if "*" in each]
        )
    return found


def test_nothing_is_allowed_on_everything_but_what_aws_allows_only_so() -> None:
    assert wild(load(str(TEMPLATE))) == ["ecr:GetAuthorizationToken"]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("Action: batch:SubmitJob", "Action: batch:*"),
        ("Resource: !GetAtt Messages.Arn", 'Resource: "*"'),
        ("Resource: [!Ref JobDefinition, !Ref Queue]", 'Resource: ["*"]'),
    ],
)
def test_a_wildcard_in_the_template_is_found(tmp_path: Path, good: str, bad: str) -> None:
    text = TEMPLATE.read_text()
    assert good in text
    (tmp_path / "wild.yaml").write_text(text.replace(good, bad))
    assert len(wild(load(str(tmp_path / "wild.yaml")))) > 1
