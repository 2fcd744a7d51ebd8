"""How fast the tasks of a table end, when the rest will have ended, and how long machines worked.

All of it comes from the records: when each item was last claimed (Lock_Date), when it ended
(Done_Date; now, while its lease is alive), and on which instance (InstanceID). Time in which
no worker is active changes nothing, and the rate is known from the first count on.

Guaranteed: no time left is given while no worker is active, or before anything has ended. Not
guaranteed: that earlier claims of an item count, since the table keeps the last one only; or
that, of a requeued nested item, only the tasks that run again count.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from anamo.core.item import NULL, State
from anamo.core.record import Record
from anamo.core.text import count, format_duration, format_rate, percent

RECENT_SECONDS = 60.0
"""Time over which the number of items that run at once is averaged: whether an item of a tenth of a
second is seen running is chance."""

PAUSE_SECONDS = 10.0
"""Longest pause between two items that still counts as work."""

LAST_ITEMS = 200
"""How many of the items that ended last say how long a task takes."""

SHORTEST = 0.5
"""Seconds that an item takes at least: dates are whole seconds."""

OVERDUE = 0.1
"""What has run longer than expected is expected to run on for this share of its age."""

Span = tuple[float, float]
"""Begin and end in epoch seconds."""


@dataclass(slots=True)
class Pace:
    """The pace of one table, from all its records.

    Attributes:
        table: The table's name.
        now: Epoch seconds by DynamoDB's clock, from before the records were read.
        running: How many items have a live lease.
        items: How many items there are.
        items_ended: How many of them are done or failed.
        items_failed: How many have failed.
        tasks: How many tasks there are, held ones included; a single item is one.
        tasks_ended: How many of them have ended.
        held: How many items are held, or in a state of another tool: no worker takes them.
        spans: For each instance, when its items were claimed and ended; for `machine_hours`.
    """

    table: str
    now: float
    running: int = 0
    items: int = 0
    items_ended: int = 0
    items_failed: int = 0
    tasks: int = 0
    tasks_ended: int = 0
    held: int = 0
    spans: dict[str, list[Span]] = field(default_factory=dict)
    # (end, seconds, tasks) of the last LAST_ITEMS that ended
    _last: list[tuple[float, float, int]] = field(default_factory=list)
    # What ran in the last RECENT_SECONDS
    _recent: list[Span] = field(default_factory=list)
    # Age, task id, tasks, tasks that have ended of each item that runs
    _runs: list[tuple[float, str, int, int]] = field(default_factory=list)
    # Tasks of the items that wait for a worker, and the most of one item
    _waiting: int = 0
    _longest: int = 0

    def add(self, record: Record, states: Counter[str] | None = None) -> None:
        """Add an item; `states` are its `task_states`, where they are known."""
        states, state = states or record.task_states(), record.state
        ended = record.tasks - states[State.TODO.value]
        self.items += 1
        self.tasks += record.tasks
        self.tasks_ended += ended
        span = record.claim_span(self.now)
        if state in (State.DONE, State.FAILED):
            self.items_ended += 1
            self.items_failed += state == State.FAILED
            if span:
                seconds = max(span[1] - span[0], SHORTEST)
                last = (span[1], seconds, max(record.tasks, 1))
                if len(self._last) < LAST_ITEMS:
                    heapq.heappush(self._last, last)
                else:
                    heapq.heappushpop(self._last, last)
        elif record.leased(self.now):
            self.running += 1
            age = max(self.now - span[0], 0.0) if span else 0.0
            self._runs.append((age, record.item.task_id, record.tasks, ended))
        elif state in (State.TODO, State.LOCKED):
            self._waiting += record.tasks - ended
            self._longest = max(self._longest, record.tasks - ended)
        else:
            self.held += 1
        if span:
            self._note(record.item.instance_id, span)

    def _note(self, instance: str, span: Span) -> None:
        if instance != NULL:
            self.spans.setdefault(instance, []).append(span)
        begin, end = span[0], min(max(span[1], span[0] + SHORTEST), self.now)
        if begin <= end and end >= self.now - RECENT_SECONDS:
            self._recent.append((begin, end))

    @property
    def first(self) -> float | None:
        """When the first of the items' last claims began, in epoch seconds."""
        return min((begin for begin, _ in chain(*self.spans.values())), default=None)

    @property
    def last(self) -> float | None:
        """When the last of them ended, or `now` while one is alive."""
        return max((end for _, end in chain(*self.spans.values())), default=None)

    @property
    def left(self) -> int:
        """Items that a worker could take, or works on."""
        return self.items - self.items_ended - self.held

    @property
    def stands_still(self) -> bool:
        """Whether items are left and no worker is active."""
        return bool(self.left) and not self.running and not self.concurrency()

    def concurrency(self) -> float:
        """How many items run at once; 0 if none has for PAUSE_SECONDS."""
        begin = self.now
        for start, end in sorted(self._recent, key=lambda span: -span[1]):
            if end < begin - PAUSE_SECONDS:
                break
            begin = min(begin, start)
        begin = max(begin, self.now - RECENT_SECONDS)
        worked = sum(max(end - max(start, begin), 0.0) for start, end in self._recent)
        return worked / (self.now - begin) if worked else float(self.running)

    def task_seconds(self) -> float | None:
        """How long an item takes for each of its tasks; None if that is not known yet."""
        seconds = sum(each[1] for each in self._last)
        tasks = sum(each[2] for each in self._last)
        if not tasks:
            # Nested tasks of the first items may have ended
            seconds = sum(age for age, _, _, ended in self._runs if ended)
            tasks = sum(ended for *_, ended in self._runs)
        return max(seconds, SHORTEST) / tasks if tasks else None

    @property
    def rate(self) -> float | None:
        """Tasks that end in a second, with as many items at once as now; None if that is not known
        yet, or no worker is active.
        """
        seconds, concurrency = self.task_seconds(), self.concurrency()
        return concurrency / seconds if seconds and concurrency else None

    def work(self, seconds: float) -> tuple[float, float]:
        """What is left, in seconds of one item at a time: of all items, and of the longest."""
        rests = []
        for age, _, tasks, ended in self._runs:
            rest = min((tasks - ended) * seconds, tasks * seconds - age)
            rests.append(max(rest, OVERDUE * age))
        longest = max([*rests, self._longest * seconds])
        return sum(rests) + self._waiting * seconds, longest

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all that workers can take has ended, with as many items at once as now;
        None if no worker is active, or nothing has ended yet.
        """
        return seconds_to_go([self])

    def __str__(self) -> str:
        """The table's name and its pace, in words."""
        if self.stands_still:
            return f"no worker is active on {self.table}"
        return f"{self.table}: {self._forecast()}"

    def _forecast(self) -> str:
        if not self.items:
            return "no items"
        if not self.left:
            failed = f", {self.items_failed:,} failed" if self.items_failed else ""
            if self.held:
                return f"nothing to do, {self.held:,} held{failed}"
            return f"finished{failed}"
        rate, left = self.rate, self.seconds_left
        if rate is None or left is None:
            return f"no rate yet: nothing has finished{self._longest_run()}"
        return f"{format_rate(rate)}, {format_duration(left)} to go{self._longest_run()}"

    def _longest_run(self) -> str:
        if not self._runs:
            return ""
        age, task_id, *_ = max(self._runs)
        return f"; {count(self.running, 'item')} running, {task_id} for {format_duration(age)}"


