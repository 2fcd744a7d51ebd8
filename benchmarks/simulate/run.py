"""One run of the simulation, and what it says of a larger table."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anamo
from anamo.core.capacity import Index
from anamo.operator.plan.price import Price
from benchmarks.simulate.client import SimulatedClient
from benchmarks.simulate.database import Meter, SimulatedDatabase
from benchmarks.simulate.fleet import Mark, SimulatedWorker, Tally, Work, images
from benchmarks.simulate.partitions import Limits
from benchmarks.simulate.virtual_time import VirtualTime

STEADY = (0.2, 0.8)
"""From which share of the items to which the steady state is measured, at most."""

LEAST_SECONDS = 20.0
"""For how long a run goes on at the ceiling."""

MOST_RATE = 600.0
"""Items a second that no table passes by much."""

RAMP_SECONDS = 10.0
"""In which workers start, unless a task takes longer."""


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Attributes:
        work: What was to be done.
        first, last: How things stood at the beginning and the end of the steady state.
        finished: Seconds until the last item was done.
        ended: Seconds until the last worker had ended.
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

    def seconds(self, items: int) -> float:
        """How long so many items take: those of this run, and the others at the steady rate."""
        return self.ended + (items - self.work.items) / self.rate

    def dollars(self, items: int, price: Price) -> float:
        """What so many items cost from claim to finish, without their logs in S3."""
        more = items - self.work.items
        writes = self.meter.total("write") + more * self.an_item(lambda mark: mark.writes)
        reads = self.meter.total("read") + more * self.an_item(lambda mark: mark.reads)
        return price.of(writes, reads, 0)

    @property
    def idle(self) -> float:
        """Seconds from the end of the last item to the end of the last worker."""
        return self.ended - self.finished


def work_for(
    workers: int, task_seconds: float, items: int | None = None, seed: int = 1, lines: int = 0
) -> Work:
    """Work that shows the steady state, unless the number of items is given."""
    return Work(
        workers=workers,
        items=items or enough(workers, task_seconds),
        task_seconds=task_seconds,
        ramp=max(RAMP_SECONDS, task_seconds),
        seed=seed,
        lines=lines,
    )


def enough(workers: int, task_seconds: float) -> int:
    """How many items show the steady state: three a worker, or some time at the ceiling."""
    rate = min(workers / task_seconds, MOST_RATE)
    return max(3 * workers, int(LEAST_SECONDS * rate), 100)


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
    # All workers have begun before the first, and none has run out of items before the second
    first_mark = max(STEADY[0] * work.items, 0.3 * work.workers)
    last_mark = min(STEADY[1] * work.items, work.items - 1.3 * work.workers)
    marks = [int(first_mark), int(max(last_mark, first_mark + 1)), work.items]
    tally = Tally(time, meter, marks)
    draw = random.Random(work.seed)
    with time.replacing_clocks(), _silence(), _seeded(work.seed):
        for number in range(work.workers):
            client = SimulatedClient(database, meter, limits, time, work.seed * 7_919 + number)
            worker = SimulatedWorker(number, work, client, time, tally)
            worker.start(draw.random() * work.ramp)
        time.run()
    if tally.faults:
        raise tally.faults[0]
    first, last, end = tally.marks
    return Result(
        work=work,
        first=first,
        last=last,
        finished=end.seconds,
        ended=tally.ended[-1],
        conflicts=tally.conflicts,
        meter=meter,
    )


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
