"""The writes of an item from its import to its end, and the units of each.

Guaranteed: the units follow from the transitions themselves and from what is written beside them,
so they change with the code; a test compares them with what DynamoDB Local counts. Not guaranteed:
units of claims that are lost to other workers (one each), of retries and of releases.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anamo.aws.update import GROUP_LIMIT, Results, Update
from anamo.core.capacity import Index, index_write, write_units
from anamo.core.codec import Values
from anamo.core.item import Item, State, new_values
from anamo.core.item_size import size_of
from anamo.core.log_entry import SUCCESSFUL, LogEntry
from anamo.core.transitions import CLAIM, FINISH, RECORD, RENEW, Transition

BRIEF_SECONDS, BRIEF_FACTOR = 1.0, 5
"""A result of a task of less than BRIEF_SECONDS waits for others of its item, BRIEF_FACTOR times as
long as the task took, at most BRIEF_SECONDS; see `anamo.worker.recorder`."""

RENEWALS = 3
"""Renewals a lease."""

Place = tuple[str, str]
"""Where units are taken: "table" or an index, and the key value there, empty for the table."""

TABLE: Place = ("table", "")

_LOCK = "0" * 32


@dataclass(frozen=True, slots=True)
class Write:
    """One write of an item.

    Attributes:
        name: What it does.
        units: Its units by place.
        sort_keys: The sort keys of the index entries that it touches, by place.
    """

    name: str
    units: Counter[Place]
    sort_keys: Mapping[Place, Sequence[Any]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All its units."""
        return self.units.total()


@dataclass(frozen=True, slots=True)
class ItemLife:
    """All writes of an item.

    Attributes:
        imported: The write that adds it.
        claimed: The claim.
        early_renewal, renewed: Renewals of its lease: the first, and one halfway through its tasks.
        recorded: The writes of results while it runs.
        finished: The last write.
        bytes: Its size at the end.
        candidate_bytes: The size of its entry in the index in which it is found.
    """

    imported: Write
    claimed: Write
    early_renewal: Write
    renewed: Write
    recorded: Sequence[Write]
    finished: Write
    bytes: int
    candidate_bytes: int

    @property
    def running(self) -> list[Write]:
        """The writes from the claim to the end, without renewals."""
        return [self.claimed, *self.recorded, self.finished]


def item_life(
    item: Item, indexes: Sequence[Index], group: int, instance_id: str = "i-0123456789abcdef0"
) -> ItemLife:
    """The life of an item whose tasks succeed.

    Args:
        item: The item as it is imported.
        indexes: Those of its table.
        group: How many results of nested tasks are written together.
        instance_id: Who claims it.
    """
    writer = _Writer(indexes)
    imported = writer.write("import", {**new_values(item), "lockID": _LOCK}, table_factor=2)
    todo = dict(writer.item or {})
    claimed = writer.update(CLAIM, _claim(instance_id))
    names = [task.name for task in item.nested]
    groups = [names[first : first + group] for first in range(0, len(names), group)] or [[]]
    recorded = []
    ended = 0
    early = renewed = writer.update(RENEW, Update(_LOCK, {":expires": 1_800_000_601}))
    for number, tasks in enumerate(groups[:-1]):
        ended += len(tasks)
        recorded.append(writer.update(RECORD, _results(item, tasks, ended)))
        if number == len(groups) // 2:
            renewed = writer.update(RENEW, Update(_LOCK, {":expires": 1_800_000_602}))
    last = _results(item, groups[-1], len(names))
    last.values |= {":target": State.DONE.value, ":now": _NOW, ":failures": 0}
    finished = writer.update(FINISH, last)
    return ItemLife(
        imported=imported,
        claimed=claimed,
        early_renewal=early,
        renewed=renewed,
        recorded=recorded,
        finished=finished,
        bytes=size_of(writer.item or {}),
        candidate_bytes=size_of(indexes[0].entry(todo) or {}),
    )


_NOW = "2026-01-31T09:30:00Z"


def _claim(instance_id: str) -> Update:
    given = {
        ":locked": State.LOCKED.value,
        ":mine": _LOCK,
        ":instance": instance_id,
        ":now": _NOW,
        ":expires": 1_800_000_600,
        ":zero": 0,
        ":one": 1,
        ":empty": {},
    }
    return Update(_LOCK, given, {"#Log": "Log"})


def _results(item: Item, tasks: Sequence[str], ended: int) -> Update:
    """A write of the results of nested tasks, or of a single item's task."""
    update = Update(_LOCK, {":locked": State.LOCKED.value, ":mine": _LOCK})
    entry = typical_entry(item)
    results: Results = dict.fromkeys(tasks, entry) if item.is_nested else entry
    update.add_results(results, ended)
    return update


def typical_entry(item: Item) -> LogEntry:
    """The log entry of a task without output."""
    key = f"PyAnamo/Table/{item.task_id}/{item.item_id}-{_LOCK}-Task_0.log.gz"
    return LogEntry(SUCCESSFUL, "", "", 0, 12.345, 123.4, f"s3://a-bucket-of-logs/{key}", "0-456")


def group_size(tasks: int, task_seconds: float, at_once: int) -> int:
    """How many results of an item's nested tasks are written together. Tasks that take longer
    seldom end at the same moment.
    """
    if task_seconds >= BRIEF_SECONDS:
        return 1
    waits = min(BRIEF_FACTOR * task_seconds, BRIEF_SECONDS)
    meanwhile = int(waits / task_seconds * at_once) if task_seconds else tasks
    return max(1, min(1 + meanwhile, GROUP_LIMIT, tasks))


class _Writer:
    """Makes an item pass through its transitions, and adds up what that takes."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self.item: dict[str, Any] | None = None
        self._indexes = indexes

    def update(self, transition: Transition, update: Update) -> Write:
        """Send a transition."""
        item = _copy(self.item or {})
        for clause in (*transition.set, *update.clauses):
            path, value = re.split(r" ?= ?", clause, maxsplit=1)
            *parents, last = [update.paths.get(part, part) for part in path.split(".")]
            place = item
            for parent in parents:
                place = place[parent]
            place[last] = _value(value, place.get(last), update.values)
        for name in transition.remove:
            item.pop(name, None)
        return self.write(transition.name, item)

    def write(self, name: str, item: dict[str, Any], table_factor: int = 1) -> Write:
        """Replace the item."""
        before, self.item = self.item, item
        size = max(size_of(before or {}), size_of(item))
        units: Counter[Place] = Counter({TABLE: table_factor * write_units(size)})
        sort_keys: dict[Place, list[Any]] = {}
        for index in self._indexes:
            write = index_write(index, before, item, size_of)
            for image, taken in ((before, write.left), (item, write.entered)):
                if image and taken:
                    place = index.name, str(image[index.partition_key])
                    units[place] += taken
                    sort_keys.setdefault(place, []).append(image[index.sort_key])
        return Write(name, units, sort_keys)


def _copy(values: Values) -> dict[str, Any]:
    return {
        name: _copy(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }


_OTHERWISE = re.compile(r"if_not_exists\([^,]+, (:\w+)\)")

_PLAIN = re.compile(r":\w+")


def _value(expression: str, there: Any, given: Values) -> Any:
    """What a clause sets. A count becomes 1, whatever it was: its size is the same."""
    if found := _OTHERWISE.fullmatch(expression):
        return given[found[1]] if there is None else there
    return given[expression] if _PLAIN.fullmatch(expression) else 1
