"""The documented example, word for word."""

from __future__ import annotations

import gzip
import re
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.environment import REGION
from tests.support.scripts import ROOT, Scripts
from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

MAKE = r"""
export PYANAMO_TABLE="Testing"
cd ${PYANAMO}
aws dynamodb create-table --table-name "${PYANAMO_TABLE}" \
  --attribute-definitions AttributeName=itemID,AttributeType=N AttributeName=ItemState,AttributeType=S AttributeName=taskID,AttributeType=S AttributeName=InstanceID,AttributeType=S AttributeName=Log_Length,AttributeType=N \
  --key-schema AttributeName=itemID,KeyType=HASH \
  --provisioned-throughput ReadCapacityUnits=10,WriteCapacityUnits=10 \
  --global-secondary-indexes file://${PYANAMO}/workflow-gsi-index.json
"""  # noqa: E501  # as it is documented
IMPORT = r"""
export PYANAMO_TABLE="Testing"
cd ${PYANAMO}
for i in {1..16}; do echo -e "Task-${i}|${PYANAMO_TABLE}|seq|${i},2,3"; done > ${PYANAMO_TABLE}-import.txt
python import-items-generic.py -t ${PYANAMO_TABLE} -d ${PYANAMO_TABLE}-import.txt -s "|" -n ','
"""  # noqa: E501  # as it is documented
WORK = r"""
export PYANAMO_TABLE="Testing"
cd ${PYANAMO}
python pyanamo.py -t "${PYANAMO_TABLE}" -b "${S3_BUCKET}" -r "${AWS_REGION}"
"""
WORK_IN_PARALLEL = r"""
export PYANAMO_TABLE="Testing"
cd ${PYANAMO}
python pyanamo.py -t "${PYANAMO_TABLE}" -b "${S3_BUCKET}" -r "${AWS_REGION}" -i '2' -n '4'
"""


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    """Where git was downloaded to: a copy, because the example writes there."""
    folder = tmp_path / "PyAnamo"
    folder.mkdir()
    for name in ("pyanamo.py", "import-items-generic.py", "workflow-gsi-index.json"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "anamo", folder / "anamo", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def testing(dynamodb_client: DynamoDBClient) -> Iterator[Table]:
    """The example's table, once it has made it."""
    yield Table("Testing", dynamodb_client)
    dynamodb_client.delete_table(TableName="Testing")


README = (ROOT / "README.md").read_text()
ON_AWS = README.split("\n## On AWS\n")[1].split("\n## ")[0]


def pasted_lines(text: str) -> str:
    """The blocks of a part of the README that are to be pasted."""
    return "".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


@pytest.fixture
def example(scripts: Scripts, downloaded: Path, bucket: str) -> Any:
    """Run lines of the example in a shell; what they said."""
    exported = {"PYANAMO": str(downloaded), "S3_BUCKET": bucket, "AWS_REGION": REGION}

    def run(lines: str) -> tuple[str, str]:
        ended = scripts.run("bash", "-euc", lines, env=exported)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout, ended.stderr

    return run


def check_results(testing: Table, s3_client: S3Client, bucket: str) -> None:
    """Every item is done, and holds its log entries; the whole logs are in S3."""
    items = {item["taskID"]: item for item in testing.items()}
    assert set(items) == {f"Task-{number}" for number in range(1, 17)}
    for number in range(1, 17):
        item = items[f"Task-{number}"]
        assert (item["ItemState"], item["Nested_Tasks"], item["Log_Length"]) == ("done", 3, 3)
        assert (item["Attempts"], "Lease_Expires" in item) == (1, False)
        for task, count in enumerate((number, 2, 3)):
            assert item["TaskScript"][f"Task_{task}"] == {
                "Status": "done",
                "Script": f"seq {count}",
            }
            entry = item["Log"][f"Task_{task}"]
            printed = "".join(f"{line}\n" for line in range(1, count + 1))
            assert (entry["Status"], entry["Exit_Code"]) == ("Execution Successful", 0)
            assert (entry["stdout"], "stderr" in entry) == (printed, False)
            key = entry["S3"].removeprefix(f"s3://{bucket}/")
            assert key.startswith(
                f"PyAnamo/Testing/Task-{number}/{item['itemID']}-{item['lockID']}"
            )
            reply = s3_client.get_object(Bucket=bucket, Key=key, Range=f"bytes={entry['S3_Range']}")
            log = gzip.decompress(reply["Body"].read()).decode()
            assert f"command: seq {count}\n" in log
            assert f"== stdout, {len(printed)} bytes ==\n{printed}" in log


def test_the_example_works_word_for_word(
    example: Any, testing: Table, s3_client: S3Client, bucket: str
) -> None:
    assert '"TableName": "Testing"' in example(MAKE)[0]
    assert example(IMPORT) == ("Testing: 16 new items, 0 already there\n", "")
    said = example(WORK)[1]
    assert "items: 16 done; tasks: 48 done, 0 failed" in said
    assert f"logs in s3://{bucket}/PyAnamo/Testing/" in said
    check_results(testing, s3_client, bucket)

    before = testing.items()
    assert "table Testing: nothing to do" in example(WORK_IN_PARALLEL)[1]
    assert example(IMPORT)[0] == "Testing: 0 new items, 16 already there (16 done)\n"
    assert testing.items() == before


def test_the_example_works_in_parallel(
    example: Any, testing: Table, s3_client: S3Client, bucket: str
) -> None:
    example(MAKE + IMPORT)
    assert "items: 16 done; tasks: 48 done, 0 failed" in example(WORK_IN_PARALLEL)[1]
    check_results(testing, s3_client, bucket)


def test_the_first_lines_of_the_readme_work_when_they_are_pasted(
    scripts: Scripts,
    downloaded: Path,
    testing: Table,
    s3: str,
    s3_client: S3Client,
) -> None:
    # Packages are not downloaded; those of the tests stand in for them
    pip = 'pip() { printf "%s\\n" "$*" >> pip-arguments; }\n'
    environment = {"PYTHONPATH": sysconfig.get_path("purelib"), "AWS_ENDPOINT_URL_STS": s3}
    del scripts.environment["AWS_REGION"], scripts.environment["AWS_DEFAULT_REGION"]
    lines = pasted_lines(ON_AWS)
    ended = scripts.run("bash", "-euc", pip + lines, env=environment, cwd=downloaded)
    assert ended.returncode == 0, ended.stderr
    assert (downloaded / "venv" / "bin" / "python").exists()
    assert (downloaded / "pip-arguments").read_text() == "install -r requirements.txt awscli\n"
    assert "Testing: 16 new items, 0 already there\n" in ended.stdout
    assert "table Testing: created" in ended.stderr
    assert "items: 16 done; tasks: 48 done, 0 failed" in ended.stderr
    check_results(testing, s3_client, "pyanamo-123456789012")
    # Nothing is left to fill in
    assert not re.search(r"<\w+>|path/to|my-", lines, re.IGNORECASE)


def test_the_other_blocks_of_the_readme_work_when_they_are_pasted_in_their_order(
    scripts: Scripts, downloaded: Path, dynamodb_client: DynamoDBClient
) -> None:
    lines = pasted_lines(README.replace(ON_AWS, ""))
    ended = scripts.run("bash", "-euc", lines, cwd=downloaded)
    states = {}
    for name in ("Sheet", "Align", "Call", "Merge"):
        states[name] = Table(name, dynamodb_client).states()
        dynamodb_client.delete_table(TableName=name)
    assert ended.returncode == 0, ended.stderr
    assert states == {
        "Sheet": {"todo": 2},
        "Align": {"todo": 70},
        "Call": {"held": 70},
        "Merge": {"held": 70},
    }
