"""What tasks themselves say of their attempts, held against what the table and S3 say."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.history import (
    Change,
    History,
    Rules,
    Start,
    ended_entries,
    lock_of,
)

RAN = ("Execution Successful", "Execution Failed: exit 1")
"""What is recorded of a task that reached its end."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a task, from its first line to its last; None where there is none (yet)."""

    item_id: int
    task: str
    lock_id: str
    first: int
    last: int | None

    @property
    def name(self) -> str:
        """Its task, for messages."""
        return f"item {self.item_id}: {self.task or 'its task'}"


class Witness:
    """A file to which each task appends a line when it starts and one when it ends.

    Appends that short are atomic, so the order of the lines is that of the events.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    @property
    def script(self) -> str:
        """A Task Script that writes its lines, prints `printed`, and takes two words as argument:
        how many seconds it sleeps in between, and its exit code, 0 or 1.
        """
        run = "$PYANAMO_ITEM_ID/$PYANAMO_NESTED_TASK/$PYANAMO_LOCK_ID"
        return (
            f"bash -c 'echo start/{run} >> {self.path}; echo {run}; sleep $0;"
            f" echo end/{run} >> {self.path}; echo end of {run}; exit $1'"
        )

    def attempts(self) -> list[Attempt]:
        """All attempts so far, in the order of their starts."""
        lines = [line.split("/") for line in self.path.read_text().splitlines()]
        last = {tuple(run): number for number, (what, *run) in enumerate(lines) if what == "end"}
        return [
            Attempt(int(item_id), task, lock_id, number, last.get((item_id, task, lock_id)))
            for number, (what, item_id, task, lock_id) in enumerate(lines)
            if what == "start"
        ]

    def starts(self) -> list[Start]:
        """What was started so far."""
        return [Start(run.item_id, run.task, run.lock_id) for run in self.attempts()]


def printed(item_id: int, task: str, lock_id: str) -> str:
    """What a task of `Witness.script` prints if it reaches its end."""
    return "".join(f"{begin}{item_id}/{task}/{lock_id}\n" for begin in ("", "end of "))


def side_by_side(attempts: Sequence[Attempt], history: History, rules: Rules) -> Iterator[str]:
    """Attempts at one task that ran at once, although the first one's lease had not ended."""
    begun: dict[tuple[int, str], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        earlier = begun[attempt.item_id, attempt.task]
        for other in earlier:
            if other.last is not None and other.last > attempt.first:
                left = _end_of(other.lock_id, history.get(attempt.item_id, ()))
                if not left or not (left.kind == "take over" or rules.is_operators(left)):
                    how = left.kind if left else "never"
                    beside = f"{attempt.lock_id} beside {other.lock_id}, left by: {how}"
                    yield f"{attempt.name} ran under {beside}"
        earlier.append(attempt)


def _end_of(lock_id: str, changed: Sequence[Change]) -> Change | None:
    """The change that ended a claim."""
    held = (
        change
        for change in changed
        if change.before.get("lockID") == lock_id and change.before["ItemState"] == "locked"
    )
    return next((change for change in held if change.kind != "renew"), None)


def unwitnessed(attempts: Sequence[Attempt], history: History) -> Iterator[str]:
    """Outcomes on record that no task knows of."""
    known = {(each.item_id, each.task, each.lock_id): each.last for each in attempts}
    for item_id, changed in history.items():
        for change in changed:
            before = ended_entries(change.before)
            for task, entry in ended_entries(change.after).items():
                ran = (item_id, task, lock_of(entry))
                if before.get(task) == entry or not lock_of(entry):
                    continue
                if ran not in known:
                    yield f"item {item_id}: {task} never ran under {ran[2]}, and is on record"
                elif entry["Status"] in RAN and known[ran] is None:
                    yield f"item {item_id}: {task} did not end under {ran[2]}, and is on record"


def bad_logs(
    items: Sequence[Mapping[str, Any]], read: Callable[[str], bytes | None]
) -> Iterator[str]:
    """Logs that are not whole, of tasks that have ended.

    Args:
        items: As they are in the end.
        read: Gives an object by its s3:// address, None where there is none.
    """
    objects: dict[str, bytes | None] = {}
    for item in items:
        for task, entry in ended_entries(item).items():
            address = entry.get("S3", "")
            if address and address not in objects:
                objects[address] = read(address)
            # A worker that died may have taken a log with it that S3 refused, and says so
            if address and not (objects[address] is None and "S3_Note" in entry):
                said = _log_fault(item["itemID"], task, entry, objects[address])
                if said:
                    yield f"item {item['itemID']}: the log of {task or 'its task'} {said}"


def _log_fault(item_id: int, task: str, entry: Mapping[str, Any], body: bytes | None) -> str:
    """What is wrong with the log of a task; empty if nothing is."""
    if body is None:
        return f"is not at {entry['S3']}"
    first, last = map(int, entry["S3_Range"].split("-"))
    member = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        log = member.decompress(body[first : last + 1]).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        return f"is no log: {error}"
    if not member.eof or member.unused_data:
        return "is not one gzip member"
    expected = printed(item_id, task, lock_of(entry))
    if entry["Status"] in RAN and f"\n== stdout, {len(expected)} bytes ==\n{expected}" not in log:
        return "lacks what the task printed"
    return ""
