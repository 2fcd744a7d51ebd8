"""What a workflow table should hold: the transitions in plain Python, on plain values.

It shares no code with the package that is under test, so that both are wrong only if the same
mistake was made twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

AS_SEEN = ("ItemState", "lockID", "Ended_Tasks", "Log_Length")
COUNTED_ANEW = ("InstanceID", "Done_Date", "Attempts", "Failures", "Failed_Tasks", "Log_Length")


@dataclass(frozen=True)
class Result:
    """How a task ended: whether well, its log entry as the table has it, its lines of output."""

    succeeded: bool
    entry: Mapping[str, Any]
    lines: int


Results = Mapping[str, Result]
"""Results by the task's name; that of a single item's task is empty."""


@dataclass
class Reference:
    """The items by their ids. Every transition says whether it was allowed, and so made.

    now: epoch seconds.
    """

    now: float
    items: dict[int, dict[str, Any]] = field(default_factory=dict)

    def insert(self, new: Mapping[int, tuple[str, str | list[str]]], token: str) -> dict[int, str]:
        """Add items, given as taskID and script or nested scripts, unless one of them is there;
        the states of those that are. Their lockID is the token.
        """
        there = {key: str(self.items[key]["ItemState"]) for key in new if key in self.items}
        if not there:
            self.items |= {key: _new(key, token, *given) for key, given in new.items()}
        return there

    def at(self, then: float, change: Callable[[], bool]) -> bool:
        """Make a change that arrives now with the time of its sender."""
        now, self.now = self.now, then
        try:
            return change()
        finally:
            self.now = now

    def claim(self, key: int, seen: str, who: tuple[str, str, int]) -> bool:
        """A worker takes a todo item.

        Args:
            key: The item's.
            seen: The lockID that the worker saw.
            who: The claim's lockID, the worker's InstanceID, the length of its leases.
        """
        return self.stands(key, "todo", seen) and self._hold(key, *who)

    def take_over(self, key: int, seen: str, who: tuple[str, str, int]) -> bool:
        """A worker takes an item whose lease has ended; the arguments are those of `claim`."""
        item = self.items.get(key, {})
        ended = item.get("Lease_Expires", math.inf) < math.floor(self.now)
        return self.holds(key, seen) and ended and self._hold(key, *who)

    def renew(self, key: int, lock: str, lease: int) -> bool:
        """The holder makes its lease last from now, if that is longer."""
        expires = math.ceil(self.now + lease)
        if not self.holds(key, lock) or self.items[key].get("Lease_Expires", 0) >= expires:
            return False
        self.items[key]["Lease_Expires"] = expires
        return True

    def record(self, key: int, lock: str, results: Results) -> bool:
        """The holder writes results of tasks that have none yet."""
        now = statuses(self.items[key]) if self.holds(key, lock) else {}
        fresh = all(now.get(name) == "todo" for name in results)
        return fresh and self._write(key, results)

    def finish(self, key: int, lock: str, state: str, results: Results) -> bool:
        """The holder ends the item."""
        if not self.holds(key, lock):
            return False
        item = self.items[key]
        del item["Lease_Expires"]
        item |= {"ItemState": state, "Done_Date": self._timestamp()}
        self._write(key, results)
        whole = ended(item) == len(statuses(item))
        _count(item, "Failed_Tasks", whole * list(statuses(item).values()).count("failed"))
        if state == "failed":
            item["Failures"] = item.get("Failures", 0) + 1
        item["Log_Length"] = ended(item) if statuses(item) else results[""].lines
        return True

    def release(self, key: int, lock: str, results: Results) -> bool:
        """The holder gives the item back."""
        return self.holds(key, lock) and self._free(key, -1) and self._write(key, results)

    def retry(self, key: int, lock: str, results: Results) -> bool:
        """The holder gives a failed item back, its failed nested tasks todo again."""
        if not self.release(key, lock, results):
            return False
        item = self.items[key]
        item["Failures"] = item.get("Failures", 0) + 1
        return self._again(item)

    def requeue(self, seen: Mapping[str, Any], *, done_too: bool, force: bool) -> bool:
        """The operator has an item run again that is as it was seen, and that nobody holds unless
        forced; done_too: its done tasks too.
        """
        if not self._as_seen(seen, force=force):
            return False
        item = self.items[seen["itemID"]]
        item["ItemState"] = "todo"
        for name in ("Lease_Expires", *COUNTED_ANEW):
            item.pop(name, None)
        self._again(item, done_too=done_too)
        if not ended(item):
            item.pop("Lock_Date", None)
        return True

    def afresh(self, seen: Mapping[str, Any], *, done_too: bool) -> bool:
        """Whether the item is what requeueing what was seen would make of it."""
        item = self.items.get(seen["itemID"], {})
        again = {"failed", "done"} if done_too else {"failed"}
        wanted = {
            name: "todo" if status in again else status for name, status in statuses(seen).items()
        }
        free = self.stands(seen["itemID"], "todo", seen["lockID"])
        return free and not item.get("Attempts") and statuses(item) == wanted

    def remove(self, seen: Mapping[str, Any], *, force: bool) -> bool:
        """The operator deletes an item that is as it was seen, and that nobody holds unless
        forced.
        """
        return self._as_seen(seen, force=force) and bool(self.items.pop(seen["itemID"]))

    def holds(self, key: int, lock: str) -> bool:
        """Whether the item is held under a claim."""
        return self.stands(key, "locked", lock)

    def stands(self, key: int, state: str, lock: str) -> bool:
        """Whether the item is in a state, and its last claim is that one."""
        return self._state(key) == state and self.items[key]["lockID"] == lock

    def has(self, key: int, results: Results) -> bool:
        """Whether an item has these results."""
        log = self.items.get(key, {}).get("Log", {})
        return all(
            (log.get(name) if name else log) == result.entry for name, result in results.items()
        )

    def _state(self, key: int) -> str | None:
        return self.items[key]["ItemState"] if key in self.items else None

    def _as_seen(self, seen: Mapping[str, Any], *, force: bool) -> bool:
        item = self.items.get(seen["itemID"], {})
        same = all(item.get(name) == seen.get(name) for name in AS_SEEN)
        return same and (force or item.get("Lease_Expires", -math.inf) < math.floor(self.now))

    def _hold(self, key: int, lock: str, instance: str, lease: int) -> bool:
        item = self.items[key]
        item |= {"ItemState": "locked", "lockID": lock, "InstanceID": instance}
        item |= {"Lock_Date": self._timestamp(), "Attempts": item.get("Attempts", 0) + 1}
        item.setdefault("Log", {})
        return self.renew(key, lock, lease)

    def _free(self, key: int, attempts: int) -> bool:
        item = self.items[key]
        del item["Lease_Expires"], item["InstanceID"]
        item["ItemState"] = "todo"
        item["Attempts"] += attempts
        return True

    def _write(self, key: int, results: Results) -> bool:
        item = self.items[key]
        for name, result in results.items():
            entry = deepcopy(dict(result.entry))
            if name:
                item["Log"][name] = entry
                item["TaskScript"][name]["Status"] = "done" if result.succeeded else "failed"
            else:
                item["Log"] = entry
        _count(item, "Ended_Tasks", ended(item))
        return True

    def _again(self, item: dict[str, Any], *, done_too: bool = False) -> bool:
        if isinstance(item["TaskScript"], dict):
            for task in item["TaskScript"].values():
                if done_too or task["Status"] == "failed":
                    task["Status"] = "todo"
        _count(item, "Ended_Tasks", ended(item))
        return True

    def _timestamp(self) -> str:
        return datetime.fromtimestamp(self.now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _count(item: dict[str, Any], name: str, number: int) -> None:
    """A count that says nothing is not there."""
    item.pop(name, None)
    if number:
        item[name] = number


def ended(item: Mapping[str, Any]) -> int:
    """How many nested tasks of an item have ended."""
    return sum(status in {"done", "failed"} for status in statuses(item).values())


def statuses(item: Mapping[str, Any]) -> dict[str, str]:
    """The statuses of an item's nested tasks by name."""
    script = item["TaskScript"]
    return {name: task["Status"] for name, task in script.items()} if "Nested_Tasks" in item else {}


def _new(key: int, token: str, task_id: str, script: str | list[str]) -> dict[str, Any]:
    item = {"itemID": key, "taskID": task_id, "ItemState": "todo", "lockID": token}
    if isinstance(script, str):
        return item | {"TaskScript": script}
    nested = {f"Task_{k}": {"Status": "todo", "Script": each} for k, each in enumerate(script)}
    return item | {"TaskScript": nested, "Nested_Tasks": len(script)}
