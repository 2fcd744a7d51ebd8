"""The CloudFormation template: linted, made in moto, and used by the real scripts.

Moto makes all of it but the bucket's policy, and takes no notice of some properties; those are read
from the template itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from cfnlint.decode.cfn_yaml import load  # type: ignore[import-untyped]

from anamo.cli import operator_commands, worker_command
from anamo.cli.arguments import LogLocation, tables
from anamo.worker import metrics
from tests.aws.conftest import LINE, Stage
from tests.support.environment import REGION
from tests.support.policies import KMS_KEY, document, listed, without
from tests.support.stack import TEMPLATE, Stack, resources
from tests.support.table import INDEXES, Table

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


def test_the_scripts_run_on_a_new_stack_with_its_own_policies(stack: Stack, stage: Stage) -> None:
    here = Stage(
        stack.account,
        Table(stack.outputs["Table"], stack.account.dynamodb),
        stack.outputs["Bucket"],
        stage.run,
        stage.folder,
    )
    importer = stack.account.user(stack.policy("ImporterPolicy"))
    lines = "".join(LINE.replace("{number}", str(number)) for number in range(4))
    # The stack is shared with the other tests
    before = here.states()
    assert here.load(importer, lines).returncode == 0
    worked = here.work(stack.job_role(), "-i", "2")
    assert worked.returncode == 0, worked.stderr
    assert here.states() == before + Counter(done=4)
    assert len(here.logs()) >= 4
    # The job role's credentials are asked for permissions: it may not import
    assert here.load(stack.job_role(), LINE.replace("{number}", "9")).returncode == 3


def test_the_gate_runs_with_the_permissions_of_its_own_role(stack: Stack, stage: Stage) -> None:
    table = Table(stack.outputs["Table"], stack.account.dynamodb)
    here = Stage(stack.account, table, stack.outputs["Bucket"], stage.run, stage.folder)
    # Moto cannot ask a role for the policies inside it
    policy = stack.inline_policies("GateRole")["ReadTables"]
    role = stack.account.user(policy)
    gate = ("pyanamo.py", *command_line(stack.definition("GateDefinition"), {}))
    importer = stack.account.user(stack.policy("ImporterPolicy"))
    assert here.load(importer, LINE.replace("{number}", "a-gate")).returncode == 0
    # It may not work: the item stays
    assert here.work(role).returncode == 3
    assert here.run_as(role, *gate[:-1]).returncode == 75
    assert here.work(stack.job_role()).returncode == 0
    passed = here.run_as(role, *gate)
    assert passed.returncode == 0, passed.stderr
    assert f"{table.name}: " in passed.stdout
    for action, refused in (("dynamodb:Query", "Query"), ("dynamodb:Scan", "Scan")):
        user = stack.account.user(without(policy, action))
        ended = here.run_as(user, *gate)
        assert ended.returncode == 3
        assert f"{refused}: " in ended.stderr


def test_the_table_has_the_indexes_of_the_projects_file(stack: Stack) -> None:
    answer: Any = stack.account.dynamodb.describe_table(TableName=stack.outputs["Table"])
    table = answer["Table"]
    members = ("IndexName", "KeySchema", "Projection")
    ours, theirs = (
        [{name: each[name] for name in members} for each in indexes]
        for indexes in (json.loads(INDEXES.read_text()), table["GlobalSecondaryIndexes"])
    )
    assert theirs == ours
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_of_the_template_is_the_document_of_that_name(stack: Stack, name: str) -> None:
    filled = document(name, stack.outputs["Table"], stack.outputs["Bucket"])
    # The one table is there already
    filled["Statement"] = [
        each for each in filled["Statement"] if each["Sid"] != "OptionalCreateTable"
    ]
    assert stack.policy(NAMES[name]) == filled


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_is_the_document_for_many_tables_and_for_a_bucket_and_a_key_of_ones_own(
    own_stack: Stack, name: str
) -> None:
    filled = document(name, own_stack.outputs["Table"] + "*", "my-logs", KMS_KEY)
    assert own_stack.policy(NAMES[name]) == filled


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
        "table": [[stack.outputs["Table"]]],
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
    assert arguments["table"] == [["Call"]]
    assert [arguments[name] for name in ("items", "nested", "lease")] == [4, 8, 60]
    assert arguments["wall_time"] == 5400


def test_the_jobs_of_a_stack_with_several_tables_use_all_of_them_and_may(own_stack: Stack) -> None:
    name = own_stack.outputs["Table"]
    listed_tables = [f"{name}-Call", name]
    worker = parsed(command_line(own_stack.job_definition, {}))
    assert tables(Namespace(**worker)) == listed_tables
    words = command_line(own_stack.definition("GateDefinition"), {})
    gate = operator_commands.parser("pyanamo.py").parse_args(words)
    assert tables(gate) == listed_tables
    gate_policy = own_stack.inline_policies("GateRole")["ReadTables"]
    for policy in (own_stack.policy("WorkerPolicy"), gate_policy):
        resources_of = [each["Resource"] for each in policy["Statement"]]
        patterns = [one for each in resources_of for one in listed(each) if ":dynamodb:" in one]
        assert patterns
        for pattern in patterns:
            table = pattern.partition(":table/")[2].partition("/")[0]
            assert all(fnmatch(each, table) for each in listed_tables)


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


def registration(stack: Stack, output: str) -> Any:
    """The request that registers one of the template's job definitions."""
    definition = stack.definition(output)
    left_out = {"jobDefinitionArn", "revision", "status"}
    request = deepcopy({key: value for key, value in definition.items() if key not in left_out})
    # CloudFormation sends numbers as the strings that the API wants; moto keeps the numbers
    request["parameters"] = {key: str(value) for key, value in request["parameters"].items()}
    for each in request["containerProperties"]["resourceRequirements"]:
        each["value"] = str(each["value"])
    return request


