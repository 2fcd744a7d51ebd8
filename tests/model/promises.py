"""The promises of docs/guarantees.md about one item, as conditions on images, writes, workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Plain = Mapping[str, Any]
"""An image in plain values."""

ENDED = ("done", "failed")
BY_HOLDERS = ("renew", "record", "finish", "release", "retry")
BY_CLAIMS = ("claim", "take over")
AGAIN = {"retry": ("failed",), "requeue": ENDED, "requeue --force": ENDED}
"""Which ended tasks a write may make todo again."""

EDGES = {
    "claim": {("todo", "locked")},
    "take over": {("locked", "locked")},
    "renew": {("locked", "locked")},
    "record": {("locked", "locked")},
    "finish": {("locked", "done"), ("locked", "failed")},
    "release": {("locked", "todo")},
    "retry": {("locked", "todo")},
    "requeue": {("failed", "todo"), ("done", "todo"), ("locked", "todo")},
    "requeue --force": {("locked", "todo")},
}


class BrokenError(Exception):
    """A promise is broken; says which."""


def demand(holds: bool, promise: str) -> None:
    """Raise BrokenError unless the promise holds."""
    if not holds:
        raise BrokenError(promise)


def check_image(image: Plain) -> None:
    """What holds for an item at any time."""
    state, statuses = image["ItemState"], list(_statuses(image).values())
    ended = [status for status in statuses if status in ENDED]
    demand(("Lease_Expires" in image) is (state == "locked"), "a lease without a holder, or none")
    count = image.get("Ended_Tasks", 0)
    demand(count == len(ended), "Ended_Tasks is not the number of ended tasks")
    demand(("InstanceID" in image) is (state != "todo"), "an instance without a claim, or none")
    demand(("Log_Length" in image) is (state in ENDED), "a length without an end, or none")
    demand(state != "done" or set(statuses) == {"done"}, "done, but not all of its tasks")
    demand(state != "failed" or "failed" in statuses, "failed, but no task has")
    demand(image.get("Attempts", 0) >= (state != "todo"), "an attempt that is not counted")
    for task, status in _statuses(image).items():
        there = task in image.get("Log", {})
        demand(status not in ENDED or there, "an ended task without its outcome")


def check_write(kind: str, lock: str, before: Plain, after: Plain | None) -> None:
    """What holds for a write that changed an item.

    Args:
        kind: The transition.
        lock: The lockID of the claim whose write it is.
        before: The item as the write found it.
        after: The item as the write left it.
    """
    demand(kind != "import", "an import over an item that was there")
    if kind in BY_HOLDERS:
        demand(before["lockID"] == lock, "a write of another claim than the holder's")
    if after is None:
        return
    states = before["ItemState"], after["ItemState"]
    demand(states in EDGES[kind], f"{kind} led from {states[0]} to {states[1]}")
    demand((kind in BY_CLAIMS) is (before["lockID"] != after["lockID"]), "lockID changed, or not")
    if kind in ("renew", "record"):
        demand(before["Lease_Expires"] <= after["Lease_Expires"], "a lease moved back")
        counts = [each.get("Ended_Tasks", 0) for each in (before, after)]
        demand(counts[0] <= counts[1], "fewer tasks have ended than before")
    _check_outcomes(kind, lock, before, after)


def _check_outcomes(kind: str, lock: str, before: Plain, after: Plain) -> None:
    for task, status in _statuses(before).items():
        if status in ENDED:
            allowed = {status, *(["todo"] if status in AGAIN.get(kind, ()) else [])}
            demand(_statuses(after)[task] in allowed, "a task that had ended changed")
            same = before["Log"][task] == after["Log"][task]
            demand(same, "the outcome of a task was recorded twice")
    for task, entry in after.get("Log", {}).items():
        if entry != before.get("Log", {}).get(task):
            claim = entry["stdout"].partition("/")[0]
            demand(claim == before["lockID"] == lock, "an outcome of another than the holder")


def check_command(seen: Plain, before: Plain) -> None:
    """What holds for an operator's change: the item is as it was when the operator looked."""
    for name in ("ItemState", "lockID", "TaskScript"):
        demand(seen[name] == before[name], "an operator changed what had changed meanwhile")


def check_lease(before: Plain, now: int) -> None:
    """What holds for an item that somebody takes whose holder was not asked."""
    demand(before.get("Lease_Expires", now - 1) < now, "taken while its lease went on")


def check_tasks(image: Plain, lock: str, mine: Mapping[str, object], left: Sequence[str]) -> None:
    """What holds for a worker that holds the item: what it still runs has not ended."""
    if (image["ItemState"], image["lockID"]) == ("locked", lock):
        statuses = _statuses(image)
        demand(all(statuses[task] == "todo" for task in left), "a task that ended runs again")
        kept = all(statuses[task] in ENDED for task in mine)
        demand(kept, "an outcome that was said to be recorded is not there")


def _statuses(image: Plain) -> dict[str, str]:
    return {name: task["Status"] for name, task in image["TaskScript"].items()}
