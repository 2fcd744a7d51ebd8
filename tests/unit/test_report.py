"""What the report holds: its size, its lanes, its data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from anamo.aws.table_writes import Holder
from anamo.core.text import format_duration
from anamo.operator.html import item_row, report_data, report_file
from anamo.operator.html.item_row import ItemRow
from anamo.operator.html.timeline import timeline
from tests.support import workflow
from tests.support.cohort import Cohort
from tests.support.report import report_of, step_of

NOW = 1_800_000_000.0


def data_of(html: str) -> Any:
    """What the report's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def ended(name: str, lock_id: str, begin: float, end: float, **more: Any) -> dict[str, Any]:
    """Return an item that ended."""
    more |= {"Lock_Date": workflow.stamp(NOW + begin), "Done_Date": workflow.stamp(NOW + end)}
    return workflow.item(name, "done", lockID=lock_id, **more)


def lanes_of(items: Iterable[dict[str, Any]]) -> list[list[int]]:
    """Where the items of each lane of the only host begin."""
    drawn = timeline([step_of("T", items, NOW).rows])
    [host] = drawn["hosts"]
    return [[bar[0] for bar in lane] for lane in host[2]]


def test_two_workers_on_a_host_are_two_lanes_however_short_their_items_are() -> None:
    one, other = Holder("i-1", 60).as_process(), Holder("i-1", 60).as_process()
    items = [
        ended(f"S{k}-{holder.worker}", holder.new_lock_id(), k - 100, k - 100)
        for k in range(0, 40, 10)
        for holder in (one, other)
    ]
    assert lanes_of(items) == [[0, 10, 20, 30], [0, 10, 20, 30]]
    # Control: tokens that do not tell who made them
    for item in items:
        item["lockID"] = Holder("i-1", 60).new_lock_id()
    assert len(lanes_of(items)) == 1


def test_a_worker_is_one_lane_whose_items_seem_to_overlap() -> None:
    holder = Holder("i-1", 60).as_process()
    items = [ended(f"S{k}", holder.new_lock_id(), 10 * k, 10 * k + 12) for k in range(-9, -2)]
    # Each is a bar of its own, by however much they overlap
    assert lanes_of(items) == [[0, 10, 20, 30, 40, 50, 60]]


def test_workers_one_after_another_share_a_lane_and_items_of_earlier_versions_overlap() -> None:
    first, second = Holder("i-1", 60).as_process(), Holder("i-1", 60).as_process()
    items = [
        ended(f"S{k}-{n}", holder.new_lock_id(), start + 10 * k, start + 10 * k + 10)
        for n, (holder, start) in enumerate([(first, -100), (second, -50)])
        for k in range(3)
    ]
    assert len(lanes_of(items)) == 1
    old = [ended(f"S{k}", f"{k:032x}"[::-1], 10 * k, 10 * k + 15) for k in range(-9, -3)]
    assert len(lanes_of(old)) == 2


def test_the_claims_of_a_process_begin_alike_and_each_is_another() -> None:
    holder = Holder("i-1", 60, attempt=2).as_process()
    tokens = {holder.new_lock_id() for _ in range(50)}
    assert len(tokens) == 50
    assert {(token[:8], len(token), token[32:]) for token in tokens} == {(holder.worker, 34, ".2")}
    assert holder.as_process().worker != holder.worker


def test_a_timeline_of_very_many_items_stays_small() -> None:
    rows = [
        ItemRow(f"S{k}", item_row.DONE, "i-1", "a", (k, k + 0.9), 1, (1, 1, 0), -1, 2)
        for k in range(20_000)
    ]
    drawn = timeline([rows])
    assert sum(len(lane) for host in drawn["hosts"] for lane in host[2]) < 2000


def test_5000_samples_in_three_steps_stay_under_2_mb() -> None:
    cohort = Cohort(5000, nested=3)
    steps = cohort.steps()
    html = report_of(steps, cohort.now)
    assert len(html.encode()) < 2_000_000
    data = data_of(html)
    assert [len(rows) for rows in data["items"]] == [len(items) for items in steps.values()]
    assert sum(map(has_details, data["items"][0])) > 2000


def has_details(row: list[Any]) -> bool:
    """Whether a row of the report has details."""
    return len(row) > 10


def test_where_room_lacks_the_details_of_what_failed_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cohort = Cohort()
    steps = cohort.steps()
    whole = report_of(steps, cohort.now)
    assert all(has_details(row) for rows in data_of(whole)["items"] for row in rows)
    for module in (report_data, item_row):
        monkeypatch.setattr(module, "DETAIL_SIZE", 12_000)
    short = report_of(steps, cohort.now)
    rows = [row for rows in data_of(short)["items"] for row in rows]
    failed = [row for row in rows if len(row) > 1 and row[1] == item_row.BROKEN]
    assert len(failed) == 6
    assert all(map(has_details, failed))
    assert sum(map(has_details, rows)) < 100
    assert len(whole) - len(short) > len(whole) / 3


