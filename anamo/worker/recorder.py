"""Recording results by group commit: results that are ready together are written together.

Guaranteed: log before record: the object with the logs of a group is put in S3 before its results
are written to the table; if S3 refuses it, the log entries say so and the log is kept on disk.
Results of a claim are written in the order in which they were handed in. Not guaranteed: that each
result is written at once.

A thread does it while tasks run on. Results that come during a write form the next group: long
tasks are recorded one by one, short ones in groups.
"""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep

from anamo.aws.retry import RetryPolicy
from anamo.aws.update import GROUP_LIMIT
from anamo.core.errors import (
    AnamoError,
    AwsError,
    ItemRefused,
    TransientError,
    internal,
    with_advice,
)
from anamo.core.item import SINGLE, State
from anamo.core.log_entry import LogEntry
from anamo.core.pacing import BRIEF_SECONDS, LINGER_SECONDS, linger_seconds
from anamo.worker.claim import Claim
from anamo.worker.control import Control
from anamo.worker.host import start_thread
from anamo.worker.log_delivery import LogDelivery
from anamo.worker.partial_logs import PartialLogs
from anamo.worker.task_process import Outcome

RECORD_SECONDS = 3600.0
"""How long a write of results is retried: its tasks, which may have taken days, would have to run
again."""

MOST_PENDING = 2 * GROUP_LIMIT
"""Results that wait to be written before no further task is started: each has two open files."""

