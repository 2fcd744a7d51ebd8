"""The operator's commands do all they must with their document; each action taken away breaks what
it is for, and nothing else.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.aws.conftest import Ended, Stage
from tests.support.policies import document, without

LINES = "Good|{table}|true\nBad|{table}|false\n"
COMMANDS = {
    "status": ("status",),
    "status of items": ("status", "--state", "failed"),
    "export": ("export",),
    "plan": ("plan", "--workers", "2", "--task-time", "1m"),
    "logs": ("logs", "Good"),
    "logs of an itemID": ("logs", "{id}"),
    "requeue": ("requeue", "--state", "failed", "--yes"),
    "hold": ("hold",),
    "resume": ("resume", "--after", "{table}"),
    "remove": ("remove", "--state", "done", "--yes"),
}
BROKEN = {
    "dynamodb:Query": set(COMMANDS),
    "dynamodb:Scan": {"status", "export", "plan", "logs", "logs of an itemID", "resume"},
    "dynamodb:BatchGetItem": {
        "status",
        "status of items",
        "logs",
        "logs of an itemID",
        "requeue",
        "remove",
    },
    "dynamodb:UpdateItem": {"requeue"},
    "dynamodb:DeleteItem": {"remove"},
    "s3:GetObject": {"logs", "logs of an itemID"},
}
"""Commands that fail without an action."""
FIRST = {"requeue", "hold"}
"""Commands that leave others something to do."""


ANYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def operate(stage: Stage, user: dict[str, str], name: str) -> Ended:
    good = next(item["itemID"] for item in stage.table.items() if item["taskID"] == "Good")
    table = stage.table.name
    words = (word.replace("{id}", str(good)).replace("{table}", table) for word in COMMANDS[name])
    command, *flags = words
    return stage.run_as(user, "pyanamo.py", command, "-t", table, *flags)


@pytest.fixture
def worked(stage: Stage) -> Stage:
    """A stage with one item that is done and one that failed."""
    stage.fill(LINES)
    assert stage.work(stage.account.user(ANYTHING)).returncode == 1
    return stage


def test_an_operator_with_its_document_does_all_it_must(worked: Stage) -> None:
    user = worked.account.user(document("operator", worked.table.name, worked.bucket))
    for name in COMMANDS:
        ended = operate(worked, user, name)
        assert ended.returncode == 0, f"{name}: {ended.stderr}"
    assert worked.states() == Counter(held=1)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("action", BROKEN)
def test_an_action_taken_away_breaks_what_it_is_for(
    worked: Stage, action: str, every: bool
) -> None:
    """With --long: and nothing else."""
    policy = document("operator", worked.table.name, worked.bucket)
    user = worked.account.user(without(policy, action))
    broken = set()
    for name in COMMANDS:
        if not every and name not in BROKEN[action] | FIRST:
            continue
        ended = operate(worked, user, name)
        if ended.returncode:
            assert "lack a permission" in ended.stderr
            broken.add(name)
    assert broken == BROKEN[action]
