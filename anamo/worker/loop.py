"""One worker process: claim, run, record, finish, again.

Guaranteed: a task runs only while this process holds the claim of its item; a claim that is lost
ends its tasks, and nothing of them is written. Every claim is ended before the process ends, as
far as DynamoDB can be reached.

The main thread claims, starts tasks and waits for them; one thread records (`recorder`), one keeps
the leases alive (`heartbeat`).
"""

import logging
import os
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic, sleep

from anamo.aws.instance import host_metadata, host_name
from anamo.aws.log_store import LogStore
from anamo.aws.retry import RetryPolicy
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.errors import (
    AnamoError,
    AwsError,
    HostError,
    ItemRefused,
    TransientError,
    internal,
)
from anamo.core.item import Item, State
from anamo.core.log_entry import abandoned_entry, tail_limit
from anamo.core.text import count
from anamo.worker.claim import Claim
from anamo.worker.claimer import Finder
from anamo.worker.control import Control
from anamo.worker.heartbeat import Heartbeat
from anamo.worker.in_flight_claims import InFlightClaims
from anamo.worker.messages import Finished, ItemEnded
from anamo.worker.options import Options
from anamo.worker.outfile import OutFiles
from anamo.worker.recorder import LOST, Recorder, RecorderOptions
from anamo.worker.task_process import Execution, Outcome, StopReason

LAG_SECONDS = 1.0
"""How long after finding nothing a worker looks again, since the index lags behind the table."""

IDLE_SECONDS = 5.0
"""Longest time between two looks of a worker that waits for work; the first are shorter."""

CLAIM_SECONDS = 900.0
"""How long a claim is tried while DynamoDB is out of reach."""

DELIVERY_SECONDS = 900.0
"""How long a worker waits, claiming nothing, for S3 to take the logs it keeps."""

logger = logging.getLogger(__name__)


