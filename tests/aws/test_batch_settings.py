"""What the template tells AWS Batch, EC2, EventBridge and CloudWatch, and why it must.

docs/aws-batch.md has the facts and where AWS documents them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.stack import Stack, resources, section

RULES = [
    {"onStatusReason": "Host EC2*", "action": "retry"},
    {"onExitCode": "75", "action": "retry"},
    {"onReason": "CannotPull*", "action": "retry"},
    {"onStatusReason": "Task failed to start*", "action": "retry"},
    {"onReason": "*", "action": "exit"},
]
GATE_RULES = [rule for rule in RULES if not rule.keys() & {"onExitCode"}][1:]
ENVIRONMENTS = ["ComputeEnvironment", "OnDemandEnvironment"]


def test_a_worker_starts_again_where_that_helps_and_only_there(stack: Stack) -> None:
    definition = stack.job_definition
    # No more than ten attempts and five rules are allowed
    assert definition["retryStrategy"] == {"attempts": 10, "evaluateOnExit": RULES}
    assert definition["containerProperties"]["linuxParameters"]["initProcessEnabled"] is True


def test_the_gate_is_a_quarter_of_a_processor_that_waits_and_takes_no_items(stack: Stack) -> None:
    gate = stack.definition("GateDefinition")
    properties = gate["containerProperties"]
    assert properties["command"][0] == "status"
    assert properties["command"][-2:] == ["--check", "--wait"]
    assert properties["resourceRequirements"] == [
        {"type": "VCPU", "value": "0.25"},
        {"type": "MEMORY", "value": "512"},
    ]
    assert gate["retryStrategy"] == {"attempts": 10, "evaluateOnExit": GATE_RULES}
    assert stack.environment("GateEnvironment")["type"] == "FARGATE"
    allowed = stack.inline_policies("GateRole")["ReadTables"]["Statement"]
    assert {action for each in allowed for action in each["Action"]} == {
        "dynamodb:DescribeTable",
        "dynamodb:BatchGetItem",
        "dynamodb:Query",
        "dynamodb:Scan",
    }


@pytest.mark.parametrize("output", ["JobDefinition", "GateDefinition"])
def test_a_full_buffer_loses_no_message(stack: Stack, output: str) -> None:
    log = stack.definition(output)["containerProperties"]["logConfiguration"]
    assert (log["logDriver"], log["options"]["mode"]) == ("awslogs", "blocking")


def test_the_fleet_is_spot_in_three_zones(stack: Stack) -> None:
    fleet = stack.environment("ComputeEnvironment")
    assert (fleet["type"], fleet["minvCpus"]) == ("SPOT", 0)
    assert fleet["allocationStrategy"] == "SPOT_PRICE_CAPACITY_OPTIMIZED"
    subnets = stack.account.client("ec2").describe_subnets(SubnetIds=fleet["subnets"])["Subnets"]
    assert len({each["AvailabilityZone"] for each in subnets}) == 3
    assert stack.environment("GateEnvironment")["subnets"] == fleet["subnets"]


def test_on_demand_instances_stand_behind_spot_where_they_are_asked_for(
    stack: Stack, own_stack: Stack
) -> None:
    assert "OnDemandEnvironment" not in stack.resources
    fleet = own_stack.environment("OnDemandEnvironment")
    assert (fleet["type"], fleet["maxvCpus"]) == ("EC2", 64)
    (queue,) = own_stack.account.client("batch").describe_job_queues(
        jobQueues=[own_stack.outputs["Queue"]]
    )["jobQueues"]
    order = sorted(queue["computeEnvironmentOrder"], key=lambda each: int(each["order"]))
    assert [each["computeEnvironment"] for each in order] == [
        own_stack.resources[name] for name in ENVIRONMENTS
    ]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_change_of_the_fleet_cuts_no_job_off_after_half_an_hour(name: str) -> None:
    policy = resources()[name]["Properties"]["UpdatePolicy"]
    # The most that there is: five days
    assert policy == {"JobExecutionTimeoutMinutes": 7200, "TerminateJobsOnUpdate": False}


def test_a_job_that_can_never_run_does_not_wait_for_ever() -> None:
    limits = resources()["Queue"]["Properties"]["JobStateTimeLimitActions"]
    assert {limit["Reason"]: limit["MaxTimeSeconds"] for limit in limits} == {
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": 600,
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": 600,
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": 86400,
    }
    assert {(limit["State"], limit["Action"]) for limit in limits} == {("RUNNABLE", "CANCEL")}


# 16 vCPUs: at the default of two a worker, eight workers share a disk
LARGEST = {"xlarge", "2xlarge", "4xlarge"}


@pytest.mark.parametrize(("made", "family"), [("stack", r"[cmr]\d+i?"), ("own_stack", r"[cmr]\dg")])
def test_few_workers_share_an_instance_and_its_disk(
    request: pytest.FixtureRequest, made: str, family: str
) -> None:
    stack: Stack = request.getfixturevalue(made)
    types = stack.environment("ComputeEnvironment")["instanceTypes"]
    assert len(types) >= 15
    for each in types:
        name, _, size = each.partition(".")
        assert re.fullmatch(family, name), each
        assert size in LARGEST
    (disk,) = stack.launch_template()["BlockDeviceMappings"]
    assert disk["Ebs"]["VolumeType"] == "gp3"
    assert disk["Ebs"]["Throughput"] == 250


def test_the_gate_runs_on_the_processors_that_the_image_is_built_for(
    stack: Stack, own_stack: Stack
) -> None:
    platforms = [
        each.definition("GateDefinition")["containerProperties"]["runtimePlatform"]
        for each in (stack, own_stack)
    ]
    assert [each["cpuArchitecture"] for each in platforms] == ["X86_64", "ARM64"]


def test_only_what_shares_the_instances_network_reaches_its_metadata(stack: Stack) -> None:
    metadata = stack.launch_template()["MetadataOptions"]
    assert (metadata["HttpTokens"], metadata["HttpPutResponseHopLimit"]) == ("required", 1)


def test_what_a_fleet_costs_can_be_told_from_other_costs(stack: Stack) -> None:
    name = stack.environment("ComputeEnvironment")["tags"]["pyanamo"]
    assert name == stack.outputs["Table"]
    (tagged,) = stack.launch_template()["TagSpecifications"]
    assert tagged == {"ResourceType": "volume", "Tags": [{"Key": "pyanamo", "Value": name}]}
    for definition in ("JobDefinition", "GateDefinition"):
        assert stack.definition(definition)["tags"] == {"pyanamo": name}
        assert resources()[definition]["Properties"]["PropagateTags"] is True


def test_everything_of_ones_own_is_used_and_not_made(stack: Stack, own_stack: Stack) -> None:
    made = {"Bucket", "Vpc", "SubnetA", "SubnetB", "SubnetC", "S3Endpoint", "DynamoDBEndpoint"}
    assert made <= stack.resources.keys()
    assert not made & own_stack.resources.keys()
    fleet = own_stack.environment("ComputeEnvironment")
    ec2 = own_stack.account.client("ec2")
    subnets = ec2.describe_subnets(SubnetIds=fleet["subnets"])["Subnets"]
    groups = ec2.describe_security_groups(GroupIds=fleet["securityGroupIds"])["SecurityGroups"]
    assert len(subnets) == 2
    assert {each["VpcId"] for each in subnets} == {each["VpcId"] for each in groups}
    assert own_stack.outputs["Bucket"] == "my-logs"
    assert "my-logs" in own_stack.job_definition["containerProperties"]["command"]


@pytest.mark.parametrize(("made", "address"), [("stack", "ENABLED"), ("own_stack", "DISABLED")])
def test_the_gate_has_a_public_address_where_it_needs_one(
    request: pytest.FixtureRequest, made: str, address: str
) -> None:
    stack: Stack = request.getfixturevalue(made)
    properties = stack.definition("GateDefinition")["containerProperties"]
    assert properties["networkConfiguration"] == {"assignPublicIp": address}


# Alerts


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether an event fits a pattern of values, or of their absence, as EventBridge sees it."""
    for key, wanted in pattern.items():
        found = event.get(key)
        if isinstance(wanted, dict):
            if not matches(wanted, found or {}):
                return False
        elif wanted == [{"exists": False}]:
            if found is not None:
                return False
        elif found not in wanted:
            return False
    return True


