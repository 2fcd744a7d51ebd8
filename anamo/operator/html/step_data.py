"""What the report says about a step, collected record by record.

Guaranteed: of each record only a few numbers are kept, and its details while there is room.
"""

from array import array
from dataclasses import dataclass, field

from anamo.core.item import NULL, State
from anamo.core.record import Record
from anamo.operator.counts import TableCounts
from anamo.operator.failures import Failures
from anamo.operator.html import item_row
from anamo.operator.html.item_row import Details, ItemRow

WORKER_PART = 8
"""Characters of a claim's token that tell which worker process made it."""


@dataclass(slots=True)
class Metric:
    """A quantity that was measured for tasks.

    Attributes:
        values: Its values, one for each task.
        largest: The largest value, and the task id it was measured for.
    """

    values: "array[float]" = field(default_factory=lambda: array("d"))
    largest: tuple[float, str] = (0.0, "")

    def add(self, value: float, task_id: str) -> None:
        """Add a task's value, unless it is 0, which stands for "not measured"."""
        if value > 0:
            self.values.append(value)
            self.largest = max(self.largest, (value, task_id))

    def quantile(self, share: float) -> float:
        """The value that a share of the tasks does not exceed; 0 without values."""
        ordered = sorted(self.values)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


@dataclass(slots=True)
class StepData:
    """A step.

    Attributes:
        name: The name of its table.
        kinds: The words of all kinds of items, shared by all steps: other tools' states are added.
        counts: The counts of its table.
        failures: Its failed tasks.
        seconds: Run times of its tasks.
        memory: Peak memory of its tasks, in MB.
        rows: Its items.
        details: Made the items' details.
        attempts: How often its items were claimed.
    """

    name: str
    kinds: list[str]
    counts: TableCounts = field(init=False)
    failures: Failures = field(default_factory=Failures)
    seconds: Metric = field(default_factory=Metric)
    memory: Metric = field(default_factory=Metric)
    rows: list[ItemRow] = field(default_factory=list)
    details: Details = field(default_factory=Details)
    attempts: int = 0
    # Failures' groups in the order in which they were found
    _causes: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with no items."""
        self.counts = TableCounts(self.name)

    def add(self, record: Record, now: float) -> None:
        """Add a record; `now` in epoch seconds."""
        groups = self.failures.add(record)
        cause = self._causes.setdefault(id(groups[0]), len(self._causes)) if groups else -1
        for entry in record.logs.values():
            self.seconds.add(entry.seconds, record.item.task_id)
            self.memory.add(entry.max_rss_mb, record.item.task_id)
        self.attempts += record.item.attempts
        self.rows.append(self._row(record, now, cause))

    def _row(self, record: Record, now: float, cause: int) -> ItemRow:
        item, states = record.item, record.task_states()
        failed = states[State.FAILED.value]
        begun = bool(record.logs or item.attempts or item.host_error)
        # What is needed most: failures, then what runs or has begun
        priority = 0 if failed else 1 if begun and record.state != State.DONE else 2
        details, script = self.details.of(record, priority)
        return ItemRow(
            task_id=item.task_id,
            kind=self._kind(record, now),
            instance="" if item.instance_id == NULL else item.instance_id,
            worker="" if item.lock_id == NULL else item.lock_id[:WORKER_PART],
            claim_span=record.claim_span(now),
            attempts=item.attempts,
            states=(record.tasks, states[State.DONE.value], failed),
            cause=cause,
            priority=priority,
            details=details,
            script=script,
        )

    def _kind(self, record: Record, now: float) -> int:
        kinds = {
            State.DONE.value: item_row.DONE,
            State.FAILED.value: item_row.BROKEN,
            State.LOCKED.value: item_row.RUNNING if record.leased(now) else item_row.LOST,
            State.TODO.value: item_row.WAITING,
            State.HELD.value: item_row.HELD,
        }
        if record.state in kinds:
            return kinds[record.state]
        if record.state not in self.kinds[len(item_row.KINDS) :]:
            self.kinds.append(record.state)
        return self.kinds.index(record.state, len(item_row.KINDS))

    def cause_of(self, group: object) -> int:
        """The number of a group of failures in the rows; -1 if it has no item's first failure."""
        return self._causes.get(id(group), -1)

    def kind_counts(self) -> dict[str, int]:
        """The number of items of each kind, by the word for the kind."""
        counts = dict.fromkeys(item_row.SHOWN, 0)
        for row in self.rows:
            counts[self.kinds[row.kind]] = counts.get(self.kinds[row.kind], 0) + 1
        return counts
