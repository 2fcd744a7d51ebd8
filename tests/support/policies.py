"""The IAM documents of aws/iam, filled in, changed and judged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from tests.support.account import NUMBER
from tests.support.environment import REGION

FOLDER = Path(__file__).parents[2] / "aws" / "iam"
Policy = Mapping[str, Any]
KMS_KEY = f"arn:aws:kms:{REGION}:{NUMBER}:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def document(name: str, table: str, bucket: str, key: str | None = None) -> dict[str, Any]:
    """One of the documents for a table, or a pattern of names, a bucket and its key.

    Without a key, as most buckets are, the statement about it is left out.
    """
    text = (FOLDER / f"{name}.json").read_text()
    values = {"REGION": REGION, "ACCOUNT": NUMBER, "TABLE": table, "BUCKET": bucket}
    values["KEY"] = key or ""
    filled: dict[str, Any] = json.loads(
        re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)
    )
    filled["Statement"] = [each for each in filled["Statement"] if each["Resource"]]
    return filled


def listed(value: str | list[str]) -> list[str]:
    """What a policy may say as one string or as a list of them."""
    return [value] if isinstance(value, str) else value


def actions(policy: Policy) -> set[str]:
    """All actions that a policy allows."""
    return {action for each in policy["Statement"] for action in listed(each["Action"])}


def without(policy: Policy, action: str) -> dict[str, Any]:
    """The policy with an action taken away."""
    changed = dict(deepcopy(policy))
    for statement in changed["Statement"]:
        statement["Action"] = [each for each in listed(statement["Action"]) if each != action]
    changed["Statement"] = [each for each in changed["Statement"] if each["Action"]]
    return changed


def also(policy: Policy, action: str, resource: str) -> dict[str, Any]:
    """The policy with an action more."""
    more = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**policy, "Statement": [*policy["Statement"], more]}


def excess(policy: Policy, needed: set[str], table: str, bucket: str) -> list[str]:
    """What a policy allows beyond the needed actions on this table and this bucket's logs."""
    return [*_excess(policy, needed, table, bucket)]


def _excess(policy: Policy, needed: set[str], table: str, bucket: str) -> Iterator[str]:
    arn = re.escape(f"arn:aws:dynamodb:{REGION}:{NUMBER}:table/{table}")
    mine = re.compile(
        rf"{arn}(/index/(\w+|\*))?|arn:aws:s3:::{re.escape(bucket)}(/PyAnamo/\*)?",
    )
    for statement in policy["Statement"]:
        if statement["Effect"] != "Allow" or {"NotAction", "NotResource"} & statement.keys():
            yield f"a statement that is hard to judge: {statement}"
        yield from set(listed(statement["Action"])) - needed
        # Whole logs are not deleted
        so_far = "-so-far.log.gz" if "s3:DeleteObject" in listed(statement["Action"]) else ""
        resources = listed(statement["Resource"])
        yield from (
            each
            for each in resources
            if not (each.endswith(so_far) and mine.fullmatch(each.removesuffix(so_far)))
        )
