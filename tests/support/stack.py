"""Stacks of the CloudFormation template, made in the account."""

from __future__ import annotations

import uuid
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cfnlint.decode.cfn_yaml import load  # type: ignore[import-untyped]

from tests.support.account import Account
from tests.support.policies import KMS_KEY
from tests.support.scripts import ROOT

TEMPLATE = ROOT / "aws" / "pyanamo.yaml"


def resources() -> Any:
    """The template's resources, as they are written."""
    return section("Resources")


def section(name: str) -> Any:
    """A section of the template, as it is written."""
    return load(str(TEMPLATE))[name]


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

    def inline_policies(self, role: str) -> dict[str, Any]:
        """The policies inside one of its roles, by their names."""
        iam = self.account.client("iam")
        role = self.resources[role]
        # Moto keeps what CloudFormation gave it in Python's notation
        return {
            name: literal_eval(
                iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            )
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        }

    def definition(self, output: str) -> dict[str, Any]:
        """A job definition as AWS Batch describes it."""
        found = self.account.client("batch").describe_job_definitions(
            jobDefinitions=[self.outputs[output]]
        )
        (definition,) = found["jobDefinitions"]
        described: dict[str, Any] = definition
        return described

    @property
    def job_definition(self) -> dict[str, Any]:
        """The workers' job definition."""
        return self.definition("JobDefinition")

    def environment(self, name: str) -> dict[str, Any]:
        """What one of its compute environments runs jobs on."""
        (environment,) = self.account.client("batch").describe_compute_environments(
            computeEnvironments=[self.resources[name]]
        )["computeEnvironments"]
        described: dict[str, Any] = environment["computeResources"]
        return described

    def launch_template(self) -> dict[str, Any]:
        """What its instances are launched with."""
        (version,) = self.account.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=self.resources["LaunchTemplate"]
        )["LaunchTemplateVersions"]
        data: dict[str, Any] = version["LaunchTemplateData"]
        return data

    def rule(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """One of its EventBridge rules, and the rule's target."""
        events = self.account.client("events")
        (rule,) = (
            each for each in events.list_rules()["Rules"] if each["Name"] in self.resources[name]
        )
        (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        return rule, target

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
            {"ParameterKey": key, "ParameterValue": value.replace("{name}", name)}
            for key, value in {"TableName": name, **parameters}.items()
        ],
    )
    (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert described["StackStatus"] == "CREATE_COMPLETE"
    made = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    return Stack(
        account,
        {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]},
        {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for each in made
            if "LogicalResourceId" in each
        },
    )


def own_parameters(account: Account) -> dict[str, str]:
    """Parameters for all that can be one's own, and for all that is optional."""
    default = [{"Name": "default-for-az", "Values": ["true"]}]
    subnets = account.client("ec2").describe_subnets(Filters=default)["Subnets"]
    return {
        "VpcId": subnets[0]["VpcId"],
        "SubnetIds": ",".join(each["SubnetId"] for each in subnets[:2]),
        "BucketName": "my-logs",
        "KeyArn": KMS_KEY,
        "FurtherTables": "*",
        "Tables": "{name}-Call {name}",
        "OnDemandVCpus": "64",
        "Architecture": "arm64",
        "AlertEmail": "somebody@example.org",
        "ThrottlingAlarms": "yes",
        "Metrics": "yes",
        "Schedule": "rate(1 hour)",
        "ScheduledWorkers": "50",
    }
