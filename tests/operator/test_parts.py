"""Parts of the operator's commands that need no AWS."""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anamo.aws.log_store import CHUNK, Inflate
from anamo.aws.pages import Part
from anamo.aws.table import WorkflowTable
from anamo.core import transitions
from anamo.core.codec import above
from anamo.core.errors import AccessDenied, UsageError
from anamo.core.item import NULL, Item, NestedTask, State
from anamo.core.record import Record
from anamo.core.text import format_duration, format_rate, natural_sort_key, percent
from anamo.operator.counts import TableCounts
from anamo.operator.hints import Hints
from anamo.operator.html import report_file
from anamo.operator.log_filter import Tail, filter_log, sections
from anamo.operator.selection import check_names
from anamo.operator.steps import Samples, matching, parse_conditions
from anamo.operator.summary import bar_lengths
from anamo.operator.table_scan import RANGES, _split
from anamo.operator.target import Target

LINES = st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=30)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[k : k + size] for k in range(0, len(data), size)]


@given(stdout=st.binary(max_size=200), stderr=st.binary(max_size=200), size=st.integers(1, 300))
def test_a_log_is_taken_apart_wherever_its_pieces_end(
    stdout: bytes, stderr: bytes, size: int
) -> None:
    log = b"command: x\n"
    for name, stream in ((b"stdout", stdout), (b"stderr", stderr)):
        log += b"\n== %s, %d bytes ==\n" % (name, len(stream)) + stream
    log += b"\n"
    found: dict[str, bytes] = {"header": b"", "stdout": b"", "stderr": b""}
    for section, piece in sections(cut(log, size)):
        found[section] += piece
    assert (found["stdout"], found["stderr"]) == (stdout, stderr)
    assert b"".join(filter_log(cut(log, size), stderr=False, tail=None)) == log
    assert b"".join(filter_log(cut(log, size), stderr=True, tail=None)) == stderr


