"""What the page tells of a step, gathered record by record.

Guaranteed: of each record some numbers are kept, and none of its logs.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from anamo.core.item import NULL, State
from anamo.core.record import Record
from anamo.operator.counts import TableCounts
from anamo.operator.failures import Failures


@dataclass(slots=True)
class Measure:
    """One quantity of all tasks that ended: its values, and the task with the largest."""

    values: "array[float]" = field(default_factory=lambda: array("d"))
    largest: tuple[float, str] = (0.0, "")

    def add(self, value: float, task_id: str) -> None:
        """Note a task's value; what was not measured is 0 and does not count."""
        if value > 0:
            self.values.append(value)
            self.largest = max(self.largest, (value, task_id))

    def quantile(self, share: float) -> float:
        """The value that a share of the tasks stays within; 0 without any."""
        ordered = sorted(self.values)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """When an instance held an item last, in epoch seconds; `failed` if the item did."""

    instance: str
    begin: float
    end: float
    step: int
    task_id: str
    failed: bool


@dataclass(slots=True)
class StepData:
    """A step, `position` counted from 0 in the order of the workflow. units of seconds and MB."""

    position: int
    census: TableCounts
    failures: Failures = field(default_factory=Failures)
    seconds: Measure = field(default_factory=Measure)
    memory: Measure = field(default_factory=Measure)
    spans: list[Span] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its table's name."""
        return self.census.table

    def add(self, record: Record, now: float) -> None:
        """Note a record; `now` in epoch seconds."""
        self.failures.add(record)
        for entry in record.logs.values():
            self.seconds.add(entry.seconds, record.item.task_id)
            self.memory.add(entry.max_rss_mb, record.item.task_id)
        span = self._span(record, now)
        if span:
            self.spans.append(span)

    def _span(self, record: Record, now: float) -> Span | None:
        item = record.item
        begin, end = epoch(record.locked), epoch(record.ended)
        if record.leased(now):
            end = now
        if begin is None or end is None or end < begin or item.instance_id == NULL:
            return None
        if record.state not in (State.DONE, State.FAILED, State.LOCKED):
            return None
        failed = record.state == State.FAILED
        return Span(item.instance_id, begin, end, self.position, item.task_id, failed)


def epoch(stamp: str) -> float | None:
    """The epoch seconds of a date in ISO 8601; None where it is none."""
    try:
        return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def all_spans(steps: Sequence[StepData]) -> list[Span]:
    """The spans of all steps by time."""
    return sorted(
        (span for step in steps for span in step.spans), key=lambda span: (span.begin, span.end)
    )