class Worker:
    """Works through a table until nothing is left, or it is told to stop.

    It stays until the leases of the claims in `in_flight.inherited` have ended, and it, or another
    worker, has taken them over.
    """

    def __init__(
        self,
        options: Options,
        holder: Holder,
        control: Control,
        table: WorkflowTable,
        logs: LogStore,
        in_flight: InFlightClaims,
    ) -> None:
        self._options = options
        self._control = control
        self._table = table
        self._logs = logs
        self._in_flight = in_flight
        self._finder = Finder(table, holder, in_flight)
        self._retries = RetryPolicy(control.sleep)
        self._claims: list[Claim] = []
        recorder = RecorderOptions(
            holder, options.prefix, host_name(), options.retries, host_metadata()
        )
        self._recorder = Recorder(table, logs, recorder, control, self._settled)
        self._heartbeat = Heartbeat(table, holder, lambda: list(self._claims), control.wake)
        self._environment = {"PYANAMO": options.program, **os.environ}
        self._files = OutFiles()

    def run(self) -> Finished:
        """Work, and say how it went."""
        error: AnamoError | None = None
        try:
            while item := self._next():
                self._work(item)
        except AnamoError as fault:
            error = fault
        except Exception as fault:
            # What has ended is recorded all the same
            logger.debug("worker", exc_info=True)
            error = internal(fault)
        self._let_go()
        kept = self._recorder.close()
        self._heartbeat.close()
        error = error or self._recorder.error or self._refusals()
        consumed = self._table.meter.consumed + self._logs.meter.consumed
        return Finished(str(error or ""), len(self._finder.held), kept, consumed)

    def _let_go(self) -> None:
        """Give back an item whose claim was won without an answer, if that can be known now."""
        with suppress(AwsError):
            item = self._finder.last_answer()
            if item:
                self._table.release(item, {}, item.log_length)

    def _refusals(self) -> ItemRefused | None:
        """What to say of items that DynamoDB would not let be claimed."""
        refused = self._finder.refused
        if not refused:
            return None
        item_id, why = next(iter(refused.items()))
        return ItemRefused(
            f"{count(len(refused), 'item')} cannot be claimed: item {item_id}: {why}"
        )

    # Claiming

    def _next(self) -> Item | None:
        """The next item, claimed; None if there is none left, or none should be claimed."""
        until: float | None = None
        nap = LAG_SECONDS
        while self._ready():
            item = self._claim()
            if item:
                return item
            until = until or monotonic() + max(LAG_SECONDS, self._options.idle_timeout)
            left = until - monotonic()
            if left <= 0 and not self._awaits_inheritance():
                break
            self._control.sleep(min(nap, left) if left > 0 else nap)
            nap = min(2 * nap, IDLE_SECONDS)
        return None

    def _ready(self) -> bool:
        """Wait until there is room for a further claim; False if there must not be one."""
        # In this order: the look takes the recorder's wake-up away, so the count comes after it
        while not self._over() and self._recorder.claims > 1:
            self._control.wait(None)
        if self._recorder.keeps and not self._over():
            self._recorder.deliver(DELIVERY_SECONDS, self._over)
        return not self._over()

    def _over(self) -> bool:
        """Whether no further item should be claimed."""
        self._control.look()
        return bool(self._control.stopping or self._control.start_no_more or self._recorder.error)

    def _claim(self) -> Item | None:
        try:
            return self._retries.retry(
                self._finder.claim, CLAIM_SECONDS, lambda: self._control.stopping, self._say
            )
        except TransientError:
            if self._control.stopping:
                return None
            raise

    def _say(self, fault: TransientError) -> None:
        logger.warning("claiming: %s; trying again", fault)

    def _awaits_inheritance(self) -> bool:
        held = self._finder.held
        return any(held.get(item) == lock for item, lock in self._in_flight.inherited.items())

    # Running

    def _work(self, item: Item) -> None:
        """Run the tasks of a claimed item; results and the claim's end go to the recorder."""
        claim = Claim(item, max(tail_limit(item, self._table.name), 0))
        self._claims.append(claim)
        todo = list(claim.todo())
        if todo and item.attempts > self._options.max_attempts:
            self._abandon(claim, todo[0][0])
            return
        self._recorder.begin()
        Run(
            claim, self._options, self._control, self._recorder, self._environment, self._files
        ).run()

    def _abandon(self, claim: Claim, name: str) -> None:
        """Fail an item whose claims end without an outcome: it kills its workers."""
        item = claim.item
        entry = abandoned_entry(item.attempts - 1)
        results = {name: entry}
        ended = claim.with_results(results).ended
        landed = self._retries.retry(
            lambda: self._table.finish(
                item, State.FAILED, results if item.is_nested else entry, ended
            ),
            CLAIM_SECONDS,
            lambda: self._control.stopping,
        )
        claim.note(results)
        self._settled(claim, str(State.FAILED) if landed else LOST)

    def _settled(self, claim: Claim, state: str) -> None:
        """A claim ended; called by the recorder."""
        self._claims.remove(claim)
        self._in_flight.drop(claim.item.lock_id)
        item = claim.item
        self._control.send(
            ItemEnded(
                item_id=item.item_id,
                task_id=item.task_id,
                state=state,
                done=claim.done,
                failures=tuple(claim.failures),
                all_done=claim.progress.done,
                tasks=item.tasks,
                seconds=monotonic() - claim.began,
            )
        )


