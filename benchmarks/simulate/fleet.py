"""Workers above the model: the real finder, idle loop, writes and retries, with tasks that sleep.

Not real are the processes themselves, logs and S3 (a pause before each finish), and the recorder's
and heartbeat's threads, which are greenlets here that make the same writes.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from anamo.aws.clock import DatabaseClock
from anamo.aws.retry import RetryPolicy
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.errors import AwsError
from anamo.core.item import Item, State, single_item
from anamo.core.log_entry import SUCCESSFUL, LogEntry
from anamo.core.pacing import RENEWALS
from anamo.worker.claimer import Claimer
from anamo.worker.finder import Finder
from anamo.worker.heartbeat import RETRY_SECONDS
from anamo.worker.loop import Worker
from anamo.worker.output_files import NONE_KEPT
from anamo.worker.recorder import RECORD_SECONDS
from anamo.worker.turns import Turn, TurnAsked, TurnBegins
from benchmarks.simulate.client import META, SimulatedClient
from benchmarks.simulate.database import Meter
from benchmarks.simulate.sizes import Image
from benchmarks.simulate.virtual_time import Event, VirtualTime

EPOCH = 1_800_000_000.0
TABLE = "Simulated"
MAIN_SECONDS = 0.01
"""What starting a task takes a worker."""

LEAST_SECONDS = 1e-6
"""What the shortest wait takes: no time passes by itself here, so a wait for none could be repeated
for ever."""

UPLOAD_SECONDS = 0.05
"""What putting a log in S3 takes."""


@dataclass(frozen=True)
class Work:
    """What a fleet does.

    Attributes:
        workers: Worker processes.
        items: Single items that it works through.
        task_seconds: Run time of a task; each takes up to a tenth more or less.
        ramp: Seconds in which the workers start.
        lease: Seconds of a lease.
        seed: Of everything that is drawn.
        lines: A task prints up to so many lines, each number as often as another.
        left: Further items of the table. With any, the run is cut off once `items` are done, as
            one that goes on for long.
    """

    workers: int
    items: int
    task_seconds: float
    ramp: float = 60.0
    lease: int = 600
    seed: int = 1
    lines: int = 0
    left: int = 0


@dataclass(frozen=True)
class Mark:
    """What had happened when so many items were done; throttled requests by kind and place."""

    done: int
    seconds: float
    writes: float
    reads: float
    throttled: Counter[str]
    refused: int


class Tally:
    """What became of the work.

    Attributes:
        marks: How things stood when certain numbers of items were done, in order.
        ended: When workers had ended.
        faults: What ended workers early.

    Args:
        time: In which they work.
        meter: What the database counts.
        marks: Numbers of done items at which to note how things stand.
        stop_at: A number of done items at which the run is cut off; None is never.
    """

    def __init__(
        self, time: VirtualTime, meter: Meter, marks: Collection[int], stop_at: int | None
    ) -> None:
        self.marks: list[Mark] = []
        self.ended: list[float] = []
        self.faults: list[AwsError] = []
        self._time = time
        self._meter = meter
        self._wanted = marks
        self._stop_at = stop_at
        self._done = 0

    def note_done(self) -> None:
        """Count an item that is done."""
        self._done += 1
        if self._done in self._wanted:
            mark = Mark(
                done=self._done,
                seconds=self._time.now,
                writes=self._meter.total("write"),
                reads=self._meter.total("read"),
                throttled=self._meter.throttled.copy(),
                refused=self._meter.refused.total(),
            )
            self.marks.append(mark)
        if self._done == self._stop_at:
            self._time.stop()


class Control:
    """What a worker process is told: nothing; and its one place to wait."""

    stopping = False
    start_no_more = False
    own_signal = None
    out_of_time = False

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._event = Event(time)
        self.turn = Turn(self._give_turn)

    def _give_turn(self, message: object) -> None:
        """A worker of one process has its turn whenever it asks."""
        if isinstance(message, TurnAsked):
            self.turn.note(TurnBegins(news=False))

    def wake(self) -> None:
        """End the main job's wait."""
        self._event.set()

    def wait(self, until: float | None) -> None:
        """Wait for something to happen."""
        self._event.wait(math.inf if until is None else until)

    def check(self) -> None:
        """Nothing comes from a parent."""

    def sleep(self, seconds: float, condition: Callable[[], bool] = lambda: True) -> None:
        """Wait while a condition holds."""
        until = self._time.now + max(seconds, LEAST_SECONDS)
        while condition() and self._time.now < until:
            self.wait(until)


class Recorder:
    """Finishes items, one after the other, while the next is claimed."""

    error = None

    def __init__(self, worker: SimulatedWorker) -> None:
        self.claims = 0
        self._worker = worker
        self._queue: list[Item] = []
        self._event = Event(worker.time)
        self._closing = False

    def add(self, item: Item) -> None:
        """Hand in an item whose task has ended."""
        self._queue.append(item)
        self._event.set()

    def close(self) -> None:
        """Nothing more comes."""
        self._closing = True
        self._event.set()

    def run(self) -> None:
        """The recorder's job."""
        while True:
            while self._queue:
                self._worker.finish(self._queue.pop(0))
                self.claims -= 1
                self._worker.control.wake()
            if self._closing:
                self._worker.control.wake()
                return
            self._event.wait()


