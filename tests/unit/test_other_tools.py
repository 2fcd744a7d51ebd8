"""Whatever attributes an item has, it can be read, shown and ordered."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from anamo.core.codec import decode
from anamo.core.item import Item, task_order
from anamo.core.item_size import tail_limit
from anamo.core.log_entry import LogEntry, log_key
from anamo.core.record import Record
from anamo.operator import listing
from anamo.operator.failures import Failures
from anamo.operator.hints import Hints
from anamo.operator.html import item_row, render
from anamo.operator.html.report_data import ReportData
from anamo.operator.html.step_data import StepData
from anamo.worker.claim import Claim

NO_TABLE: Any = None

NAMES = [
    *("itemID", "taskID", "TaskScript", "ItemState", "Nested_Tasks", "Log", "Log_Length"),
    *("lockID", "InstanceID", "Lock_Date", "Done_Date", "Lease_Expires", "Attempts", "Failures"),
    *("Host_Error", "Host_Errors"),
]
ENTRY_NAMES = ["Status", "stdout", "stderr", "Exit_Code", "Seconds", "Max_RSS_MB"]
ENTRY_NAMES += ["S3", "S3_Range", "S3_Note", "Tags", "Script"]

WORDS = [
    *("NULL", "todo", "locked", "done", "failed", "Execution Failed: exit 3", "9" * 5000),
    *("0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    "2026-01-31T09:30:00Z",
]
RARE: list[dict[str, Any]] = [
    *({"NULL": True}, {"BOOL": True}, {"B": b"\0"}, {"SS": ["a"]}, {"NS": ["1"]}, {"BS": [b"a"]}),
    {"X": "a type that is not known yet"},
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(WORDS)
written = (
    st.integers(-(10**38), 10**38).map(str)
    | st.decimals(-1000, 1000, places=3).map(str)
    | st.sampled_from(["1" + 125 * "0", "-1" + 100 * "0", "0." + 99 * "0" + "1", "1.5", "0"])
)
scalars = (
    st.fixed_dictionaries({"S": texts})
    | st.fixed_dictionaries({"N": written})
    | st.sampled_from(RARE)
)
keys = st.sampled_from([*ENTRY_NAMES, "Task_0", "Task_1", "Task_" + 5000 * "1"]) | texts
attributes = st.recursive(
    scalars,
    lambda inner: (
        st.fixed_dictionaries({"M": st.dictionaries(keys, inner, max_size=4)})
        | st.fixed_dictionaries({"L": st.lists(inner, max_size=3)})
    ),
    max_leaves=12,
)
images = st.fixed_dictionaries(
    {"itemID": st.fixed_dictionaries({"N": written})},
    optional={
        **dict.fromkeys(NAMES[1:], attributes),
        # As a table with the indexes has them
        "ItemState": st.fixed_dictionaries({"S": texts}),
        "taskID": st.fixed_dictionaries({"S": texts}),
        "InstanceID": st.fixed_dictionaries({"S": texts}),
        "Log_Length": st.fixed_dictionaries({"N": written}),
    },
)
NOW = 1_800_000_000.0


@given(st.lists(images, max_size=4))
@example([{"itemID": {"N": "1"}, "Log": {"M": {"Status": {"S": "x"}, "Seconds": {"N": "1E+125"}}}}])
@example(
    [
        {
            "itemID": {"N": "1"},
            "TaskScript": {"S": "true"},
            "Log": {"M": {"Status": {"S": "x"}, "Tags": {"L": [{"B": b"\x00"}, {"N": "2"}]}}},
        }
    ]
)
def test_any_items_can_be_read_and_shown(images: list[dict[str, Any]]) -> None:
    records = [Record.from_values(decode(image)) for image in images]
    step, failures, shown = StepData("T", [*item_row.KINDS]), Failures(), []
    for record in records:
        failures.add(record)
        step.add(record, NOW)
        shown.append(listing.listed_item("T", record))
        assert all(number >= 0 for number in record.task_states().values())
        assert record.since == "" or record.since
        assert sorted({task.name for task in record.item.nested}, key=task_order) is not None
    for form in ("json", "tsv", "table"):
        listing.print_items(list(shown), form)
    json.dumps(shown)
    data = json.loads(ReportData([step]).to_json(Hints("python pyanamo.py", None), NOW, None))
    assert len(data["items"][0]) == len(images)
    render._histograms([step], "seconds", render.SECONDS, render.format_run_time)  # noqa: SLF001
    render._histograms([step], "memory", render.MEGABYTES, render.format_megabytes)  # noqa: SLF001


@given(images)
def test_any_item_that_is_claimed_can_be_run(image: dict[str, Any]) -> None:
    item = Item.from_values(decode(image))
    claim = Claim(item, max(tail_limit(item, "T"), 0), NO_TABLE)
    assert len({name for name, _ in claim.todo()}) == len(claim.todo())
    for name, _ in claim.todo() or [("", "")]:
        key = log_key("p", "T", item, "l" * 32, name)
        assert len(key.rpartition("/")[2].encode()) <= 255, "it is the name of a kept log"
        assert len(key.encode()) <= 1024
    states = Counter(claim.progress.statuses.values())
    assert claim.progress.ended == states["done"] + states["failed"]


@given(attributes)
def test_any_log_entry_can_be_read(attribute: dict[str, Any]) -> None:
    values = decode({"Log": attribute})["Log"]
    entry = LogEntry.from_values(values if isinstance(values, dict) else {})
    assert LogEntry.from_values(decode({"e": {"M": {}}})["e"]).status == ""
    assert isinstance(entry.exit_code, int)