def test_somebody_is_told_of_array_and_gate_jobs_that_failed(
    stack: Stack, own_stack: Stack
) -> None:
    assert not {"AlertTopic", "FailedJobs"} & stack.resources.keys()
    rule, target = own_stack.rule("FailedJobs")
    assert target["Arn"] == own_stack.resources["AlertTopic"]
    pattern = json.loads(rule["EventPattern"])

    def told(queue: str, status: str = "FAILED", **array: int) -> bool:
        detail = {"status": status, "jobQueue": own_stack.outputs[queue], "arrayProperties": array}
        event = {"source": "aws.batch", "detail-type": "Batch Job State Change", "detail": detail}
        return matches(pattern, event)

    assert told("GateQueue")
    assert told("Queue", size=100)
    assert not told("Queue", index=0)
    assert not told("Queue", "SUCCEEDED", size=100)
    (subscription,) = [
        each
        for each in own_stack.account.client("sns").list_subscriptions()["Subscriptions"]
        if each["TopicArn"] == own_stack.resources["AlertTopic"]
    ]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "somebody@example.org")


def alarms() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in resources().items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            yield name, resource


def test_an_alarm_watches_the_table_and_each_index() -> None:
    indexes = resources()["Table"]["Properties"]["GlobalSecondaryIndexes"]
    watched = set()
    for _, alarm in alarms():
        assert alarm["Condition"] == "Alarms"
        properties = alarm["Properties"]
        assert properties["MetricName"] == "WriteThrottleEvents"
        dimensions = {each["Name"]: each["Value"] for each in properties["Dimensions"]}
        assert dimensions["TableName"] == {"Ref": "Table"}
        watched.add(dimensions.get("GlobalSecondaryIndexName"))
    assert watched == {None} | {each["IndexName"] for each in indexes}


def test_nobody_pays_for_alarms_that_were_not_asked_for() -> None:
    parameters = section("Parameters")
    off = {"ThrottlingAlarms": "no", "AlertEmail": "", "OnDemandVCpus": "0", "Schedule": ""}
    assert {name: parameters[name]["Default"] for name in off} == off