def test_an_item_says_what_a_cell_needs() -> None:
    cohort = Cohort()
    data = data_of(report_of(cohort.steps(), cohort.now))
    assert (data["samples"][20], data["steps"][1]["name"]) == ("Sample21", "Call")
    [row] = [row for row in data["items"][1] if row[0] == 20]
    item_id, script, _, objects, tasks = row[10]
    assert row[5:9] == [row[5], 24, 22, 2]
    assert data["scripts"][1][script] == "bash call.sh \ue000 \ue001"
    task = tasks[3]
    assert (task[:4], task[7]) == ([3, "chr4", 1, 137], "killed by signal 9")
    assert task[8].startswith("2[M::main] Call of Sample21")
    assert objects[task[6]].startswith("~")
    assert isinstance(item_id, int)
    assert data["steps"][1]["folder"] == "s3://cohort-logs/PyAnamo/Call"


def test_a_sample_is_done_only_where_every_step_has_it() -> None:
    steps = {
        "A": [
            workflow.item("S1", "done"),
            workflow.item("S2", "done"),
            workflow.item("S3", "done"),
        ],
        "B": [workflow.item("S1", "done"), workflow.item("S3", "held")],
    }
    data = data_of(report_of(steps, NOW))
    states = [data["states"][int(state)] for state in data["stateOf"]]
    assert states == ["done", "waiting", "held"]


def test_no_text_of_an_item_leaves_its_place_in_the_report() -> None:
    nasty = "</script><script>alert(1)</script><!--\u202e\ud800"
    entry = workflow.entry("S1", 1, f"Execution Failed: {nasty}", nasty, Tags=[nasty], S3=nasty)
    item = workflow.item("S1", "failed", Log=entry, TaskScript=nasty, Host_Error=nasty)
    item["taskID"] = nasty
    html = report_of({"T": [item, workflow.item("S2", nasty)]}, NOW)
    html.encode()
    assert "\u202e" not in html
    assert html.count("<script") == 2
    assert "alert(1)" in data_of(html)["samples"][0]


@pytest.mark.parametrize("value", [1e-9, 0.0004, 1e12])
def test_values_beyond_all_marks_of_an_axis_are_drawn(value: float) -> None:
    measured = workflow.entry("S1", Seconds=value, Max_RSS_MB=value)
    html = report_of({"T": [workflow.item("S1", "done", Log=measured)]}, NOW)
    assert "Run time of a task" in html


def facts_of(items: list[dict[str, Any]]) -> dict[str, str]:
    """The facts of a report about one step, without its markup."""
    html = report_of({"T": items}, NOW)
    return dict(re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", html, re.DOTALL))


def running() -> dict[str, Any]:
    """An item whose worker is active."""
    lease = {"Lease_Expires": int(NOW) + 60}
    return workflow.item("S2", "locked", Lock_Date=workflow.stamp(NOW - 30), **lease)


def test_a_report_says_why_there_is_no_rate() -> None:
    rate, waits = "rate at this time", workflow.item("S3")
    assert facts_of([running(), waits])[rate] == "none yet: nothing has finished"
    assert facts_of([waits])[rate] == "no worker is active"
    assert facts_of([ended("S1", "L1", -60, -10), running()])[rate].endswith("tasks/min")


def test_a_step_is_running_only_while_a_worker_is_active() -> None:
    before, waits = ended("S1", "L1", -7200, -3600), workflow.item("S3")
    assert facts_of([before, waits])["end"] == "not yet"
    assert facts_of([before, waits, running()])["end"] == "running"
    assert facts_of([before])["end"] == "15 Jan 07:00:00"


def test_a_report_says_once_how_to_start_a_worker() -> None:
    html = report_of({"Align": [workflow.item("S1")], "Call": [workflow.item("S1")]}, NOW)
    assert html.count("now; start one") == 1
    assert "python pyanamo.py -t Align Call -r us-east-1 -b BUCKET" in html


def watched(lefts: list[int], seconds: float) -> tuple[list[float], list[float], list[str]]:
    """The intervals that reports were written with, the pauses between them, and what was said."""
    intervals: list[float] = []
    pauses: list[float] = []
    said: list[str] = []

    def write(interval: float) -> report_file.Written:
        intervals.append(interval)
        return report_file.Written("x.html", 1000, lefts.pop(0))

    say: Callable[[str], object] = said.append
    report_file.watch_report(write, seconds, say, pauses.append)
    return intervals, pauses, said


def test_a_report_is_rewritten_until_nothing_is_left() -> None:
    intervals, pauses, said = watched([2, 1, 0], 30)
    assert len(intervals) == 3
    assert all(29 < pause <= 30 for pause in pauses)
    assert len(pauses) == 2
    assert [line.partition("; ")[2] for line in said] == [
        f"rewritten every {format_duration(30)}", "nothing is left to do",
    ]  # fmt: skip


def test_a_report_never_reloads_without_a_pause() -> None:
    assert min(watched([1, 1, 0], 0)[0]) >= 1
