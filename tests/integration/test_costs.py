"""Counted figures that must not grow: requests, writes, log objects, lost claims.

They are counted between the worker and its servers, whatever the worker itself says. Times are not
tested; benchmarks/run.sh measures them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from statistics import median

import boto3
import pytest

from anamo.aws.table import WorkflowTable
from anamo.core.item import single_item
from anamo.core.pacing import PAGE
from anamo.importer.importer import Importer
from anamo.importer.threads import THREADS
from benchmarks.claiming import Crowd, crowd, crowd_client
from tests.support.fleet import Fleet
from tests.support.proxy import Proxy
from tests.support.table import Table

DESCRIBED, LAST, NOTHING_LEFT, LOOK = 1, 1, 6, 1
"""Requests of a worker whatever it does: the table is described; its last item asked for; twice it
looks for todo items, from a random place and from the beginning, and for ended leases; in the end
it looks at a page of the table itself.
"""


def log_objects(store: Proxy) -> int:
    return sum(request.is_upload for request in store.requests)


def test_a_single_item_costs_a_claim_a_finish_a_log_object_and_its_share_of_a_page(
    fleet: Fleet, database: Proxy, store: Proxy
) -> None:
    items = 60
    fleet.add([f"true {number}" for number in range(items)])
    ended = fleet.start("-v").wait()
    assert ended.returncode == 0
    asked = database.operations
    assert asked["UpdateItem"] == 2 * items
    pages = -(-items // PAGE)
    # A page that begins near the end is short, and another is read from the beginning
    assert asked["Query"] <= LAST + 2 * pages + NOTHING_LEFT
    assert asked.total() == asked["UpdateItem"] + asked["Query"] + DESCRIBED + LOOK
    assert asked["Scan"] == LOOK
    assert log_objects(store) == items
    counted = asked.total() / items
    said = re.search(
        r"for each item: ([0-9.]+) requests to DynamoDB, ([0-9.]+) write and ([0-9.]+) read units, "
        r"([0-9.]+) log objects",
        ended.stderr,
    )
    assert said
    assert float(said[1]) == pytest.approx(counted, abs=0.01)
    # Of an item under 1 KB: tests/integration/test_units.py has the details
    assert (float(said[2]), float(said[4])) == (14.0, 1.0)


@pytest.mark.parametrize("task", ["true", "sleep 0.1; true"])
def test_short_nested_tasks_share_their_writes(
    fleet: Fleet, database: Proxy, store: Proxy, task: str
) -> None:
    fleet.add([f"bash -c '{task}'|" + ",".join(map(str, range(50)))], "-n", ",")
    assert fleet.start("-n", "2").wait().returncode == 0
    writes = database.operations["UpdateItem"]
    assert writes < 15
    # Each write of results has its log object, and the claim has none
    assert log_objects(store) == writes - 1


def claims(dynamodb: str, table: Table, workers: int, most: int, seed: int = 1) -> Crowd:
    return crowd(crowd_client(dynamodb, workers), table.name, workers, most, seed)


def fill(table: Table, items: int) -> None:
    found = WorkflowTable(table.client, table.name)
    Importer(found).run([single_item(f"Task-{number}", "true") for number in range(items)])


def test_new_items_are_imported_by_one_request_a_hundred(
    table: Table, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    proxy = make_proxy(dynamodb)
    items = [single_item(f"Task-{number}", "true") for number in range(2_000)]
    through = WorkflowTable(boto3.client("dynamodb", endpoint_url=proxy.url), table.name)
    assert Importer(through).run(items).new == 2_000
    # Whether they are there is asked for the first ones alone, by each thread
    assert proxy.operations["BatchGetItem"] <= THREADS
    assert proxy.operations["TransactWriteItems"] == 20
    assert Importer(through).run(items).existing == {"todo": 2_000}
    assert proxy.operations["TransactWriteItems"] == 20


def test_sixteen_workers_lose_few_claims_to_each_other(dynamodb: str, table: Table) -> None:
    fill(table, 1_000)
    done = claims(dynamodb, table, workers=16, most=1_000)
    assert done.claimed == 1_000
    assert done.conflict_share < 0.1


@pytest.mark.parametrize("workers", [1, 16])
def test_looking_for_work_does_not_cost_more_in_a_larger_table(
    dynamodb: str, make_table: Callable[[], Table], workers: int
) -> None:
    reads = {}
    for items in (1_000, 4_000):
        table = make_table()
        fill(table, items)
        runs = [claims(dynamodb, table, workers, 160, seed) for seed in range(3)]
        reads[items] = median(run.reads_per_claim for run in runs)
    assert reads[4_000] == pytest.approx(reads[1_000], rel=0.2)


@pytest.mark.parametrize("workers", [50, pytest.param(200, marks=pytest.mark.long)])
def test_very_many_workers_get_through_and_none_starves(
    dynamodb: str, table: Table, workers: int
) -> None:
    items = 10 * workers
    fill(table, items)
    done = claims(dynamodb, table, workers, items)
    claimed = [item for each in done.claims for item in each]
    assert len(set(claimed)) == len(claimed) == items
    fewest, middle, most = done.shares()
    assert fewest >= 1
    assert most <= 5 * middle
    # A fifth on an idle machine; on a busy one threads sleep longer on the pages they have read
    assert done.conflict_share < 0.4
