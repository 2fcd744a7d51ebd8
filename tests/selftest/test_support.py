"""Child processes see nothing of the caller, and none outlives its test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.environment import environment, scrub
from tests.support.moto_server import SCRIPT
from tests.support.processes import lives
from tests.support.scripts import Scripts
from tests.support.table import Table
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CALLER = {
    "AWS_PROFILE": "production",
    "AWS_SESSION_TOKEN": "secret",
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_ENDPOINT_URL": "https://example.invalid",
    "https_proxy": "http://example.invalid",
    "PYANAMO": "elsewhere",
    "LANG": "C",
}


def test_a_child_sees_the_dummy_account_and_nothing_of_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CALLER.items():
        monkeypatch.setenv(name, value)
    host_metadata = environment(tmp_path, dynamodb="http://127.0.0.1:1", s3="http://127.0.0.1:2")
    with Scripts(host_metadata, tmp_path) as scripts:
        code = "import json, os; print(json.dumps(dict(os.environ)))"
        seen = json.loads(scripts.run("python", "-c", code).stdout)
    assert not {value for value in seen.values() if value in CALLER.values()}
    assert seen["AWS_ACCESS_KEY_ID"] == "testing"
    assert seen["AWS_EC2_METADATA_DISABLED"] == "true"
    assert seen["AWS_ENDPOINT_URL_DYNAMODB"] == "http://127.0.0.1:1"
    assert not Path(seen["AWS_CONFIG_FILE"]).exists()


def test_scrub_leaves_what_is_not_aws() -> None:
    variables = dict(CALLER)
    scrub(variables)
    assert variables == {"PYANAMO": "elsewhere", "LANG": "C"}


def test_a_child_runs_this_python(scripts: Scripts) -> None:
    ended = scripts.run("python", "-c", "import sys; print(sys.prefix); sys.exit(3)")
    assert (ended.returncode, ended.stdout) == (3, f"{sys.prefix}\n")
    assert scripts.run("cat", stdin="what it reads").stdout == "what it reads"


def test_a_child_that_runs_on_fails_the_test_with_what_it_said(scripts: Scripts) -> None:
    with pytest.raises(pytest.fail.Exception, match="its last words"):
        scripts.run("bash", "-c", "echo its last words; exec sleep 60", timeout=1)


def test_a_grandchild_in_a_session_of_its_own_is_ended_too(tmp_path: Path) -> None:
    host_metadata = environment(tmp_path, dynamodb="", s3="")
    with Scripts(host_metadata, tmp_path) as scripts:
        child = scripts.start("bash", "-c", "setsid sleep 60 & echo $!")
        child.wait()
        grandchild = int(child.stdout)
        assert scripts.alive() == [grandchild]
    eventually(lambda: not lives(grandchild))


def test_eventually_waits_and_gives_up() -> None:
    countdown = iter([0, [], "value"])
    assert eventually(lambda: next(countdown)) == "value"
    with pytest.raises(AssertionError, match="still is 0"):
        eventually(lambda: 0, deadline_seconds=0.05)


def test_items_are_plain_values(dynamodb_client: DynamoDBClient, table: Table) -> None:
    dynamodb_client.put_item(
        TableName=table.name,
        Item={
            "itemID": {"N": "9007199254740991"},
            "ItemState": {"S": "done"},
            "Log": {"M": {"Task_0": {"M": {"Seconds": {"N": "0.25"}, "Tags": {"L": []}}}}},
        },
    )
    log = {"Task_0": {"Seconds": 0.25, "Tags": []}}
    item = {"itemID": 2**53 - 1, "ItemState": "done", "Log": log}
    assert table.items() == [item]
    assert table.item(2**53 - 1) == item
    assert table.states() == {"done": 1}


def test_the_local_aws_ends_with_who_started_it() -> None:
    server = subprocess.Popen(
        [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    assert server.stdout.readline().startswith(b"http://127.0.0.1:")
    server.communicate(timeout=10)
    assert server.returncode == 0