@given(lines=LINES, size=st.integers(1, 50), number=st.integers(0, 12), ended=st.booleans())
def test_a_tail_is_the_last_lines(lines: list[bytes], size: int, number: int, ended: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    tail = Tail(number)
    for piece in cut(data, size):
        tail.add(piece)
    expected = [line for line in re.split(b"(?<=\n)", data) if line]
    assert tail.lines() == b"".join(expected[-number:] if number else [])


def test_a_gigabyte_of_blanks_comes_in_small_pieces() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    packed = b"".join(deflate.compress(bytes(CHUNK)) for _ in range(64)) + deflate.flush()
    sizes = [len(piece) for piece in Inflate("x")(packed)]
    assert sum(sizes) == 64 * CHUNK
    assert max(sizes) <= CHUNK


@given(first=st.integers(-(2**53), 2**53), width=st.integers(-5, 2**60))
def test_ranges_leave_no_gap(first: int, width: int) -> None:
    parts = _split(Part("todo", first), first + width)
    assert len(parts) == RANGES
    assert parts[0].first == first
    assert parts[-1].last is None
    for one, other in pairwise(parts):
        assert one.last is not None
        assert other.first == above(one.last)


@pytest.mark.parametrize("first", ["1E+125", "-1E+40", "9007199254740993"])
def test_ids_that_are_larger_than_ours_are_read_in_turn(first: str) -> None:
    part = Part("todo", Decimal(first))
    assert _split(part, Decimal("1E+125")) == [part]


def test_numbers_in_names_count() -> None:
    names = ["Sample10", "Sample9", "9", "a", "10x", "Sample9b2", ""]
    ordered = ["", "9", "10x", "Sample9", "Sample9b2", "Sample10", "a"]
    assert sorted(names, key=natural_sort_key) == ordered


@given(
    st.dictionaries(
        st.sampled_from(["todo", "locked", "done", "failed", "odd"]), st.integers(0, 10**6)
    )
)
def test_a_bar_has_all_its_cells(counts: dict[str, int]) -> None:
    found = bar_lengths(TableCounts("T", Counter(counts)), 20)
    assert sum(found.values()) == 20
    assert all(found[state] for state in ("failed", "locked") if counts.get(state))
    assert min(found.values()) >= 0


def test_only_all_is_100_percent() -> None:
    assert [percent(*each) for each in ((0, 0), (0, 9), (1, 999), (999, 1000), (9, 9))] == [
        "-", "0%", "1%", "99%", "100%",
    ]  # fmt: skip


def test_what_is_pasted_into_a_shell_stays_one_word() -> None:
    assert Hints("python pyanamo.py", None).command("logs", ["T"], "a; rm -rf $HOME") == (
        "python pyanamo.py logs -t T 'a; rm -rf $HOME'"
    )


def test_hints_begin_with_the_program_as_it_was_started() -> None:
    counts = TableCounts("Align", Counter(todo=1, locked=1), expired=1)
    hints = Hints("pyanamo", "us-east-1")
    [(_, requeue)] = hints.after_counting(counts)
    assert requeue == "pyanamo requeue -t Align -r us-east-1 --state locked"
    [(_, start)] = hints.start_workers([counts])
    assert start == "pyanamo -t Align -r us-east-1 -b BUCKET"
    [(_, known)] = Hints("pyanamo", None, "logs").start_workers([counts])
    assert known == "pyanamo -t Align -b logs"


def test_held_items_are_resumed_after_the_step_before() -> None:
    """Resuming all would start those that have failed there, too."""
    counts = TableCounts("Call", Counter(held=3))
    hints = Hints("pyanamo", None)
    assert hints.after_counting(counts) == [
        ("3 held items of Call, which no worker claims; resume all", "pyanamo resume -t Call")
    ]
    [(reason, resume)] = hints.after_counting(counts, "Align")
    assert reason.endswith("; resume those that are done in Align")
    assert resume == "pyanamo resume -t Call --after Align"


def test_one_hint_starts_a_worker_on_all_tables_that_lack_one() -> None:
    steps = [
        TableCounts("Align", Counter(todo=1)),
        TableCounts("Sort", Counter(locked=1), instances={"i-1"}),
        TableCounts("Call", Counter(todo=1)),
        TableCounts("Filter", Counter(done=1)),
    ]
    assert Hints("pyanamo", None, "logs").start_workers(steps) == [
        ("no worker is running on Align, Call now; start one", "pyanamo -t Align Call -b logs")
    ]
    assert Hints("pyanamo", None, "logs").start_workers(steps[1:2]) == []


def test_a_report_is_nobody_elses_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(descriptor: int, mode: int) -> None:
        before = os.fstat(descriptor)
        seen.append((oct(stat.S_IMODE(before.st_mode)), before.st_size))
        os.chmod(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", look)
    report_file._replace(tmp_path / "report.html", b"whole")
    assert seen == [("0o600", 5)]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "5 s"), (300, "5 min"), (9000, "2 h 30 min"), (400_000, "4 d 15 h")],
)
def test_durations_are_for_people(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said


def test_rates_are_for_people() -> None:
    assert [format_rate(rate) for rate in (3, 0.1, 0.001)] == [
        "3.0 tasks/s", "6.0 tasks/min", "3.6 tasks/h",
    ]  # fmt: skip


def test_every_operators_change_is_conditional_on_what_was_seen() -> None:
    for change in (transitions.REQUEUE, transitions.REMOVE):
        assert transitions.AS_SEEN in change.condition
        assert transitions.NO_LIVE_LEASE in change.condition
        assert State.LOCKED in change.sources
    for forced in (transitions.REQUEUE_LOCKED, transitions.REMOVE_LOCKED):
        assert forced.condition == transitions.AS_SEEN
        assert forced.sources == (State.LOCKED,)


def test_conditions_are_of_steps_and_states() -> None:
    tables = ["Align", "Call"]
    assert parse_conditions(["Align=done, Call=todo", "Call=none"], tables) == [
        ("Align", "done"), ("Call", "todo"), ("Call", "none"),
    ]  # fmt: skip
    for text, said in (
        ("Align", "is not like"),
        ("=done", "is not like"),
        ("X=done", "no table X among those of -t: Align, Call"),
    ):
        with pytest.raises(UsageError, match=said):
            parse_conditions([text], tables)


def test_done_means_all_items_of_a_sample_and_another_state_one_of_them() -> None:
    matrix = {
        "S1": {"Align": Counter(done=2)},
        "S2": {"Align": Counter(done=1, failed=1), "Call": Counter(todo=1)},
    }
    found = {state: [*matching(matrix, [("Align", state)])] for state in ("done", "failed", "none")}
    assert found == {"done": ["S1"], "failed": ["S2"], "none": []}
    assert [*matching(matrix, [("Call", "none"), ("Align", "done")])] == ["S1"]
    with pytest.raises(UsageError, match="no item is in state dnoe; states: todo, locked"):
        matching(matrix, [("Call", "dnoe")])


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], ""),
        (["AB:done"] * 3, "3 of 3 samples are done in every step"),
        (
            ["AB:done", "A:done", "A:held"],
            "1 of 3 samples is done in every step; 1 unfinished; 1 done (imported steps only)",
        ),
        (
            ["A:done B:failed", "A:todo"],
            "0 of 2 samples are done in every step; 1 failed; 1 unfinished",
        ),
        (
            ["A:done", "B:done", "B:todo"],
            "2 of 3 samples are done, each in its one table; 1 unfinished",
        ),
        (
            ["A:done", "A:done"],
            "0 of 2 samples are done in every step; 2 done (imported steps only)",
        ),
    ],
)
def test_samples_are_counted_by_what_has_become_of_them(items: list[str], said: str) -> None:
    samples = Samples(2)
    for number, item in enumerate(items):
        for part in item.split():
            tables, state = part.split(":")
            for table in tables:
                samples.note("AB".index(table), f"S{number}", state)
    assert samples.sentence() == said


def test_a_nested_task_is_found_by_its_name_its_argument_or_both() -> None:
    tasks = tuple(NestedTask(f"Task_{k}", f"call S1 chr{k + 1}") for k in range(3))
    record = Record(Item(1, "S1", None, tasks), 3, NULL, NULL, {})
    assert record.task_title("Task_1") == "Task_1 chr2"
    for name in ("Task_1", "chr2", "Task_1 chr2"):
        assert record.tasks_named(name) == ["Task_1"]
    assert record.tasks_named("chr") == record.tasks_named("S1") == []


def test_a_table_that_may_not_be_read_is_not_said_to_be_missing() -> None:
    denied = AccessDenied("table Call: access denied (dynamodb:Query)")
    client: Any = Mock()
    target = Target([WorkflowTable(client, "Align")], ["Call"], {"Call": denied}, {})
    with pytest.raises(UsageError, match=r"itemID Call, and table Call: access denied"):
        check_names(target, {"Align": {"Call": []}})