class SimulatedWorker:
    """One worker process."""

    def __init__(
        self, number: int, work: Work, client: SimulatedClient, time: VirtualTime, tally: Tally
    ) -> None:
        seed = work.seed * 1_000_003 + number
        self.time = time
        self.control = Control(time)
        self._work = work
        self._tally = tally
        self._draw = random.Random(seed)
        clock = DatabaseClock(time.monotonic, lambda: EPOCH + time.now)
        self._table = WorkflowTable(client, TABLE, clock)
        self._holder = Holder(f"i-{number:017x}", work.lease)
        # Nobody has to know of its claims, since it is never killed
        in_flight: Any = SimpleNamespace(inherited=(), add=lambda *_: None, not_won=lambda *_: None)
        self._retries = RetryPolicy(self.control.sleep)
        self._claimer = Claimer(
            self._table, self._holder, in_flight, random.Random(seed), time.monotonic
        )
        finder = Finder([self._claimer], 0.0, random.Random(seed + 1), time.monotonic)
        self._recorder = Recorder(self)
        self._held: list[Item] = []
        self._ended = False
        self._loop = self._real_loop(finder)

    @property
    def conflicts(self) -> int:
        """Claims that it lost to others."""
        return self._claimer.conflicts

    def start(self, after: float) -> None:
        """Have it work from some time on."""
        self.time.start(self._run, after)

    def _real_loop(self, finder: Finder) -> Worker:
        """The real loop, of which only the search for the next item is called."""
        loop = Worker.__new__(Worker)
        parts: Mapping[str, Any] = {
            "_control": self.control,
            "_recorder": self._recorder,
            "_finder": finder,
            "_retries": self._retries,
            "_claims": [],
            "_output_files": NONE_KEPT,
            "_host": SimpleNamespace(wait=lambda over: None),
            "_delivery": SimpleNamespace(has_kept_logs=False),
        }
        for name, part in parts.items():
            setattr(loop, name, part)
        return loop

    def _run(self) -> None:
        self.time.start(self._recorder.run)
        # In a machine's own time, so that not all renew in the same second
        self.time.start(self._renew)
        try:
            while found := self._loop._next():  # noqa: SLF001
                item = found.item
                self._recorder.claims += 1
                self._held.append(item)
                spread = self._draw.uniform(0.9, 1.1)
                self.time.sleep(MAIN_SECONDS + self._work.task_seconds * spread)
                self._recorder.add(item)
        except AwsError as fault:
            self._tally.faults.append(fault)
        self._recorder.close()
        while self._recorder.claims:
            self.control.wait(None)
        self._ended = True
        self._tally.ended.append(self.time.now)

    def finish(self, item: Item) -> None:
        """Record an item as done."""
        self.time.sleep(UPLOAD_SECONDS)
        lines = self._draw.randint(0, self._work.lines)
        entry = log_entry(item, lines)
        done = RetryPolicy(self.time.sleep).retry(
            lambda: self._table.finish(item, State.DONE, entry, 1, 0), RECORD_SECONDS
        )
        self._held.remove(item)
        if done:
            self._tally.note_done()

    def _renew(self) -> None:
        """The heartbeat's job."""
        interval = self._holder.lease / RENEWALS
        # A short run stands for hours, in which renewals come at any time of a task
        wait = self._draw.uniform(0, interval)
        while True:
            self.time.sleep(wait)
            if self._ended:
                return
            wait = interval
            for item in list(self._held):
                try:
                    self._table.renew(item.item_id, item.lock_id, self._holder)
                except AwsError:
                    wait = RETRY_SECONDS


def log_entry(item: Item, lines: int) -> LogEntry:
    """The entry of a task that prints nothing but short lines, of which the item keeps none."""
    key = f"PyAnamo/{TABLE}/{item.task_id}/{item.item_id}-{item.lock_id}.log.gz"
    return LogEntry(
        SUCCESSFUL, "", "", 0, 1.234, 12.3, f"s3://bucket-of-logs/{key}", "0-456", lines=lines
    )


def images(work: Work) -> list[Image]:
    """The items as an import leaves them."""
    draw = random.Random(work.seed)
    template = imported_image(single_item("Sample000000", "align --fast reads_000000.fq"))
    ids = draw.sample(range(1 << 53), work.items + work.left)
    return [
        Image({**template, "itemID": {"N": str(each)}, "taskID": {"S": f"Sample{number:06}"}})
        for number, each in enumerate(ids)
    ]


def imported_image(item: Item) -> Image:
    """The item that the real import puts in a table."""
    puts: list[Mapping[str, Any]] = []

    def transact_write_items(**request: Any) -> Mapping[str, Any]:
        puts.extend(request["TransactItems"])
        return {}

    client: Any = SimpleNamespace(meta=META, transact_write_items=transact_write_items)
    WorkflowTable(client, TABLE).insert([item], "0" * 32)
    return Image(puts[0]["Put"]["Item"])
