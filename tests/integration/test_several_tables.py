"""One worker on several tables, through the real script."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_ending import attempt
from tests.support.both_kinds import both_kinds
from tests.support.fleet import Fleet, kill_machine
from tests.support.proxy import Proxy
from tests.support.scripts import Scripts
from tests.support.table import Table
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def second(scripts: Scripts, make_table: Callable[[], Table], bucket: str, tmp_path: Path) -> Fleet:
    """The importer of a second table."""
    return Fleet(scripts, make_table(), bucket, tmp_path)


@both_kinds
def test_a_worker_takes_from_the_first_table_and_names_each(
    fleet: Fleet, second: Fleet, s3_client: S3Client
) -> None:
    first, other = fleet.table, second.table
    # The same lines, so that both tables hold the same itemIDs
    fleet.add(["true", "echo a"])
    second.add(["true", "echo a", "false"])
    ended = fleet.start("-t", other.name, "-k", "Logs").wait()
    assert ended.returncode == 1, ended.stderr
    assert (first.states(), other.states()) == ({"done": 2}, {"done": 2, "failed": 1})
    lines = [line.partition(": ")[2].split() for line in ended.stderr.splitlines()]
    tables = [words[1] for words in lines if words[0] in ("done", "failed") and len(words) > 3]
    assert tables == [first.name] * 2 + [other.name] * 3
    assert f"table {first.name}: 2 done" in ended.stderr
    assert f"table {other.name}: 2 done, 1 failed" in ended.stderr
    for table in (first, other):
        assert f"/Logs/{table.name}/" in ended.stderr
        listed = s3_client.list_objects_v2(Bucket=fleet.bucket, Prefix=f"Logs/{table.name}/")
        body = s3_client.get_object(Bucket=fleet.bucket, Key=listed["Contents"][-1]["Key"])["Body"]
        assert f"table: {table.name}\n" in gzip.decompress(body.read()).decode()


def test_a_task_is_told_its_own_table(fleet: Fleet, second: Fleet) -> None:
    second.add(['bash -c "echo $PYANAMO_TABLE"'])
    # As a job of AWS Batch passes them on, in one word
    ended = fleet.start("-t", f"{fleet.table.name} {second.table.name}").wait()
    assert ended.returncode == 0, ended.stderr
    (item,) = second.table.items()
    assert item["Log"]["stdout"] == second.table.name + "\n"


def test_a_missing_table_is_named_before_anything_is_claimed(fleet: Fleet) -> None:
    fleet.add(["true"])
    ended = fleet.start("-t", "Absent").wait()
    assert ended.returncode == 3
    assert "table Absent does not exist" in ended.stderr
    assert fleet.table.states() == {"todo": 1}


def hanging(fleet: Fleet) -> str:
    """A Task Script that hangs the first time it is run in each table."""
    return f"bash -c 'mkdir {fleet.folder}/$PYANAMO_TABLE 2>/dev/null && sleep 600; true'"


def test_the_next_attempt_takes_over_in_all_tables_and_first(fleet: Fleet, second: Fleet) -> None:
    task = hanging(fleet)
    fleet.add([task])
    second.add([task])
    both = ("-t", second.table.name, "-i", "2")
    killed = attempt(fleet, 1, "job-7:3", *both)
    eventually((fleet.folder / second.table.name).exists, 60)
    eventually((fleet.folder / fleet.table.name).exists, 60)
    kill_machine(killed)
    limited = attempt(fleet, 2, "job-7:3", *both, "-w", "0").wait()
    assert limited.returncode == 75, limited.stderr
    ended = attempt(fleet, 3, "job-7:3", *both).wait()
    assert ended.returncode == 0, ended.stderr
    assert (fleet.table.states(), second.table.states()) == ({"done": 1}, {"done": 1})


@pytest.mark.parametrize("guard", [None, "tables_of_claims"])
def test_a_process_that_dies_leaves_its_claim_in_its_own_table(
    fleet: Fleet, second: Fleet, guard: str | None
) -> None:
    """The same item is done in the first table, and its worker process killed in the second."""
    made = f"mkdir {fleet.folder}/$PYANAMO_TABLE 2>/dev/null"
    task = f"bash -c '{made} && [ $KILLS ] && kill -9 $PPID; true'"
    fleet.environment["KILLS"] = ""
    fleet.add([task])
    assert fleet.start().wait().returncode == 0
    fleet.environment["KILLS"] = "yes"
    second.add([task])
    fleet.guard = guard
    ended = fleet.start("-t", second.table.name, "--lease", "3").wait(120)
    assert "starting another in its place" in ended.stderr
    if guard:
        assert second.table.states() == {"locked": 1}
    else:
        assert ended.returncode == 0, ended.stderr
        assert second.table.states() == {"done": 1}


def reads(fleet: Fleet, database: Proxy, *flags: str) -> Counter[str]:
    """The requests of a worker that finds nothing to do, by operation."""
    before = Counter(database.operations)
    assert fleet.start(*flags).wait().returncode == 0
    return Counter(database.operations) - before


@pytest.mark.parametrize("flags", [[], ["--idle-timeout", "4"]])
def test_of_eight_idle_processes_one_searches_for_all(
    fleet: Fleet, database: Proxy, flags: list[str]
) -> None:
    """The others send the three queries by which each finds that the index lists nothing."""
    one, eight = (reads(fleet, database, "-i", each, *flags) for each in ("1", "8"))
    assert (one["Scan"], eight["Scan"]) == (1, 1)
    # Waits are random, so one query of either kind more or less
    assert eight["Query"] <= one["Query"] + 7 * 3 + 2


def test_without_turns_each_process_searches(fleet: Fleet, database: Proxy) -> None:
    fleet.guard = "turns"
    assert reads(fleet, database, "-i", "8")["Scan"] == 8
