"""Metrics: what is counted, and the forms of CloudWatch and Prometheus."""

from __future__ import annotations

import argparse
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from anamo.aws.consumed_capacity import CapacityMeter
from anamo.cli.arguments import metrics_target
from anamo.cli.worker_command import begun_metrics
from anamo.core.errors import UsageError
from anamo.worker import metrics
from anamo.worker.messages import Finished, ItemEnded
from anamo.worker.metrics import EmbeddedMetrics, Measured, Metrics, PrometheusFile

FAILURES = (("Task_0", "Execution Failed: exit 3"), ("Task_1", "Execution Failed: exit 4"))
NOW = 1_764_000_000.25


def ended(state: str, table: str = "Align", **more: Any) -> ItemEnded:
    values: dict[str, Any] = {"done": 0, "failures": (), "seconds": 1.5, "throttles": 0, **more}
    return ItemEnded(
        table=table,
        item_id=7,
        task_id="S7",
        lock_id="L7",
        state=state,
        all_done=0,
        tasks=3,
        **values,
    )


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def emf(lines: list[str]) -> Metrics:
    return Metrics(["Align"], [EmbeddedMetrics(lines.append, lambda: NOW)])


def values(line: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(line).items() if name != "_aws"}


def test_claims_are_counted_by_the_state_of_their_items_and_retried_tasks_not_at_all(
    emf: Metrics, lines: list[str]
) -> None:
    emf.note(ended("done", done=3))
    emf.note(ended("failed", done=1, failures=FAILURES, throttles=2))
    emf.note(ended("todo", done=1, failures=FAILURES, retried=True))
    emf.note(ended("lost", done=1))
    emf.note(Finished(throttles={"Align": 3}))
    emf.write()
    assert [values(line) for line in lines] == [
        {
            "Table": "Align",
            "ItemsDone": 1,
            "ItemsFailed": 1,
            "TasksDone": 6,
            "TasksFailed": 2,
            "Throttles": 5,
            "ItemSeconds": 6.0,
        }
    ]


def test_a_line_of_cloudwatch_says_what_is_new_and_nothing_where_nothing_is(
    emf: Metrics, lines: list[str]
) -> None:
    emf.begin()
    emf.write()
    assert lines == []
    emf.note(ended("done", done=1))
    emf.write()
    emf.write()
    emf.note(ended("done", done=2))
    emf.note(ended("failed", "Call", failures=FAILURES))
    emf.write()
    assert [
        (each["Table"], each["ItemsDone"], each["TasksDone"]) for each in map(values, lines)
    ] == [
        ("Align", 1, 1),
        ("Align", 1, 2),
        ("Call", 0, 0),
    ]


def test_a_line_is_of_the_embedded_metric_format(emf: Metrics, lines: list[str]) -> None:
    emf.note(ended("done", done=1))
    emf.write()
    (line,) = lines
    event = json.loads(line)
    # The root is one object in one line, with nothing around it
    assert line[0] + line[-1] == "{}"
    assert "\n" not in line
    assert event["_aws"]["Timestamp"] == int(NOW * 1000)
    (directive,) = event["_aws"]["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert directive["Namespace"] == "PyAnamo"
    (dimensions,) = directive["Dimensions"]
    assert all(isinstance(event[name], str) for name in dimensions)
    assert {each["Unit"] for each in directive["Metrics"]} <= {"Count", "Seconds"}
    # Every target is there, a number; everything that is there is a target
    targets = [each["Name"] for each in directive["Metrics"]]
    assert all(isinstance(event[name], (int, float)) for name in targets)
    assert set(event) == {"_aws", *dimensions, *targets}


def test_metrics_are_written_every_minute_and_not_before(
    emf: Metrics, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    emf.note(ended("done"))
    emf.write_when_due()
    assert lines == []
    monkeypatch.setattr(metrics, "SECONDS", 0.0)
    emf.write()
    assert len(lines) == 1
    # The next one is due at once now
    emf.note(ended("done"))
    emf.write_when_due()
    assert len(lines) == 2


def test_a_closed_stderr_does_not_end_the_work(lines: list[str]) -> None:
    def broken(line: str) -> None:
        lines.append(line)
        raise BrokenPipeError

    measured = Metrics(["Align"], [EmbeddedMetrics(broken)])
    measured.note(ended("done"))
    measured.write()
    assert len(lines) == 1


def test_a_file_for_prometheus_has_counters_from_the_beginning_of_the_worker(
    tmp_path: Path,
) -> None:
    file = tmp_path / "worker-1.prom"
    measured = Metrics(["Align", 'odd"\\'], [PrometheusFile(file)])
    measured.begin()
    assert (
        'pyanamo_items_total{table="Align",worker="worker-1",state="done"} 0\n' in file.read_text()
    )
    for _ in range(2):
        measured.note(ended("done", done=3, throttles=1))
        measured.write()
    text = file.read_text()
    assert 'pyanamo_items_total{table="Align",worker="worker-1",state="done"} 2\n' in text
    assert 'pyanamo_tasks_total{table="Align",worker="worker-1",state="done"} 6\n' in text
    assert 'pyanamo_throttled_requests_total{table="Align",worker="worker-1"} 2\n' in text
    assert 'pyanamo_item_seconds_total{table="Align",worker="worker-1"} 3.0\n' in text
    assert r'{table="odd\"\\",' in text
    # Help and type stand once, before the samples of their metric
    assert len(re.findall("^# TYPE pyanamo_items_total counter$", text, re.MULTILINE)) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["worker-1.prom"]


def test_whoever_reads_the_file_finds_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "worker.prom"
    report = PrometheusFile(file)
    report.write({"Align": Measured(items_done=1)})
    before = file.read_text()
    seen = []
    replace = Path.replace

    def watch(draft: Path, target: Path) -> Path:
        # All is written by now, and the collector reads no file of that name
        seen.append((draft.suffix, draft.read_text() != before, file.read_text() == before))
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", watch)
    report.write({"Align": Measured(items_done=2)})
    ((suffix, whole, old_still_there),) = seen
    assert (suffix != ".prom", whole, old_still_there) == (True, True, True)
    assert file.read_text() != before


def test_a_file_that_cannot_be_written_is_refused_first_and_only_said_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    file = folder / "worker.prom"
    for above, why in ((folder, "No such file or directory"), (tmp_path / "f", "Not a directory")):
        (tmp_path / "f").touch()
        with pytest.raises(UsageError) as caught:
            begun_metrics(["Align"], [above / "worker.prom"])
        assert str(caught.value) == f"--metrics: {above / 'worker.prom'}: cannot be written: {why}"
    folder.mkdir()
    begun = begun_metrics(["Align"], [file])
    file.unlink()
    folder.rmdir()
    with caplog.at_level(logging.WARNING, "anamo"):
        begun.write()
        begun.write()
    assert caplog.text.count("metrics cannot be written") == 1
    assert repr(str(file)) in caplog.text


def test_where_metrics_go_is_checked() -> None:
    assert metrics_target("emf") == "emf"
    assert metrics_target("prom:/var/x:y.prom") == Path("/var/x:y.prom")
    for wrong, why in (("csv", "neither"), ("prom", "neither"), ("prom:x.txt", "end in .prom")):
        with pytest.raises(argparse.ArgumentTypeError, match=why):
            metrics_target(wrong)


def test_throttled_tries_are_counted_once() -> None:
    meter = CapacityMeter()
    meter.throttled()
    meter.throttled()
    assert (meter.take_throttles(), meter.take_throttles()) == (2, 0)
