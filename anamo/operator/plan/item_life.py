"""The writes of an item from its import to its end, and the units of each.

Guaranteed: the units follow from the requests that importers and workers send, so they change with
the code; a test compares them with what DynamoDB Local counts. Not counted: claims that are lost to
other workers (a unit each), retries and releases.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from anamo.aws.clock import DatabaseClock
from anamo.aws.dynamodb import STATE_INDEX
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.aws.update import GROUP_LIMIT, Results
from anamo.core.capacity import Index, index_write, write_units
from anamo.core.codec import Values, decode, encode
from anamo.core.item import Item, State
from anamo.core.item_size import size_of, value_size
from anamo.core.log_entry import SUCCESSFUL, LogEntry
from anamo.core.pacing import LEASE_SECONDS, linger_seconds

Place = tuple[str, str]
"""Where units are taken: "table" or an index, and the key value there, empty for the table."""

TABLE: Place = ("table", "")

_LOCK = "0" * 32


@dataclass(frozen=True, slots=True)
class Write:
    """One write of an item.

    Attributes:
        units: Its units by place.
        sort_keys: The sort keys of the index entries that it touches, by place.
    """

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
    notes = _Notes(indexes)
    clock = DatabaseClock(lambda: 0.0, lambda: 1_800_000_000.0)
    table = WorkflowTable(notes, "Plan", clock)
    holder = Holder(instance_id, LEASE_SECONDS)
    table.insert([item], _LOCK)
    todo = next(index for index in indexes if index.name == STATE_INDEX).entry(notes.image)
    claimed = table.claim(replace(item, lock_id=_LOCK), _LOCK, holder) or item
    table.renew(item.item_id, _LOCK, replace(holder, lease=LEASE_SECONDS + 1))
    names = [task.name for task in item.nested]
    groups = [names[first : first + group] for first in range(0, len(names), group)] or [[]]
    entry = typical_entry(item)
    renewed = 2
    for number, tasks in enumerate(groups[:-1]):
        ended = (number + 1) * group
        table.record(claimed, dict.fromkeys(tasks, entry), ended)
        if number == len(groups) // 2:
            renewed = len(notes.writes)
            table.renew(item.item_id, _LOCK, replace(holder, lease=LEASE_SECONDS + 2))
    results: Results = dict.fromkeys(groups[-1], entry) if item.is_nested else entry
    table.finish(claimed, State.DONE, results, len(names))
    return ItemLife(
        imported=notes.writes[0],
        claimed=notes.writes[1],
        early_renewal=notes.writes[2],
        renewed=notes.writes[renewed],
        recorded=[write for number, write in enumerate(notes.writes[3:-1], 3) if number != renewed],
        finished=notes.writes[-1],
        bytes=_bytes(notes.image),
        candidate_bytes=_bytes(todo or {}),
    )


def typical_entry(item: Item) -> LogEntry:
    """The log entry of a task without output."""
    key = f"PyAnamo/Table/{item.task_id}/{item.item_id}-{_LOCK}-Task_0.log.gz"
    return LogEntry(SUCCESSFUL, "", "", 0, 12.345, 123.4, f"s3://a-bucket-of-logs/{key}", "0-456")


def group_size(tasks: int, task_seconds: float, at_once: int) -> int:
    """How many results of an item's nested tasks are written together: one, and those that end
    while it waits. The ends of `at_once` tasks are spread evenly over the run time of a task.
    """
    waits = linger_seconds(task_seconds)
    meanwhile = int(waits / task_seconds * at_once) if task_seconds else tasks
    return max(1, min(1 + meanwhile, GROUP_LIMIT, tasks))


@dataclass(frozen=True, slots=True)
class _Attribute:
    """An attribute of an item at one time.

    Attributes:
        value: Its value; in place of a map, the number of the write that changed it last.
        size: Its bytes, with its name.
    """

    value: Any
    size: int


_Image = dict[str, _Attribute]


def _bytes(image: Mapping[str, _Attribute]) -> int:
    """The size of an item, or of its entry in an index."""
    return sum(attribute.size for attribute in image.values())


class _Notes:
    """Stands in for a boto3 client: it makes an item pass through the writes that it is sent, and
    notes what they take. It asks for no condition, since nobody else writes the item.

    An item of hundreds of tasks is written hundreds of times: the size of each attribute is kept,
    and a write adds what it adds.
    """

    def __init__(self, indexes: Sequence[Index]) -> None:
        self.meta = SimpleNamespace(
            region_name="us-east-1", events=SimpleNamespace(register=lambda *_, **__: None)
        )
        self.image: _Image = {}
        self.writes: list[Write] = []
        self._item: dict[str, Any] = {}
        self._indexes = indexes

    def transact_write_items(self, **request: Any) -> Values:
        """A transaction of one put, which doubles the units of the table."""
        image: _Image = {}
        for name, value in decode(request["TransactItems"][0]["Put"]["Item"]).items():
            self._set(image, name, value)
        self._note(image, table_factor=2)
        return {}

    def update_item(self, **request: Any) -> Values:
        """An update."""
        image = dict(self.image)
        names = request.get("ExpressionAttributeNames", {})
        given = decode(request["ExpressionAttributeValues"])
        sets, _, removes = request["UpdateExpression"].removeprefix("SET ").partition(" REMOVE ")
        for clause in _BETWEEN_CLAUSES.split(sets):
            path, expression = re.split(" ?= ?", clause, maxsplit=1)
            name, *inner = [names.get(part, part) for part in path.split(".")]
            if inner:
                self._set_within(image, name, inner, given[expression])
            else:
                self._set(image, name, _value(expression, self._item.get(name), given))
        for name in removes.split(", "):
            self._item.pop(name, None)
            image.pop(name, None)
        self._note(image)
        return {"Attributes": encode(self._item)} if request["ReturnValues"] == "ALL_NEW" else {}

    def _set(self, image: _Image, name: str, value: Any) -> None:
        """Set an attribute of the item."""
        self._item[name] = value
        image[name] = _Attribute(self._known_by(value), size_of({name: value}))

    def _set_within(self, image: _Image, name: str, inner: Sequence[str], value: Any) -> None:
        """Set what is inside an attribute that is a map."""
        place = self._item[name]
        for part in inner[:-1]:
            place = place[part]
        last = inner[-1]
        grown = value_size({last: value}) - value_size({k: place[k] for k in (last,) if k in place})
        place[last] = value
        image[name] = _Attribute(self._known_by(place), image[name].size + grown)

    def _known_by(self, value: Any) -> Any:
        """What tells a value from another: maps are changed in place."""
        return len(self.writes) if isinstance(value, dict) else value

    def _note(self, image: _Image, table_factor: int = 1) -> None:
        before, self.image = self.image, image
        size = max(_bytes(before), _bytes(image))
        units: Counter[Place] = Counter({TABLE: table_factor * write_units(size)})
        sort_keys: dict[Place, list[Any]] = {}
        for index in self._indexes:
            write = index_write(index, before, image, _bytes)
            for each, taken in ((before, write.left), (image, write.entered)):
                if taken:
                    place = index.name, str(each[index.partition_key].value)
                    units[place] += taken
                    sort_keys.setdefault(place, []).append(each[index.sort_key].value)
        self.writes.append(Write(units, sort_keys))


_BETWEEN_CLAUSES = re.compile(r", (?![^(]*\))")

_OTHERWISE = re.compile(r"if_not_exists\([^,]+, (:\w+)\)")


def _value(expression: str, there: Any, given: Values) -> Any:
    """What a clause sets. A count becomes 1, whatever it was: its size is the same."""
    if found := _OTHERWISE.fullmatch(expression):
        return given[found[1]] if there is None else there
    return given.get(expression, 1)