@pytest.mark.parametrize("output", ["JobDefinition", "GateDefinition"])
def test_a_job_definition_is_one_that_the_api_takes(stack: Stack, output: str) -> None:
    request = registration(stack, output)
    assert report("RegisterJobDefinition", request) == ""
    properties = request["containerProperties"]
    properties["logConfiguration"]["driver"] = properties["logConfiguration"].pop("logDriver")
    assert "driver" in report("RegisterJobDefinition", request)


def test_workers_write_metrics_only_where_the_stack_says_so(stack: Stack, own_stack: Stack) -> None:
    assert parsed(command_line(stack.job_definition, {}))["metrics"] == []
    assert parsed(command_line(own_stack.job_definition, {}))["metrics"] == ["emf"]


def test_the_dashboard_shows_every_metric_that_workers_write() -> None:
    dashboard = resources()["Dashboard"]
    assert dashboard["Condition"] == "Measured"
    body = json.loads(dashboard["Properties"]["DashboardBody"]["Fn::Sub"])
    shown = Counter(
        name
        for widget in body["widgets"]
        for ((expression),) in widget["properties"]["metrics"]
        for name in re.findall(
            rf"SEARCH\('{{{metrics.NAMESPACE},Table}} MetricName=\"(\w+)\"",
            expression["expression"],
        )
    )
    assert shown == Counter(name for name, _ in metrics.EMF.values())
    # On a grid 24 wide, none upon another
    places = [(each["x"], each["y"], each["x"] + each["width"]) for each in body["widgets"]]
    assert len(set(places)) == len(places)
    assert max(right for _, _, right in places) <= 24


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
    described = resources()
    for name, promised in PROMISED.items():
        properties = described[name]["Properties"]
        assert {key: properties[key] for key in promised} == promised
    logs, _ = described["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert (logs["Prefix"], logs["ExpirationInDays"]) == ("PyAnamo/", {"Ref": "LogDays"})


def test_eventbridge_starts_workers_where_a_schedule_is_given(
    stack: Stack, own_stack: Stack
) -> None:
    assert "ScheduledRun" not in stack.resources
    rule, target = own_stack.rule("ScheduledRun")
    assert rule["ScheduleExpression"] == "rate(1 hour)"
    assert target["Arn"] == own_stack.outputs["Queue"]
    assert target["BatchParameters"]["JobDefinition"] == own_stack.outputs["JobDefinition"]
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
