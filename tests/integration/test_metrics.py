"""Metrics of real workers say what the table says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.fleet import Fleet
from tests.support.proxy import Proxy, failing, on

LINES = ["true|1,2,3"] * 4 + ["bash -c 'exit $1' _|0,3,0"] * 3 + ["false|1"]

THROTTLES = 5


def in_the_table(fleet: Fleet) -> dict[str, int]:
    """What the metrics should say."""
    items = fleet.table.items()
    tasks = Counter(task["Status"] for item in items for task in item["TaskScript"].values())
    states = Counter(item["ItemState"] for item in items)
    return {
        "ItemsDone": states["done"],
        "ItemsFailed": states["failed"],
        "TasksDone": tasks["done"],
        "TasksFailed": tasks["failed"],
    }


def test_the_metrics_of_a_worker_equal_what_the_table_says(
    fleet: Fleet, database: Proxy, tmp_path: Path
) -> None:
    fleet.add(LINES, "-n", ",")
    file = tmp_path / "worker.prom"
    database.behaviour = on(
        "UpdateItem", failing("ProvisionedThroughputExceededException"), THROTTLES
    )
    flags = ("-i", "2", "-n", "2", "--metrics", "emf", "--metrics", f"prom:{file}")
    ended = fleet.start(*flags).wait(120)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    table = in_the_table(fleet)
    assert table == {"ItemsDone": 4, "ItemsFailed": 4, "TasksDone": 18, "TasksFailed": 4}
    events = [json.loads(line) for line in ended.stderr.splitlines() if line[:1] == "{"]
    assert events
    assert {each["Table"] for each in events} == {fleet.table.name}
    names = [*table, "Throttles"]
    sums = {name: sum(event[name] for event in events) for name in names}
    assert sums == {**table, "Throttles": THROTTLES}
    assert sum(event["ItemSeconds"] for event in events) > 0
    assert prometheus(file, fleet.table.name) == {
        ("pyanamo_items_total", "done"): table["ItemsDone"],
        ("pyanamo_items_total", "failed"): table["ItemsFailed"],
        ("pyanamo_tasks_total", "done"): table["TasksDone"],
        ("pyanamo_tasks_total", "failed"): table["TasksFailed"],
        ("pyanamo_throttled_requests_total", ""): THROTTLES,
    }


def prometheus(file: Path, table: str) -> dict[tuple[str, str], Any]:
    """The counters, by name and state, as Prometheus's own parser reads them."""
    found = {}
    for family in text_string_to_metric_families(file.read_text()):
        assert (family.type, bool(family.documentation)) == ("counter", True)
        for sample in family.samples:
            assert (sample.labels["table"], sample.labels["worker"]) == (table, "worker")
            if sample.name != "pyanamo_item_seconds_total":
                found[sample.name, sample.labels.get("state", "")] = sample.value
    return found


def test_without_the_flag_a_worker_writes_no_metrics(fleet: Fleet) -> None:
    fleet.add(["true|1"], "-n", ",")
    ended = fleet.start().wait()
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "{" not in ended.stderr
