"""Imports that cannot be: what is said, the exit code, and that nothing was written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anamo.cli.main import CHECK_TABLE
from tests.support.dynamodb_local import free_port
from tests.support.fleet import Fleet
from tests.support.proxy import Forward, Proxy, Reply, Request, failing, on
from tests.support.scripts import ROOT, Scripts
from tests.support.table import INDEXES, KEY_TYPES, Table
from tests.support.task_files import PROGRAM, Importer, counts, lines, said, through

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], dynamodb: str) -> Proxy:
    return make_proxy(dynamodb)


# Exit code 2


def test_bad_lines_are_named_and_nothing_is_written(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    content = lines(table.name, range(300)) + f"Task-1|{table.name}|seq\nTask-2|Else|seq|1\n"
    ended = import_file(table.name, content, env=through(proxy.url))
    assert (ended.returncode, ended.stdout) == (2, "")
    first, second, count = said(ended)
    assert ".txt:301: 3 fields instead of 4 " in first
    assert ".txt:302: the line names table Else, but -t only " in second
    assert count == "2 invalid lines; nothing was written"
    assert proxy.requests == []
    assert table.items() == []


CUT = "the file ends in this line, without a line break: was it cut off?"


def test_a_file_that_is_cut_off_in_its_last_line_is_refused(
    run: Callable[..., Any], table: Table, tmp_path: Path
) -> None:
    file = tmp_path / "tasks.txt"
    file.write_text(f"A|{table.name}|align|S1\nB|{table.name}|align|S2\nC|{table.name}|align")
    command = [PROGRAM, "-t", table.name, "-d", file, "-s", "|"]
    ended = run(*command)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ":3: 3 fields, and 4 in all others" in said(ended)[0]
    assert CUT in said(ended)[0]
    assert table.items() == []
    # It was meant so
    file.write_text(file.read_text() + "\n")
    assert run(*command).returncode == 0
    assert table.states() == {"todo": 3}


def test_a_last_line_with_fewer_arguments_is_imported_with_a_warning(
    import_file: Importer, table: Table
) -> None:
    content = lines(table.name, range(3)) + f"Task-3|{table.name}|seq|3,2"
    ended = import_file(table.name, content)
    assert counts(ended) == (4, 0)
    (warning,) = said(ended)
    assert ":4: 2 nested arguments, and more in all others; " + CUT in warning


@pytest.mark.parametrize("flags", [[], ["--dry-run"], ["--create-table"]])
def test_thousands_of_bad_lines_fit_on_a_screen(
    import_file: Importer, proxy: Proxy, flags: list[str]
) -> None:
    ended = import_file("Testing", "bad line\n" * 5000, *flags, env=through(proxy.url))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(said(ended)) == 22
    assert said(ended)[-2:] == [
        "… and 4,980 more invalid lines",
        "5,000 invalid lines; nothing was written",
    ]
    assert proxy.requests == []


def test_what_is_in_a_bad_line_cannot_move_the_cursor(import_file: Importer) -> None:
    ended = import_file("Testing", "Task-1|\x1b[2Jevil|seq|1\n")
    assert ended.returncode == 2
    assert "\x1b" not in ended.stderr


def test_what_a_shell_would_act_on_is_refused_and_not_recorded_as_done(fleet: Fleet) -> None:
    script = "echo hi > out.txt && rm out.txt"
    line = f"Task-1;;{fleet.table.name};;{script}\n"
    importer = (PROGRAM, "-t", fleet.table.name, "-d", "-", "-s", ";;")
    ended = fleet.scripts.run(*importer, stdin=line)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said(ended)[0].startswith("standard input:1: > needs a shell")
    assert f"bash -c '{script}'" in said(ended)[0]
    assert fleet.table.items() == []

    # What happens without the refusal
    assert counts(fleet.scripts.run(*importer, "--literal", stdin=line)) == (1, 0)
    assert fleet.start().wait().returncode == 0
    (item,) = fleet.table.items()
    assert (item["ItemState"], item["Log"]["stdout"]) == ("done", "hi > out.txt && rm out.txt\n")


def test_an_empty_file_is_refused(import_file: Importer) -> None:
    ended = import_file("Testing", "\n\n")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said(ended)[0].endswith(": contains no task")


def test_a_missing_file_is_refused(scripts: Scripts, tmp_path: Path) -> None:
    missing = tmp_path / "missing.txt"
    ended = scripts.run(PROGRAM, "-t", "Testing", "-d", missing, "-s", "|")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said(ended) == [f"{missing}: No such file or directory"]


def test_a_separator_inside_quotes_is_explained(scripts: Scripts) -> None:
    line = "Task-1|Testing|grep 'a|b' file\n"
    ended = scripts.run(PROGRAM, "-t", "Testing", "-d", "-", "-s", "|", stdin=line)
    assert ended.returncode == 2
    assert said(ended)[0] == (
        "standard input:1: the separator is inside quotes: choose another separator, say -s '\\t'"
    )


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["-d", "x", "-s", "|"], "the following arguments are required: -t/--table"),
        (["-t", "Tab", "-s", "|"], "the following arguments are required: -d/--data"),
        (["-t", "Tab", "-d", "x"], "the following arguments are required: -s/--separator"),
        (["-t", "Tab", "-d", "x", "-s", ""], "argument -s/--separator: is empty"),
        (["-t", "Tab", "-d", "x", "-s", "|", "-n", ""], "-n/--nested-separator: is empty"),
        (["-t", "", "-d", "x", "-s", "|"], "argument -t/--table: is empty (unset shell variable?)"),
        (
            ["-t", "Tab", "-d", "", "-s", "|"],
            "argument -d/--data: is empty (unset shell variable?)",
        ),
        (["-t", "Tab", "-d", "x", "-s", "|", "--dry"], "unrecognized arguments: --dry"),
    ],
)
def test_a_wrong_command_line_is_refused(
    scripts: Scripts, flags: list[str], complaint: str
) -> None:
    ended = scripts.run(PROGRAM, *flags)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


# Exit code 3


def refused(
    import_file: Importer, table: str, *flags: str, env: Mapping[str, str] | None = None
) -> str:
    """The one line of an import that AWS does not let happen."""
    ended = import_file(table, lines(table, range(3)), *flags, env=env)
    assert (ended.returncode, ended.stdout) == (3, "")
    (line,) = said(ended)
    return line


def test_a_missing_table_is_named_and_can_be_made(import_file: Importer) -> None:
    assert refused(import_file, "Missing") == (
        f"table Missing does not exist in us-east-1: {CHECK_TABLE}"
    )


@pytest.fixture
def other_table(dynamodb_client: DynamoDBClient, table: Table) -> Iterator[str]:
    """The name of a table that a test makes in its own way."""
    name = f"{table.name}-other"
    yield name
    dynamodb_client.delete_table(TableName=name)


@pytest.mark.parametrize(("key", "kind"), [({"id": "HASH"}, "N"), ({"itemID": "HASH"}, "S")])
def test_a_wrong_key_is_named(
    import_file: Importer,
    dynamodb_client: DynamoDBClient,
    other_table: str,
    key: dict[str, str],
    kind: str,
) -> None:
    dynamodb_client.create_table(
        TableName=other_table,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}  # type: ignore[typeddict-item]
            for name in key
        ],
        KeySchema=[
            {"AttributeName": name, "KeyType": use}  # type: ignore[typeddict-item]
            for name, use in key.items()
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    assert refused(import_file, other_table) == (
        f"table {other_table}: its key must be itemID, a number, and nothing else; "
        "importing with --create-table creates a table that has it"
    )


def test_a_missing_index_is_named(
    import_file: Importer, dynamodb_client: DynamoDBClient, other_table: str
) -> None:
    indexes = json.loads(INDEXES.read_text())
    del indexes[1]
    dynamodb_client.create_table(
        TableName=other_table,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}  # type: ignore[typeddict-item]
            for name, kind in KEY_TYPES.items()
            if name != "taskID"
        ],
        KeySchema=[{"AttributeName": "itemID", "KeyType": "HASH"}],
        ProvisionedThroughput={"ReadCapacityUnits": 10, "WriteCapacityUnits": 10},
        GlobalSecondaryIndexes=indexes,
    )
    assert refused(import_file, other_table) == (
        f"table {other_table}: index TaskStateIndex is missing or has another key; "
        "workflow-gsi-index.json holds the indexes a workflow table has"
    )


@pytest.mark.parametrize(
    ("lacking", "named"),
    [
        (["lockID"], "lockID"),
        (
            ["Nested_Tasks", "Lock_Date", "Done_Date", "Failed_Tasks"],
            "Done_Date, Lock_Date, Nested",
        ),
        (["Failed_Tasks", "Failures"], None),
    ],
)
def test_an_index_that_lacks_what_claims_or_counts_need_is_named(
    import_file: Importer,
    dynamodb_client: DynamoDBClient,
    other_table: str,
    lacking: list[str],
    named: str | None,
) -> None:
    """The other indexes may hold what they like."""
    indexes = json.loads(INDEXES.read_text())
    for name in lacking:
        indexes[0]["Projection"]["NonKeyAttributes"].remove(name)
    indexes[1]["Projection"] = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["Owner"]}
    dynamodb_client.create_table(
        TableName=other_table,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}  # type: ignore[typeddict-item]
            for name, kind in KEY_TYPES.items()
        ],
        KeySchema=[{"AttributeName": "itemID", "KeyType": "HASH"}],
        ProvisionedThroughput={"ReadCapacityUnits": 10, "WriteCapacityUnits": 10},
        GlobalSecondaryIndexes=indexes,
    )
    if named is None:
        assert counts(import_file(other_table, lines(other_table, [1]))) == (1, 0)
        return
    said = refused(import_file, other_table)
    assert said.startswith(f"table {other_table}: index ItemStateIndex does not project {named}")
    assert said.endswith("; workflow-gsi-index.json holds the indexes a workflow table has")


def test_an_index_with_a_further_attribute_in_its_key_is_another_index(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    def described(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        found = json.loads(reply.body)
        (index,) = (
            each
            for each in found["Table"]["GlobalSecondaryIndexes"]
            if each["IndexName"] == "ItemStateIndex"
        )
        index["KeySchema"].insert(1, {"AttributeName": "taskID", "KeyType": "HASH"})
        return Reply.of(found)

    proxy.behaviour = on("DescribeTable", described)
    assert refused(import_file, table.name, env=through(proxy.url)) == (
        f"table {table.name}: index ItemStateIndex is missing or has another key; "
        "workflow-gsi-index.json holds the indexes a workflow table has"
    )


def test_missing_credentials_are_named(import_file: Importer, table: Table) -> None:
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    line = refused(import_file, table.name, env=nobody)
    assert "redentials" in line
    assert "aws configure" in line


def test_a_profile_that_does_not_exist_is_named(import_file: Importer, table: Table) -> None:
    line = refused(import_file, table.name, env={"AWS_PROFILE": "nobody"})
    assert "nobody" in line


NOWHERE = ("env", "-u", "AWS_REGION", "-u", "AWS_DEFAULT_REGION", "python", str(ROOT / PROGRAM))


def test_a_missing_region_is_named(scripts: Scripts, table: Table) -> None:
    flags = ("-t", table.name, "-d", "-", "-s", "|", "-n", ",")
    ended = scripts.run(*NOWHERE, *flags, stdin=lines(table.name, [1]))
    assert (ended.returncode, ended.stdout) == (3, "")
    assert said(ended) == ["No AWS region: pass -r REGION, or set AWS_DEFAULT_REGION."]


@pytest.mark.parametrize(
    ("variable", "flags"),
    [("NO_REGION", ["-r", "us-east-1"]), ("AWS_DEFAULT_REGION", []), ("AWS_REGION", [])],
)
def test_the_region_comes_from_r_or_either_variable(
    scripts: Scripts, table: Table, proxy: Proxy, variable: str, flags: list[str]
) -> None:
    """The documented example exports AWS_REGION and gives the importer no -r."""
    command = (*NOWHERE[:5], f"{variable}=us-east-1", *NOWHERE[5:], "-t", table.name, *flags)
    fields = ("-d", "-", "-s", "|", "-n", ",")
    ended = scripts.run(*command, *fields, stdin=lines(table.name, [1]), env=through(proxy.url))
    assert ended.returncode == 0, ended.stderr
    assert "/us-east-1/dynamodb/" in proxy.requests[0].headers["Authorization"]


@pytest.mark.parametrize("region", ["no such region", "us_east_1"])
def test_a_region_that_cannot_be_is_named(import_file: Importer, table: Table, region: str) -> None:
    assert region in refused(import_file, table.name, "-r", region)


def test_an_endpoint_that_cannot_be_reached_is_named(import_file: Importer, table: Table) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    line = refused(import_file, table.name, env=through(url))
    assert url in line
    assert "check the network" in line


@pytest.mark.parametrize("operation", ["DescribeTable", "BatchGetItem", "TransactWriteItems"])
def test_denied_access_is_named(
    import_file: Importer, table: Table, proxy: Proxy, operation: str
) -> None:
    proxy.behaviour = on(
        operation,
        failing("AccessDeniedException", message=f"User is not authorized: dynamodb:{operation}"),
    )
    line = refused(import_file, table.name, env=through(proxy.url))
    assert line == (
        f"table {table.name}: {operation}: User is not authorized: dynamodb:{operation} "
        "— the credentials lack a permission"
    )
    assert table.items() == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UnrecognizedClientException", "does not accept the credentials"),
        ("ExpiredTokenException", "renew the credentials"),
        ("ValidationException", "(ValidationException)"),
    ],
)
def test_what_aws_says_is_passed_on(
    import_file: Importer, table: Table, proxy: Proxy, code: str, words: str
) -> None:
    proxy.behaviour = failing(code, message="what AWS says")
    line = refused(import_file, table.name, env=through(proxy.url))
    assert line.startswith(f"table {table.name}: DescribeTable: what AWS says")
    assert words in line


def test_a_table_name_that_aws_does_not_take_is_no_traceback(import_file: Importer) -> None:
    for name in ("a/b", "ab"):
        ended = import_file(name, lines(name, range(3)))
        assert (ended.returncode, ended.stdout) == (2, "")
        assert f"{name!r} cannot be the name of a DynamoDB table" in ended.stderr


def test_debug_shows_the_traceback_and_the_line(import_file: Importer) -> None:
    ended = import_file("Missing", lines("Missing", [1]), "--debug")
    assert ended.returncode == 3
    assert "Traceback" in ended.stderr
    assert said(ended)[-1] == f"table Missing does not exist in us-east-1: {CHECK_TABLE}"
