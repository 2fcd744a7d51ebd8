"""A whole AWS account on loopback: moto's server, with IAM enforced where a test says so.

Moto knows less of AWS than is tested here. What is added, in the server's process:

- of IAM: the resource of a DynamoDB request, a table or an index, which moto leaves out and then
  finds in no policy that names one; the permission that AWS asks for where it is not called like
  the request; and that only who may list a bucket is told that an object is not there;
- of CloudFormation: AWS::NoValue inside a list; a parameter's default that is a list; the outputs
  of a stack made by a change set; what a template may leave to AWS, namely a repository's name and
  the service role of AWS Batch;
- AWS Batch without containers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import boto3

from tests.support.environment import REGION

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parents[2]
NUMBER = "123456789012"


def asked_for(action: str, body: bytes) -> list[str]:
    """The permissions that a request needs: a transaction those of the writes in it."""
    if action == "dynamodb:TransactWriteItems":
        writes = json.loads(body)["TransactItems"]
        return sorted({f"dynamodb:{kind}Item" for write in writes for kind in write})
    return [action]


def dynamodb_resource(request: Mapping[str, Any]) -> str:
    """The ARN that a DynamoDB request is about; each of the scripts' is about one table."""
    if "TransactItems" in request:
        (write,) = request["TransactItems"][0].values()
        table = write["TableName"]
    elif "RequestItems" in request:
        table = next(iter(request["RequestItems"]))
    elif "TableName" in request:
        table = request["TableName"]
    else:
        return "*"
    index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
    return f"arn:aws:dynamodb:{REGION}:{NUMBER}:table/{table}{index}"


def complete_iam() -> None:
    """Add what the module's docstring says of IAM."""
    from moto.dynamodb.responses import DynamoHandler
    from moto.iam.access_control import IAMRequestBase
    from moto.s3.models import s3_backends

    moto_checks = IAMRequestBase.check_action_permitted

    def exists(bucket: str, key: str) -> bool:
        s3 = s3_backends[NUMBER]["aws"]
        return bool(s3.get_object(bucket, unquote(key)))

    def check(request: Any, resource: str) -> None:
        moto_action = request._action  # noqa: SLF001
        for action in asked_for(moto_action, request._body):  # noqa: SLF001
            request._action = action  # noqa: SLF001
            moto_checks(request, resource)
        bucket, _, key = resource.partition("/")
        if moto_action == "s3:GetObject" and not exists(bucket.rpartition(":")[2], key):
            request._action = "s3:ListBucket"  # noqa: SLF001
            moto_checks(request, bucket)

    # Moto asks a service's handler for the resource where it has such a method; DynamoDB's has none
    setattr(DynamoHandler, "_determine_resource", lambda self: dynamodb_resource(self.body))  # noqa: B010
    setattr(IAMRequestBase, "check_action_permitted", check)  # noqa: B010


def complete_cloudformation() -> None:
    """Add what the module's docstring says of CloudFormation."""
    from moto.cloudformation import parsing
    from moto.cloudformation.models import ChangeSet

    moto_cleans = parsing.clean_json
    moto_applies = ChangeSet.apply

    def clean(value: Any, resources: Any) -> Any:
        cleaned = moto_cleans(value, resources)
        return [each for each in cleaned if each is not None] if type(cleaned) is list else cleaned

    def apply(change: Any) -> None:
        moto_applies(change)
        stack = change.stack
        outputs = parsing.OutputMap(stack.resource_map, change.template_dict, stack.stack_id)
        vars(stack).update(output_map=outputs, template_dict=change.template_dict)

    setattr(parsing, "clean_json", clean)  # noqa: B010
    setattr(ChangeSet, "apply", apply)  # noqa: B010


def complete_resources() -> None:
    """Add what the module's docstring says of what a template may leave to AWS."""
    from moto.batch.models import ComputeEnvironment
    from moto.ecr.models import Repository
    from moto.iam.models import iam_backends

    iam = iam_backends[NUMBER]["aws"]
    batch_role = iam.create_service_linked_role("batch.amazonaws.com", "", "")

    def amend_environment(name: str, properties: dict[str, Any]) -> str:
        properties.setdefault("ServiceRole", batch_role.arn)
        types = properties["ComputeResources"].get("InstanceTypes")
        if isinstance(types, str):
            properties["ComputeResources"]["InstanceTypes"] = types.split(",")
        return name

    complete(Repository, lambda name, _: name.lower())
    complete(ComputeEnvironment, amend_environment)


def complete(kind: Any, amend: Callable[[str, dict[str, Any]], str]) -> None:
    """Have moto's CloudFormation make a resource of what `amend`, given its name and properties,
    makes of both.
    """
    moto_creates = kind.create_from_cloudformation_json.__func__

    def create(kind: Any, name: str, described: Any, *rest: Any, **more: Any) -> Any:
        name = amend(name, described["Properties"])
        return moto_creates(kind, name, described, *rest, **more)

    kind.create_from_cloudformation_json = classmethod(create)


@dataclass(frozen=True)
class Account:
    """The account, as its owner sees it while nothing is enforced."""

    url: str

    def client(self, service: str, region: str = REGION) -> Any:
        """A client of the owner's."""
        client: Any = boto3.client(service, region, endpoint_url=self.url)  # type: ignore[call-overload]
        return client

    @property
    def dynamodb(self) -> DynamoDBClient:
        """The owner's DynamoDB."""
        client: DynamoDBClient = self.client("dynamodb")
        return client

    @property
    def s3(self) -> S3Client:
        """The owner's S3."""
        client: S3Client = self.client("s3")
        return client

    def user(self, policy: Mapping[str, Any]) -> dict[str, str]:
        """Make a user with this policy, and return the variables that make a script run as it."""
        iam = self.client("iam")
        name = f"user-{uuid.uuid4().hex[:12]}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Ask for permissions within."""
        self._ask_from_request("0")
        try:
            yield
        finally:
            self._ask_from_request("inf")

    def _ask_from_request(self, number: str) -> None:
        url = f"{self.url}/moto-api/reset-auth"
        request = urllib.request.Request(url, number.encode(), method="POST")
        request.add_header("Content-Type", "text/plain")
        urllib.request.urlopen(request).close()


@contextmanager
def aws_account() -> Iterator[Account]:
    """Run the server and yield the account."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.account"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for pytest, whose teardown still needs the server
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().partition(" ")[0].strip()
        if not url:
            raise RuntimeError("moto's server did not start")
        try:
            yield Account(url)
        finally:
            server.kill()


if __name__ == "__main__":
    from moto.core.config import default_user_config

    from demo.local_aws import main

    default_user_config["batch"] = {"use_docker": False}
    complete_iam()
    complete_cloudformation()
    complete_resources()
    main()