def seconds_to_go(paces: Sequence[Pace]) -> float | None:
    """Seconds until all that workers can take of some tables has ended, if the workers of each
    table continue with the others; None if that is not known.
    """
    left = [pace for pace in paces if pace.left]
    concurrency = sum(pace.concurrency() for pace in left)
    total = longest = 0.0
    for pace in left:
        seconds = pace.task_seconds()
        if seconds is None or not concurrency:
            return None
        work, of_one = pace.work(seconds)
        total, longest = total + work, max(longest, of_one)
    return max(total / concurrency, longest) if left else 0.0


def overall(paces: Sequence[Pace]) -> str:
    """The progress of all steps together, in words."""
    tasks = sum(pace.tasks for pace in paces)
    ended = sum(pace.tasks_ended for pace in paces)
    said = [f"{ended:,} of {count(tasks, 'task')} ended ({percent(ended, tasks)})"]
    left = seconds_to_go(paces)
    going = any(pace.left for pace in paces)
    if going and left is not None:
        said.append(f"{format_duration(left)} to go")
    first = min((pace.first for pace in paces if pace.first is not None), default=None)
    if first is not None:
        end = paces[0].now if going else max(pace.last or first for pace in paces)
        hours = f"{machine_hours(paces):,.1f} machine-hours"
        said.append(f"{hours} in {format_duration(max(end - first, 0))}")
    return ", ".join(said)


def machine_hours(paces: Iterable[Pace]) -> float:
    """The hours in which instances worked on the items of some tables: for each instance (EC2
    instance, Batch job or host) the time in which it held at least one of them, and pauses of up to
    PAUSE_SECONDS.

    Only the last claim of each item counts. What a worker that died had begun does not, nor does
    the time in which an instance was idle, started or ended.
    """
    spans: dict[str, list[Span]] = {}
    for pace in paces:
        for instance, found in pace.spans.items():
            spans.setdefault(instance, []).extend(found)
    return sum(map(_covered, spans.values())) / 3600


def _covered(spans: list[Span]) -> float:
    """Seconds that are within one of the spans, or in a short pause between two."""
    covered, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        if begin <= until + PAUSE_SECONDS:
            covered += max(end - until, 0.0)
        else:
            covered += end - begin
        until = max(until, end)
    return covered
