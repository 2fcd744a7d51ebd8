"""Runs of the simulation, and what they say of a larger table: a run that is cut off in the steady
state of a large table, and one that works a small table through to its end.
"""

from __future__ import annotations

import gc
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import anamo
from anamo.core.capacity import Index
from anamo.core.pacing import PAGE
from anamo.operator.plan.price import Price
from benchmarks.simulate.client import SimulatedClient
from benchmarks.simulate.database import Meter, SimulatedDatabase
from benchmarks.simulate.fleet import Mark, SimulatedWorker, Tally, Work, images
from benchmarks.simulate.partitions import Limits
from benchmarks.simulate.virtual_time import VirtualTime

STEADY = (0.2, 0.8)
"""From which share of the items to which a run to the end is in its middle, at most."""

CUT_OFF_FROM = 1 / 3
"""From which share of its items a run that is cut off is in the steady state: of three items a
worker, the first is not measured.
"""

TABLE_ITEMS = 1_000_000
"""Items of the table whose steady state is simulated: the more items are left for each worker, the
fewer claims are lost."""

END_ITEMS, END_SECONDS = 2, 20.0
"""How many items a worker a run to the end takes, and how long it goes on at the ceiling."""

STEADY_ITEMS, STEADY_SECONDS = 3, 60.0
"""The same of a run that is cut off."""

MOST_RATE = 600.0
"""Items a second that no table passes by much."""

COLLECTED_AFTER = 200_000
"""New objects after which Python looks for garbage among them."""

RAMP_SECONDS = 10.0
"""In which workers start, unless a task takes longer."""


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Attributes:
        work: What was to be done.
        first, last: How things stood at the beginning and the end of the steady state.
        finished: Seconds until the last item was done.
        ended: Seconds until the last worker had ended, or the run was cut off.
        conflicts: Claims that were lost to other workers.
        meter: Requests, units, what was throttled and where, of all the run.
    """

    work: Work
    first: Mark
    last: Mark
    finished: float
    ended: float
    conflicts: int
    meter: Meter

    def an_item(self, what: Callable[[Mark], float]) -> float:
        """What an item takes in the steady state."""
        return (what(self.last) - what(self.first)) / (self.last.done - self.first.done)

    @property
    def rate(self) -> float:
        """Items a second in the steady state."""
        return 1 / self.an_item(lambda mark: mark.seconds)

    @property
    def throttled(self) -> Counter[str]:
        """Throttled requests of the steady state, by kind and place."""
        return self.last.throttled - self.first.throttled

    @property
    def idle(self) -> float:
        """Seconds from the end of the last item to the end of the last worker."""
        return self.ended - self.finished


@dataclass(frozen=True)
class Estimate:
    """What two runs say of a larger table: it takes what the run to the end took, and for each
    further item what one takes in the steady state.

    Attributes:
        steady: A run that was cut off in the steady state.
        end: A run to the end, with its beginning and its idle tail.
    """

    steady: Result
    end: Result

    def seconds(self, items: int) -> float:
        """How long so many items take."""
        return self._of(items, self.end.ended, lambda mark: mark.seconds)

    def throttled(self, items: int) -> float:
        """How many requests are throttled, from the first to the last."""
        return self._of(items, self.end.meter.throttled.total(), throttled_requests)

    def dollars(self, items: int, price: Price) -> float:
        """What so many items cost from claim to finish, without their logs in S3."""
        writes = self._of(items, self.end.meter.total("write"), lambda mark: mark.writes)
        reads = self._of(items, self.end.meter.total("read"), lambda mark: mark.reads)
        return price.of(writes, reads, 0)

    def _of(self, items: int, end: float, what: Callable[[Mark], float]) -> float:
        return end + (items - self.end.work.items) * self.steady.an_item(what)


def throttled_requests(mark: Mark) -> int:
    """All requests that had been throttled."""
    return mark.throttled.total()


def work_to_the_end(
    workers: int, task_seconds: float, items: int | None = None, seed: int = 1, lines: int = 0
) -> Work:
    """Work that shows the beginning and the end of a run, of so many items if a number is given."""
    return Work(
        workers=workers,
        items=items or _enough(workers, task_seconds, END_ITEMS, END_SECONDS),
        task_seconds=task_seconds,
        ramp=max(RAMP_SECONDS, task_seconds),
        seed=seed,
        lines=lines,
    )


def steady_work(like: Work, items: int | None = None, table: int = TABLE_ITEMS) -> Work:
    """Work that shows the steady state: the first items of a larger table.

    Args:
        like: The same fleet and tasks.
        items: How many are done before the run is cut off; None is what shows it.
        table: How many the table holds at first; if they are too few, more.
    """
    done = items or _enough(like.workers, like.task_seconds, STEADY_ITEMS, STEADY_SECONDS)
    return replace(like, items=done, left=max(table - done, PAGE * like.workers))


def _enough(workers: int, task_seconds: float, a_worker: int, seconds: float) -> int:
    """So many items a worker, or what the ceiling lets through in some time."""
    rate = min(workers / task_seconds, MOST_RATE)
    return max(a_worker * workers, int(seconds * rate), 100)


def simulate(work: Work, indexes: Sequence[Index], limits: Limits) -> Result:
    """Have a fleet work through a table of the model."""
    time = VirtualTime()
    database = SimulatedDatabase(indexes, limits, time, work.seed)
    database.fill(images(work))
    return run(work, limits, time, database, database.meter)


def run(work: Work, limits: Limits, time: VirtualTime, database: Any, meter: Meter) -> Result:
    """Have a fleet work through a table that is filled already.

    Args:
        work: What the fleet does.
        limits: How long requests take, and how many replies are lost.
        time: In which it works.
        database: Executes the requests.
        meter: What the database counts.
    """
    tally = Tally(time, meter, _marks(work), work.items if work.left else None)
    draw = random.Random(work.seed)
    workers = []
    with time.replacing_clocks(), _silence(), _seeded(work.seed), _seldom_collecting():
        for number in range(work.workers):
            client = SimulatedClient(database, meter, limits, time, work.seed * 7_919 + number)
            worker = SimulatedWorker(number, work, client, time, tally)
            # Evenly, so that as many tasks end in any second
            worker.start((number + draw.random()) / work.workers * work.ramp)
            workers.append(worker)
        time.run()
    if tally.faults:
        raise tally.faults[0]
    first, last, *_ = tally.marks
    finished = tally.marks[-1].seconds
    return Result(
        work=work,
        first=first,
        last=last,
        finished=finished,
        ended=finished if work.left else tally.ended[-1],
        conflicts=sum(worker.conflicts for worker in workers),
        meter=meter,
    )


def _marks(work: Work) -> list[int]:
    """How many items are done when the steady state begins, when it ends, and at the end."""
    if work.left:
        return [int(CUT_OFF_FROM * work.items), work.items]
    # All workers have begun before the first, and none has run out of items before the second
    first = max(STEADY[0] * work.items, 0.3 * work.workers)
    last = min(STEADY[1] * work.items, work.items - 1.3 * work.workers)
    return [int(first), int(max(last, first + 1)), work.items]


@contextmanager
def _silence() -> Iterator[None]:
    """A context in which ten thousand workers say nothing of each request that was throttled."""
    logger = logging.getLogger(anamo.__name__)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """A context in which Python seldom looks for garbage among what ten thousand workers hold: it
    would take a third of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(COLLECTED_AFTER, 50, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A context in which tenacity draws the waits of retries from a seed: it has no other
    generator than the module's.
    """
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