class Run:
    """The tasks of one claim, from the first start to the last end."""

    def __init__(
        self,
        claim: Claim,
        options: Options,
        control: Control,
        recorder: Recorder,
        environment: Mapping[str, str],
        files: OutFiles,
    ) -> None:
        item = claim.item
        self._claim = claim
        self._options = options
        self._control = control
        self._recorder = recorder
        self._files = files
        self._environment = {
            **environment,
            "PYANAMO_TABLE": options.table,
            "PYANAMO_ITEM_ID": str(item.item_id),
            "PYANAMO_TASK_ID": item.task_id,
            "PYANAMO_ATTEMPT": str(item.attempts),
            "PYANAMO_LOCK_ID": item.lock_id,
        }
        self._todo = deque(claim.todo())
        self._running: dict[str, Execution] = {}
        self._width = options.nested
        self._held_up = False
        self._fault: HostError | None = None

    def run(self) -> None:
        """Run them; returns once none is left, because they ended or had to be stopped.

        Raises HostError where tasks cannot be started here; the item is given back then.
        """
        ended = False
        try:
            while self._todo or self._running:
                self._apply_stop_requests()
                self._start()
                ended = self._collect()
                # Not with a place free: what ended has been seen, and nothing else would end a wait
                if (self._todo or self._running) and not self._may_start:
                    self._control.wait(self._next_look())
        finally:
            self._kill()
            if not ended:
                self._recorder.end(self._claim)
        if self._fault:
            raise self._fault

    def _apply_stop_requests(self) -> None:
        """StopReason what must be stopped."""
        # What came while the item was being claimed must not start a task
        self._control.look()
        told = self._control.stopping or self._recorder.error or self._claim.lost
        if told or self._control.start_no_more:
            self._todo.clear()
        if self._control.stopping:
            self._recorder.hurry()
        if told:
            grace = 0 if self._control.force_stop else self._options.grace
            for execution in self._running.values():
                execution.stop(StopReason.SHUTDOWN, grace)

    @property
    def _may_start(self) -> bool:
        room = len(self._running) < self._width and self._recorder.has_room
        return bool(self._todo) and room and not self._held_up

    def _start(self) -> None:
        self._held_up = False
        while self._may_start:
            name, script = self._todo.popleft()
            environment = {**self._environment, "PYANAMO_NESTED_TASK": name}
            # Before the attempt: they may be written, and their files closed, right after it
            pending = self._recorder.pending
            try:
                self._running[name] = Execution(
                    script, environment, self._options.timeout, self._options.grace, self._files
                )
            except HostError as fault:
                self._todo.appendleft((name, script))
                if self._running:
                    # The machine has room for fewer at once than -n asks for
                    self._width = len(self._running)
                elif pending:
                    # The files of those that have ended may be what is in the way
                    self._held_up = True
                else:
                    self._give_up(fault)

    def _collect(self) -> bool:
        """Hand in the tasks that ended; whether the last of them was handed in as such."""
        ended = []
        for name, execution in list(self._running.items()):
            if outcome := execution.poll():
                del self._running[name]
                if self._counts(outcome):
                    ended.append((name, outcome))
                else:
                    outcome.close()
        over = not self._todo and not self._running
        for position, (name, outcome) in enumerate(ended, start=1):
            last = over and position == len(ended)
            self._recorder.add(self._claim, name, outcome, last=last)
        return over and bool(ended)

    def _counts(self, outcome: Outcome) -> bool:
        """Whether this is how the task ends, and not how we or this machine ended it."""
        if not outcome.succeeded and not outcome.interrupted and outcome.disk_is_full():
            # It failed for want of space, most likely, and may well pass elsewhere
            self._give_up(HostError("the disk is full; what failed on it is given back"))
            return False
        return not outcome.interrupted

    def _give_up(self, fault: HostError) -> None:
        """Start no more: what runs may well end, the rest is for another machine."""
        self._todo.clear()
        self._fault = fault

    def _next_look(self) -> float | None:
        looks = [execution.next_look() for execution in self._running.values()]
        return min((look for look in looks if look is not None), default=None)

    def _kill(self) -> None:
        """Leave no task behind where an error ends the run."""
        for execution in self._running.values():
            execution.stop(StopReason.SHUTDOWN, grace=0)
        while self._running:
            for name, execution in list(self._running.items()):
                if outcome := execution.poll():
                    outcome.close()
                    del self._running[name]
            sleep(0.01)
