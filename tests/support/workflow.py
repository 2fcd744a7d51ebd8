"""Workflow tables in the middle of a run: items in every state, as workers leave them.

Made without the package that is under test, and written by BatchWriteItem, since an import and a
run of thousands of items would take the tests' time.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer

from tests.support.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH = 25
FLEET = [f"i-0{random.Random(k).getrandbits(64):016x}" for k in range(12)]
CAUSES = [
    (137, "Execution Failed: killed by signal 9", "Killed"),
    (1, "Execution Failed: exit 1", "[E::hts_open_format] Failed to open file {task}.bam"),
    (3, "Execution Failed: exit 3", "ERROR: contig chrUn_KI270742v1 is not in the reference"),
    (127, "Execution Failed: exit 127", "pyanamo: bwa-mem3: not found"),
]


def entry(task: str, code: int = 0, status: str = "", last: str = "", **more: Any) -> Any:
    """Return a log entry; `more` replaces what it would hold."""
    return {
        "Status": status or "Execution Successful",
        "stdout": f"processed {task}\n",
        "stderr": f"[M::mem_process_seqs] reads of {task}\n{last.format(task=task)}\n",
        "Exit_Code": code,
        "Seconds": 61,
        "Max_RSS_MB": 512,
        "S3": f"s3://logs/PyAnamo/{task}.log.gz",
        "S3_Range": "0-99",
    } | more


def item(task_id: str, state: str = "todo", nested: int = 0, **more: Any) -> dict[str, Any]:
    """Return an item as an importer made it, in some state; `more` sets attributes.

    Args:
        task_id: Its task id.
        state: Its state; nested tasks are todo in a todo or locked item, else as the item.
        nested: How many nested tasks; 0 makes it a single item.
        more: Attributes that replace or join those it would have.
    """
    ended = state in ("done", "failed")
    made: dict[str, Any] = {
        "itemID": random.Random(f"{task_id} {nested}").getrandbits(53),
        "taskID": task_id,
        "ItemState": state,
        "TaskScript": f"align.sh {task_id}",
        "lockID": f"{zlib.crc32(task_id.encode()):032x}",
    }
    if state not in ("todo", "held"):
        made |= {"InstanceID": "i-0a1b2c3d4e5f60001", "Lock_Date": "2026-01-31T09:30:00Z"}
        made |= {"Attempts": 1, "Log": {}}
    if ended:
        made |= {"Done_Date": "2026-01-31T09:31:01Z", "Log_Length": nested}
    if ended and nested:
        made["Ended_Tasks"] = nested
    if state == "failed":
        made |= {"Failures": 1} | ({"Failed_Tasks": nested} if nested else {})
    if nested:
        status = state if ended else "todo"
        made["Nested_Tasks"] = nested
        made["TaskScript"] = {
            f"Task_{k}": {"Status": status, "Script": f"call.sh {task_id} chr{k + 1}"}
            for k in range(nested)
        }
    return made | more


def earlier(made: dict[str, Any]) -> dict[str, Any]:
    """Return an item as earlier versions wrote it: what says nothing yet is NULL or 0."""
    unset: dict[str, Any] = dict.fromkeys(("InstanceID", "Lock_Date", "Done_Date"), "NULL")
    unset |= {"Log": {}, "Log_Length": made.get("Ended_Tasks", 0), "Attempts": 0}
    later = {"Ended_Tasks", "Failed_Tasks"}
    return unset | {name: value for name, value in made.items() if name not in later}


def stamp(when: float) -> str:
    """Return epoch seconds as the tables have dates."""
    return f"{datetime.fromtimestamp(when, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def run_of(
    samples: int, nested: int, shares: dict[str, float], hours: float = 12, seed: int = 1
) -> Iterator[dict[str, Any]]:
    """Return the items of a step in the middle of its run.

    Args:
        samples: How many items, called Sample1, Sample2 and so on.
        nested: How many nested tasks each has; 0 for single items.
        shares: Of the states; items are in their order.
        hours: How long ago the step began.
        seed: Of whatever is drawn.
    """
    draw = random.Random(seed)
    began = time.time() - hours * 3600
    free = [began + draw.uniform(0, 900) for _ in range(4 * len(FLEET))]
    states = iter(state for state, share in shares.items() for _ in range(round(samples * share)))
    for number in range(1, samples + 1):
        state = next(states, "todo")
        made = item(f"Sample{number}", state, nested)
        if state in ("done", "failed"):
            _end(made, nested, draw, free)
        elif state == "locked":
            _lock(made, draw)
        yield made


def _end(made: dict[str, Any], nested: int, draw: random.Random, free: list[float]) -> None:
    """Let an item end as done or failed."""
    slot = min(range(len(free)), key=free.__getitem__)
    failed = made["ItemState"] == "failed"
    if failed and nested:
        made["Failed_Tasks"] = 1
    bad = draw.randrange(max(nested, 1)) if failed else -1
    entries = {}
    for k in range(max(nested, 1)):
        more: dict[str, Any] = {
            "Seconds": round(draw.lognormvariate(5, 0.7), 3),
            "Max_RSS_MB": round(draw.lognormvariate(6.6, 0.4), 1),
        }
        cause = draw.choices(CAUSES, [60, 25, 10, 5])[0] if k == bad else (0, "", "")
        entries[f"Task_{k}"] = entry(made["taskID"], *cause, **more)
        if nested and failed and k != bad:
            made["TaskScript"][f"Task_{k}"]["Status"] = "done"
    made["Log"] = entries if nested else entries["Task_0"]
    begin = free[slot]
    free[slot] += sum(each["Seconds"] for each in entries.values())
    made["InstanceID"] = FLEET[slot % len(FLEET)]
    made["Lock_Date"], made["Done_Date"] = stamp(begin), stamp(free[slot])


def _lock(made: dict[str, Any], draw: random.Random) -> None:
    """Let a worker hold an item; one in ten worker died a while ago."""
    made["InstanceID"] = draw.choice(FLEET)
    made["Lock_Date"] = stamp(time.time() - draw.uniform(10, 1500))
    made["Lease_Expires"] = int(time.time()) + (-3600 if draw.random() < 0.1 else 36000)


def put_all(client: DynamoDBClient, table: Table, items: Iterable[dict[str, Any]]) -> None:
    """Write items as they are."""
    serialize = TypeSerializer().serialize
    source = iter(items)

    def write(batch: list[dict[str, Any]]) -> None:
        puts: Any = [
            {
                "PutRequest": {
                    "Item": {name: serialize(exact(value)) for name, value in each.items()}
                }
            }
            for each in batch
        ]
        reply = client.batch_write_item(RequestItems={table.name: puts})
        assert not reply["UnprocessedItems"]

    with ThreadPoolExecutor(4) as pool:
        batches = iter(lambda: list(islice(source, BATCH)), [])
        for _ in pool.map(write, batches):
            pass


def exact(value: Any) -> Any:
    """Replace floats by what boto3 takes for a number."""
    from decimal import Decimal

    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, dict):
        return {name: exact(member) for name, member in value.items()}
    return value
