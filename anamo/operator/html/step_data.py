"""What the report says about a step, collected record by record.

Guaranteed: only a few numbers are kept for each record, and nothing of its logs.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from anamo.core.item import NULL, State
from anamo.core.record import Record
from anamo.operator.counts import TableCounts
from anamo.operator.failures import Failures


@dataclass(slots=True)
class Metric:
    """A quantity that was measured of tasks.

    Attributes:
        values: Its values, one for each task.
        largest: The largest value, and the task id it was measured of.
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


@dataclass(frozen=True, slots=True)
class Span:
    """The time for which an instance last held an item.

    Attributes:
        instance: The instance.
        begin: Epoch seconds.
        end: Epoch seconds.
        step: The position of the item's step.
        task_id: The item's task id.
        failed: Whether the item failed.
    """

    instance: str
    begin: float
    end: float
    step: int
    task_id: str
    failed: bool


@dataclass(slots=True)
class StepData:
    """A step.

    Attributes:
        position: Its position in the workflow, from 0.
        counts: The counts of its table.
        failures: Its failed tasks.
        seconds: Run times of its tasks.
        memory: Peak memory of its tasks, in MB.
        spans: When its items were held.
    """

    position: int
    counts: TableCounts
    failures: Failures = field(default_factory=Failures)
    seconds: Metric = field(default_factory=Metric)
    memory: Metric = field(default_factory=Metric)
    spans: list[Span] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of its table."""
        return self.counts.table

    def add(self, record: Record, now: float) -> None:
        """Add a record; `now` in epoch seconds."""
        self.failures.add(record)
        for entry in record.logs.values():
            self.seconds.add(entry.seconds, record.item.task_id)
            self.memory.add(entry.max_rss_mb, record.item.task_id)
        span = self._span(record, now)
        if span:
            self.spans.append(span)

    def _span(self, record: Record, now: float) -> Span | None:
        item, held = record.item, record.held(now)
        if held is None or item.instance_id == NULL:
            return None
        failed = record.state == State.FAILED
        return Span(item.instance_id, *held, self.position, item.task_id, failed)


def all_spans(steps: Sequence[StepData]) -> list[Span]:
    """The spans of all steps, by time."""
    return sorted(
        (span for step in steps for span in step.spans), key=lambda span: (span.begin, span.end)
    )