LOST = "lost"
"""Instead of a state, for a claim whose item another worker has, or that could not be ended."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Result:
    """A task that ended or, without an outcome, just the end of a claim."""

    claim: Claim
    name: str
    outcome: Outcome | None
    last: bool

    @property
    def brief(self) -> bool:
        """Whether running its task again would take little time."""
        return self.outcome is not None and self.outcome.seconds < BRIEF_SECONDS

    @property
    def linger(self) -> float:
        """Seconds that it may wait for further results."""
        return linger_seconds(self.outcome.seconds) if self.outcome else LINGER_SECONDS


class Recorder:
    """Writes results and ends claims, in a thread of its own.

    Attributes:
        error: What made it give up, if anything. Results that are handed in afterwards are not
            recorded; their tasks run again once the item is released or its lease has ended.
        claims: How many claims have begun and not ended.
        pending: How many results wait to be written, each with two open files.
    """

    def __init__(
        self,
        logs: LogDelivery,
        partial_logs: PartialLogs,
        retries: int,
        control: Control,
        claim_ended: Callable[[Claim, str], object],
    ) -> None:
        """Start the thread.

        Args:
            logs: Brings their logs to S3.
            partial_logs: Deletes the output so far of items that end.
            retries: How often a failed item is given back before it stays failed.
            control: Woken whenever something was written.
            claim_ended: Called in the recorder's thread with each claim that ended and the state
                its item has then, or LOST.
        """
        self.error: AnamoError | None = None
        self.claims = 0
        self.pending = 0
        self._logs = logs
        self._partial_logs = partial_logs
        self._item_retries = retries
        self._control = control
        self._claim_ended = claim_ended
        self._retries = RetryPolicy(self._sleep)
        self._waits_shortened = threading.Event()
        self._ended = False
        self._queue: queue.SimpleQueue[_Result | None] = queue.SimpleQueue()
        self._complete = threading.Event()
        self._counting = threading.Lock()
        start_thread("recorder", self._run)

    # For the main thread

    def begin(self) -> None:
        """Count a claim whose end will be handed in."""
        with self._counting:
            self.claims += 1

    def add(self, claim: Claim, name: str, outcome: Outcome, *, last: bool) -> None:
        """Hand in a task that ended.

        Args:
            claim: Its item's claim.
            name: The task's name.
            outcome: How it ended.
            last: Whether it is the claim's last result.
        """
        result = _Result(claim, name, outcome, last)
        with self._counting:
            self.pending += 1
        self._queue.put(result)
        if last or self.pending >= GROUP_LIMIT or not result.brief:
            self._complete.set()

    def end(self, claim: Claim) -> None:
        """Hand in the end of a claim without a further result."""
        self._queue.put(_Result(claim, SINGLE, None, last=True))
        self._complete.set()

    @property
    def has_room(self) -> bool:
        """Whether a further task may be started."""
        return self.pending < MOST_PENDING

    def shorten_waits(self) -> None:
        """From now on, wait at most half a second between attempts: the process should end."""
        self._waits_shortened.set()

    def close(self) -> bool:
        """Write what has been handed in, and offer the kept logs to S3 once more.

        A log that S3 has refused is waited for: it is about to be kept.

        Returns:
            Whether the thread has ended. It has not if the process must end first: packing or
            uploading a large log, or waiting for S3 to respond, may take longer than is left.
        """
        self._queue.put(None)
        # A join would not see what the parent sends meanwhile
        while not self._ended:
            if self._control.stopping:
                self.shorten_waits()
            leave_at = None if self._logs.refused else self._control.leave_at
            if leave_at is not None and monotonic() >= leave_at:
                return False
            self._control.wait(leave_at)
        return True

    # For the recorder's thread

    def _run(self) -> None:
        following: _Result | None = None
        try:
            while (first := following or self._queue.get()) is not None:
                following = None
                try:
                    group, following = self._gather(first)
                    self._commit(first.claim, group)
                except Exception as error:
                    # The thread continues, since it must release the items of the other claims
                    logger.debug("recorder", exc_info=True)
                    self.error = self.error or internal(error)
                    self._control.wake()
            self._logs.offer()
        finally:
            self._ended = True
            self._control.wake()

    def _gather(self, first: _Result) -> tuple[list[_Result], _Result | None]:
        """The results to write together with the first; also the next result, if it was read."""
        group = [first]
        until = monotonic() + first.linger
        while not group[-1].last and len(group) < GROUP_LIMIT:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                if not self._wait_for_more(until - monotonic()):
                    break
                continue
            if following is None:
                # The end of the queue: `_run` must read it, too
                self._queue.put(None)
                break
            if following.claim is not first.claim:
                return group, following
            group.append(following)
            until = min(until, monotonic() + following.linger)
        return group, None

    def _wait_for_more(self, seconds: float) -> bool:
        """Wait for the time given, or until a group is complete; False if the time was over.

        Waking for each result would cost as much as all else that is done for it.
        """
        if seconds <= 0:
            return False
        self._complete.wait(seconds)
        self._complete.clear()
        return True

    def _commit(self, claim: Claim, group: Sequence[_Result]) -> None:
        """Write a group. Whatever goes wrong, its results no longer count as pending afterwards."""
        outcomes = {result.name: result.outcome for result in group if result.outcome}
        last = group[-1].last
        try:
            state = self._write(claim, outcomes, last)
        except ItemRefused as refusal:
            state = self.fail(claim, refusal, self._retries)
        except AnamoError as error:
            state = self._give_up(claim, error, last)
        except Exception as error:
            logger.debug("recorder", exc_info=True)
            state = self._give_up(claim, internal(error), last)
        for outcome in outcomes.values():
            outcome.close()
        with self._counting:
            self.pending -= len(outcomes)
            if last:
                self.claims -= 1
        if last:
            self._claim_ended(claim, state)
        self._control.wake()

    def fail(self, claim: Claim, refusal: ItemRefused, retries: RetryPolicy) -> str:
        """End an item whose results DynamoDB refuses for good: otherwise its tasks would run for
        ever. For any thread.

        Args:
            claim: The item's claim.
            refusal: What DynamoDB says.
            retries: How the calling thread waits between attempts.

        Returns:
            The state of the item then, or LOST.
        """
        claim.lost = True
        logger.warning("item %d has failed: %s", claim.item.item_id, refusal)
        self._partial_logs.drop(claim)
        ended, failed = claim.progress.ended, len(claim.progress.failed_tasks)
        finish = partial(claim.table.finish, claim.item, State.FAILED, {}, ended, failed)
        try:
            written = retries.retry(
                finish, RECORD_SECONDS, lambda: self._control.out_of_time, _warn
            )
        except AwsError as fault:
            # The item stays locked, so this worker must not end with 0
            self.error = self.error or fault
            return LOST
        if not written:
            return LOST
        claim.failures.append((SINGLE, "its results were refused"))
        claim.final_state = State.FAILED.value
        return claim.final_state

    def _give_up(self, claim: Claim, error: AnamoError, last: bool) -> str:
        """Remember the error, and release the item if that is still possible."""
        self.error = self.error or error
        if last:
            with suppress(AnamoError):
                if claim.table.release(claim.item, {}, claim.progress.ended):
                    return State.TODO.value
        return LOST

    def _write(self, claim: Claim, outcomes: Mapping[str, Outcome], last: bool) -> str:
        """Put the logs in S3 and write the results to the table; the state of the item then."""
        if claim.lost:
            return claim.final_state or LOST
        if self.error:
            return self._give_up(claim, self.error, last)
        try:
            entries = self._logs.store(claim, outcomes, self._retries) if outcomes else {}
        except OSError as error:
            # Without their logs they do not count as ended, and run again
            claim.host_error = (
                claim.host_error or f"a log could not be written: {with_advice(error)}"
            )
            entries = {}
            if not last:
                return State.LOCKED.value
        state, write = self._next(claim, entries, last)
        if state in (State.DONE, State.FAILED):
            # Before the end is written: if this process dies in between, the item still says so
            self._partial_logs.drop(claim)
        written = self._retries.retry(
            write, RECORD_SECONDS, lambda: self._control.out_of_time, _warn
        )
        if not written:
            claim.lost = True
            return LOST
        claim.note(entries)
        return state

    def _next(
        self, claim: Claim, entries: Mapping[str, LogEntry], last: bool
    ) -> tuple[str, Callable[[], bool]]:
        """The item's next state, and the write that brings it about."""
        item, table, progress = claim.item, claim.table, claim.with_results(entries)
        ended = progress.ended
        results = entries if item.is_nested or not entries else entries[SINGLE]
        if not last:
            return State.LOCKED.value, lambda: table.record(item, entries, ended)
        if not progress.complete and claim.host_error:
            why = claim.host_error
            return State.TODO.value, lambda: table.give_back(item, results, ended, why)
        if not progress.complete:
            return State.TODO.value, lambda: table.release(item, results, ended)
        failed = progress.failed_tasks
        if failed and item.failures < self._item_retries:
            again = failed if item.is_nested else ()
            return State.TODO.value, lambda: table.retry(item, results, progress.done, again)
        state = State.FAILED if failed else State.DONE
        return state.value, lambda: table.finish(item, state, results, ended, len(failed))

    def _sleep(self, seconds: float) -> None:
        if self._waits_shortened.wait(seconds):
            # Retry often, but do not spin
            sleep(min(seconds, 0.5))


def _warn(fault: TransientError) -> None:
    logger.warning("recording: %s; trying again", fault)
