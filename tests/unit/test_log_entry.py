"""Log entries and the room they take."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from anamo.core.codec import encode
from anamo.core.item import TASK_ID_LIMIT, Item, nested_item, new_values, single_item
from anamo.core.item_size import (
    BUCKET_LIMIT,
    HOST_ERROR_LIMIT,
    ITEM_LIMIT,
    SMALLEST_TAIL,
    STREAM_TAIL,
    size_of,
    tail_limit,
    text_size,
)
from anamo.core.log_entry import (
    MOST_PREFIXES,
    NOTE_LIMIT,
    PREFIX_LIMIT,
    LogEntry,
    abandoned_entry,
    log_key,
    so_far_key,
    split_address,
    whole_address,
)
from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LOCK = "0123456789abcdef0123456789abcdef"
LONGEST_TABLE = "T" * 255
PREFIX = "p" * PREFIX_LIMIT


def entry(**changes: object) -> LogEntry:
    values: dict[str, object] = {
        "status": "Execution Successful",
        "stdout": "out",
        "stderr": "",
        "exit_code": 0,
        "seconds": 0.25,
        "max_rss_mb": 12.34,
        "s3": "s3://bucket/key",
        "s3_range": "0-99",
        **changes,
    }
    return LogEntry(**values)  # type: ignore[arg-type]


def largest_entry(item: Item, table: str, name: str | None) -> dict[str, Any]:
    """The largest entry a task can get, as the worker makes it."""
    limit = tail_limit(item, table)
    # The worker counts a tag as its bytes and one more
    tags = tuple("t" * size for size in [0] * (limit // 2) + [limit - limit // 2 - 1])
    return LogEntry(
        status="Execution Failed: killed by signal 64",
        stdout="o" * limit,
        stderr="e" * limit,
        exit_code=192,
        seconds=30 * 86400.123,
        max_rss_mb=2_000_000.5,
        s3=f"s3://{'b' * BUCKET_LIMIT}/{log_key(PREFIX, table, item, LOCK, name)}",
        s3_range="123456789012-123456789013",
        tags=tags,
        s3_note="n" * NOTE_LIMIT,
    ).to_values()


def ended_at_worst(item: Item, table: str) -> dict[str, Any]:
    """The item as it is in the table once every task has printed as much as it can."""
    values = new_values(item)
    if item.is_nested:
        names = [task.name for task in item.nested]
        log = {name: largest_entry(item, table, name) for name in names}
        # Claims before have left prefixes; these entries are those of claims that leave none
        values["S3_Prefixes"] = [split_address(log[names[0]]["S3"], LOCK)[0]] * MOST_PREFIXES
        values["Ended_Tasks"] = values["Failed_Tasks"] = len(names)
        for task in values["TaskScript"].values():
            task["Status"] = "failed"
    else:
        log = largest_entry(item, table, None)
    return values | {
        "Log": log,
        "Log_Length": 123456789012,
        "ItemState": "locked",
        "lockID": LOCK,
        "InstanceID": "i" * 1024,
        "Lock_Date": "2026-01-31T09:30:00Z",
        "Done_Date": "2026-01-31T09:30:00Z",
        "Lease_Expires": 1769851800,
        "Attempts": 1000000,
        "Failures": 1000000,
        "Host_Errors": 1000000,
        "Host_Error": "h" * HOST_ERROR_LIMIT,
        "Log_So_Far": f"s3://{'b' * BUCKET_LIMIT}/{so_far_key(PREFIX, table, item)}",
    }


def nested_of(task_id: str, tasks: int, length: int) -> Item:
    return nested_item(task_id, ["x" * length] * tasks)


def filled_up(item: Item, table: str) -> Item:
    """The item with its last script made so long that it just fits."""
    *others, last = [task.script for task in item.nested]

    def longer(by: int) -> Item:
        return nested_item(item.task_id, [*others, last + "x" * by])

    def too_long(by: int) -> bool:
        return tail_limit(longer(by), table) < SMALLEST_TAIL

    return longer(bisect_left(range(ITEM_LIMIT), True, key=too_long) - 1)


tables = st.sampled_from(["Tab", "Table.with_dots-1", LONGEST_TABLE])
task_ids = st.sampled_from(["Task-1", "t" * TASK_ID_LIMIT, "語/ä" * 100, "%" * 500])


@settings(max_examples=25, deadline=None)
@given(task_ids, tables, st.integers(1, 460), st.integers(0, 3000))
@example("Task-1", "Testing", 300, 9)
@example("Task-1", "Testing", 1, 390_000)
def test_an_item_that_is_let_in_fits_with_the_largest_entries(
    task_id: str, table: str, tasks: int, length: int
) -> None:
    item = nested_of(task_id, tasks, length)
    assume(tail_limit(item, table) >= SMALLEST_TAIL)
    assert size_of(ended_at_worst(item, table)) <= ITEM_LIMIT
    item = filled_up(item, table)
    assert size_of(ended_at_worst(item, table)) <= ITEM_LIMIT


@given(task_ids, tables, st.integers(1, 420_000))
def test_a_single_item_that_is_let_in_fits_too(task_id: str, table: str, length: int) -> None:
    item = single_item(task_id, "x" * length)
    assume(tail_limit(item, table) >= SMALLEST_TAIL)
    assert size_of(ended_at_worst(item, table)) <= ITEM_LIMIT


def test_that_would_fail_if_the_tails_had_more_room() -> None:
    item = filled_up(nested_of("Task-1", 400, 1), LONGEST_TABLE)
    values = ended_at_worst(item, LONGEST_TABLE)
    for found in values["Log"].values():
        found["stdout"] = "o" * 2 * SMALLEST_TAIL
    assert size_of(values) > ITEM_LIMIT


@pytest.mark.parametrize(
    "item",
    [
        filled_up(nested_of("Task-1", 300, 1), "Testing"),
        filled_up(nested_of("語" * 300, 40, 1), "Testing"),
        filled_up(nested_of("Task-1", 1, 1), "Testing"),
    ],
    ids=lambda item: f"{item.tasks} tasks",
)
def test_dynamodb_takes_the_largest_items(
    dynamodb_client: DynamoDBClient, table: Table, item: Item
) -> None:
    # With one byte more, the itemID, which is in each key, may have a digit more
    assert SMALLEST_TAIL <= tail_limit(item, "Testing") < SMALLEST_TAIL + 4
    values = ended_at_worst(item, "Testing")
    assert size_of(values) > ITEM_LIMIT - 6_000, "no test of the boundary"
    dynamodb_client.put_item(TableName=table.name, Item=encode(values))


def test_tails_shrink_with_the_number_of_tasks() -> None:
    limits = [tail_limit(nested_of("Task-1", tasks, 10), "Testing") for tasks in (1, 30, 100, 300)]
    assert limits[0] == STREAM_TAIL
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] >= SMALLEST_TAIL


def test_an_item_of_500_short_tasks_is_let_in() -> None:
    item = nested_item("Sample-500", [f"seq {k}" for k in range(500)])
    assert tail_limit(item, "Testing") >= SMALLEST_TAIL


def test_an_entry_is_a_map() -> None:
    values = entry(tags=("a", "b"), s3_note="kept at host:/tmp/x").to_values()
    assert encode({"Log": values})["Log"] == {
        "M": {
            "Status": {"S": "Execution Successful"},
            "stdout": {"S": "out"},
            "Exit_Code": {"N": "0"},
            "Seconds": {"N": "0.250"},
            "Max_RSS_MB": {"N": "12.3"},
            "S3": {"S": "s3://bucket/key"},
            "S3_Range": {"S": "0-99"},
            "Tags": {"L": [{"S": "a"}, {"S": "b"}]},
            "S3_Note": {"S": "kept at host:/tmp/x"},
        }
    }


def test_what_is_empty_is_not_in_an_entry() -> None:
    said = entry(stdout="").to_values()
    assert not {"stdout", "stderr", "Tags", "S3_Note"} & said.keys()
    assert LogEntry.from_values(said) == entry(stdout="", max_rss_mb=12.3)


def test_an_address_is_its_prefix_and_the_rest() -> None:
    item = nested_item("Task-1", ["seq 1", "seq 2"])
    address = f"s3://bucket/{log_key('PyAnamo', 'Table', item, LOCK, 'Task_1')}"
    prefix, rest = split_address(address, LOCK)
    assert (prefix + rest, rest) == (address, "Task_1.log.gz")
    assert whole_address(f"1:{rest}", ["s3://another/", prefix]) == address
    assert LogEntry.from_values({"S3": f"0:{rest}"}, [prefix]).s3 == address


@pytest.mark.parametrize("address", ["", "s3://bucket/key", "1:Task_1.log.gz", "somewhere:else"])
def test_an_address_that_was_written_whole_is_read_as_it_is(address: str) -> None:
    assert split_address(address, LOCK) == ("", "")
    assert whole_address(address, ["s3://bucket/prefix-"]) == address


def test_only_the_successful_status_is_success() -> None:
    assert entry().succeeded
    assert not entry(status="Execution Failed: exit 3").succeeded
    assert not abandoned_entry(11).succeeded
    assert "11 claims" in abandoned_entry(11).status


def test_an_abandoned_item_says_what_became_of_its_claims() -> None:
    both = abandoned_entry(5, 3, "the disk is full")
    assert both.stderr.splitlines() == [
        "3 of 5 claims ended in a host error: the disk is full",
        "2 workers died while holding it; does it use up the memory?",
    ]
    host = abandoned_entry(5, 5, "the disk is full")
    assert (host.status, host.exit_code) == ("Execution Failed: host errors in 5 claims", 1)
    assert "died" not in host.stderr


def key(task_id: str = "Task-1", prefix: str = "PyAnamo", first: str | None = None) -> str:
    item = single_item(task_id, "seq 1")
    return log_key(prefix, "Testing", item, "lock", first).replace(str(item.item_id), "ID")


def test_the_key_of_a_log_says_whose_it_is() -> None:
    assert key() == "PyAnamo/Testing/Task-1/ID-lock.log.gz"
    assert key(first="Task_3") == "PyAnamo/Testing/Task-1/ID-lock-Task_3.log.gz"


@pytest.mark.parametrize(
    ("task_id", "part"),
    [
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a..b", "a..b"),
        ("ä%", "%C3%A4%25"),
        ("\n\x07", "%0A%07"),
        ("x" * 300, "x" * 200),
        ("x" * 198 + " y", "x" * 198),
        ("x" * 199 + " y", "x" * 199),
        ("x" * 197 + " y", "x" * 197 + "%20"),
    ],
)
def test_unsafe_characters_of_a_task_id_are_encoded(task_id: str, part: str) -> None:
    assert key(task_id) == f"PyAnamo/Testing/{part}/ID-lock.log.gz"


@pytest.mark.parametrize(
    ("prefix", "folders"),
    [("", ""), ("a/b", "a/b/"), ("/a//b/", "a/b/"), ("a b", "a%20b/")],
)
def test_a_prefix_may_have_folders_or_be_empty(prefix: str, folders: str) -> None:
    assert key(prefix=prefix) == f"{folders}Testing/Task-1/ID-lock.log.gz"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), tables)
def test_every_key_is_one_that_s3_and_every_tool_takes(task_id: str, table: str) -> None:
    item = single_item(task_id, "seq 1")
    made = log_key(PREFIX, table, item, LOCK, "Task_499")
    assert text_size(made) <= 1024
    prefix, folder, task, name = made.split("/")
    assert (prefix, folder, name) == (PREFIX, table, f"{item.item_id}-{LOCK}-Task_499.log.gz")
    assert re.fullmatch(r"(%[0-9A-F]{2}|[\w.~-])+", task, re.ASCII)
    assert task not in {".", ".."}
    if len(task) < 195:
        assert unquote(task) == task_id
