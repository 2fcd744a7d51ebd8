"""The loop of one worker process: claim an item, run its tasks, record their results.

Guaranteed: a task starts only while this process holds its item's claim; when a claim is found
lost, its tasks are stopped and nothing of them is written. Every claim is ended before the process
ends, as long as DynamoDB can be reached. Not guaranteed: that a lost claim is noticed at once.

The main thread claims, starts tasks and waits for them. Other threads record results (`recorder`),
renew leases (`heartbeat`), upload the output of long tasks (`partial_logs`) and, when the parent
asks, count what is left.
"""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic

from anamo.aws.instance import host_metadata, host_name
from anamo.aws.log_store import LogStore
from anamo.aws.retry import RetryPolicy
from anamo.aws.table_writes import Holder
from anamo.core.errors import (
    AnamoError,
    AwsError,
    DescriptorsExhausted,
    HostError,
    ItemRefused,
    TransientError,
    internal,
)
from anamo.core.item import State
from anamo.core.item_size import tail_limit
from anamo.core.log_entry import abandoned_entry
from anamo.worker.claim import Claim
from anamo.worker.claimer import Claimer
from anamo.worker.control import Control
from anamo.worker.finder import ASK_SECONDS, Finder, Found
from anamo.worker.heartbeat import Heartbeat
from anamo.worker.host import HostRecovery, host_fault, start_thread
from anamo.worker.in_flight_claims import InFlightClaims
from anamo.worker.item_run import ItemRun
from anamo.worker.left import count_left
from anamo.worker.log_delivery import LogDelivery, LogOrigin
from anamo.worker.messages import Finished, ItemEnded
from anamo.worker.options import Options
from anamo.worker.orphans import is_subreaper, reap_left_behind
from anamo.worker.output_files import NONE_KEPT, OutputFiles
from anamo.worker.partial_logs import PartialLogs
from anamo.worker.recorder import LOST, Recorder

CLAIM_SECONDS = 900.0
"""How long a claim is retried while DynamoDB cannot be reached."""

DESCRIPTOR_SECONDS = 5.0
"""How long a claim is retried while no descriptor is left: those of results that wait to be written
are closed by then."""

DELIVERY_SECONDS = 900.0
"""How long a worker claims nothing and waits for S3 to take each log that it has kept."""

logger = logging.getLogger(__name__)


class Worker:
    """Works through tables until nothing is left, or it should stop.

    It stays until the leases of the claims in `in_flight.inherited` have ended, and it, or another
    worker, has taken them over.
    """

    def __init__(
        self,
        options: Options,
        holder: Holder,
        control: Control,
        claimers: Sequence[Claimer],
        logs: LogStore,
        in_flight: InFlightClaims,
    ) -> None:
        self._options = options
        self._control = control
        self._logs = logs
        self._in_flight = in_flight
        self._claimers = claimers
        self._finder = Finder(claimers, options.idle_timeout)
        self._retries = RetryPolicy(control.sleep)
        self._claims: list[Claim] = []
        origin = LogOrigin(options.prefix, host_name(), host_metadata())
        self._delivery = LogDelivery(logs, origin, control)
        clock = claimers[0].table.clock
        self._heartbeat = Heartbeat(clock, holder, lambda: list(self._claims), control.wake)
        self._partial_logs = PartialLogs(
            logs,
            origin,
            options.partial_logs,
            lambda: list(self._claims),
            self._heartbeat.renew_now,
        )
        self._recorder = Recorder(
            self._delivery, self._partial_logs, options.retries, control, self._claim_ended
        )
        self._host = HostRecovery(host_fault, control.sleep)
        # Unless this process is a subreaper, nobody could tell whether a task still writes to them
        self._output_files = OutputFiles() if is_subreaper() else NONE_KEPT
        self._environment = {"PYANAMO": options.program, **os.environ}
        control.count_left = self._count_left

    def run(self) -> Finished:
        """Work until nothing is left or the process should end.

        Returns:
            The message for the parent; an error is in it, none is raised.
        """
        error: AnamoError | None = None
        try:
            while found := self._next():
                self._work(found)
        except AnamoError as fault:
            error = fault
        except Exception as fault:
            # Tasks that have ended are still recorded
            logger.debug("worker", exc_info=True)
            error = internal(fault)
        self._release_last_won()
        recorded = self._recorder.close()
        self._release_rest(
            "its end could not be recorded" if recorded else "no time left to upload its log"
        )
        kept = self._delivery.close()
        self._partial_logs.close()
        self._heartbeat.close()
        error = error or self._recorder.error
        consumed = sum(
            (each.table.meter.consumed for each in self._claimers), self._logs.meter.consumed
        )
        return Finished(
            error=str(error or ""),
            locked_by_others=self._finder.locked,
            kept=kept,
            lost_logs=tuple(self._delivery.lost_logs),
            consumed=consumed,
            own_signal=self._control.own_signal,
            throttles={
                each.table.name: each.table.meter.take_throttles() for each in self._claimers
            },
            refused={
                (each.table.name, item_id): refusal
                for each in self._claimers
                for item_id, refusal in each.refused.items()
            },
        )

    def _release_rest(self, why: str) -> None:
        """Release the claims whose end nobody has recorded: time ran out, or an error came between.

        If the recorder is still at work on one, its write or this one comes first, and the other
        does not apply.

        Args:
            why: The reason, for the message.
        """
        for claim in list(self._claims):
            claim.lost = True
            item_id = claim.item.item_id
            try:
                released = claim.table.release(claim.item, {}, claim.progress.ended)
            except AwsError as fault:
                logger.warning(
                    "item %d: not released, so it stays locked until its lease ends: %s",
                    item_id,
                    fault,
                )
                continue
            self._claim_ended(claim, State.TODO.value if released else LOST)
            if released:
                logger.warning("item %d: released; %s", item_id, why)

    def _release_last_won(self) -> None:
        """Release an item whose claim was won but whose reply was lost, if that is known by now."""
        for claimer in self._claimers:
            with suppress(AwsError):
                if item := claimer.last_won():
                    claimer.table.release(item, {}, 0)

    def _count_left(self) -> None:
        """Count what is left and tell the parent: in another thread, so nothing waits for it."""

        def count_and_send() -> None:
            with suppress(AwsError):
                tables = [each.table for each in self._claimers]
                self._control.send(count_left(tables))

        with suppress(HostError):
            start_thread("count", count_and_send)

    # Claiming

    def _next(self) -> Found | None:
        """The next item, claimed; None if there is none left, or none should be claimed.

        A process for which the indexes list nothing searches further only in its turn.
        """
        finder, turn = self._finder, self._control.turn
        finder.begin()
        while self._ready():
            if turn.mine:
                found = self._search()
                if found or finder.over:
                    return found
            elif turn.asked:
                self._control.wait(monotonic() + ASK_SECONDS)
            elif turn.nothing_left and finder.agrees:
                break
            elif found := self._claim(finder.claim):
                return found
            elif self._recorder.claims:
                self._control.sleep(ASK_SECONDS, lambda: self._recorder.claims > 0)
                # Its item may have been given back
                finder.begin()
            else:
                turn.ask()
        return None

    def _search(self) -> Found | None:
        """Search the tables, since it is this process's turn. A claim ends the turn, and so does
        finding that nothing is left; otherwise wait until the next search is due.
        """
        finder, turn = self._finder, self._control.turn
        if turn.news:
            turn.news = False
            finder.refresh()
        found = self._claim(finder.search)
        if found or finder.over:
            turn.end(nothing_left=None if found else finder.evidence_since)
        else:
            self._control.sleep(finder.pause)
        return found

    def _ready(self) -> bool:
        """Wait until another item may be claimed; False if none should be."""
        # In this order: `_over` consumes the recorder's wake-up, so the count is read after it. An
        # item with a host error is given back before the next is claimed
        while not self._over() and (
            self._recorder.claims > 1 or any(claim.host_error for claim in list(self._claims))
        ):
            self._control.wait(None)
        self._host.wait(self._over)
        if self._delivery.has_kept_logs and not self._over():
            # Another process may search meanwhile
            self._control.turn.end()
            self._delivery.deliver(DELIVERY_SECONDS, self._over)
        return not self._over()

    def _over(self) -> bool:
        """Whether no further item should be claimed."""
        self._control.check()
        reap_left_behind(set())
        return bool(self._control.stopping or self._control.start_no_more or self._recorder.error)

    def _claim(self, claim: Callable[[], Found | None]) -> Found | None:
        def stop() -> bool:
            return self._control.stopping

        try:
            return retry_claim(claim, self._retries, stop, self._say)
        except TransientError:
            if self._control.stopping:
                return None
            raise

    def _say(self, fault: TransientError) -> None:
        # One of the descriptors that are kept may be the one that is needed
        self._output_files.close()
        logger.warning("claiming: %s; trying again", fault)

    # Running

    def _work(self, found: Found) -> None:
        """Run a claimed item; hand its results and the end of the claim to the recorder."""
        item = found.item
        claim = Claim(item, max(tail_limit(item, found.table.name), 0), found.table)
        self._claims.append(claim)
        self._control.turn.distrust()
        self._in_flight.won(item.lock_id, item.task_id)
        todo = claim.todo()
        if todo and item.attempts > self._options.max_attempts:
            self._abandon(claim, todo[0][0])
            return
        self._recorder.begin()
        ItemRun(
            claim,
            self._options,
            self._control,
            self._recorder,
            self._environment,
            self._output_files,
        ).run()

    def _abandon(self, claim: Claim, name: str) -> None:
        """Fail an item whose claims keep ending without an outcome: it kills its workers, or no
        host can run it.
        """
        item = claim.item
        entry = abandoned_entry(item.attempts - 1, item.host_errors, item.host_error)
        results = {name: entry}
        self._partial_logs.drop(claim)
        after = claim.with_results(results)
        finish = partial(
            claim.table.finish,
            item,
            State.FAILED,
            results if item.is_nested else entry,
            after.ended,
            len(after.failed_tasks),
        )
        try:
            written = self._retries.retry(finish, CLAIM_SECONDS, lambda: self._control.stopping)
        except ItemRefused as refusal:
            # As results are: also while the process should end
            retries = RetryPolicy(self._control.sleep_on)
            self._claim_ended(claim, self._recorder.fail(claim, refusal, retries))
            return
        except TransientError:
            if self._control.stopping:
                # It is released before the process ends, if DynamoDB can be reached by then
                return
            raise
        claim.note(results)
        self._claim_ended(claim, State.FAILED.value if written else LOST)

    def _claim_ended(self, claim: Claim, state: str) -> None:
        """Note that a claim ended. For the recorder's thread and the main one."""
        # Before it is removed: the main thread waits for that, and then for the host
        if claim.host_error:
            self._host.failed(claim.host_error)
        elif claim.done:
            self._host.succeeded()
        try:
            self._claims.remove(claim)
        except ValueError:
            # The other thread has ended it
            return
        item = claim.item
        self._control.send(
            ItemEnded(
                table=claim.table.name,
                item_id=item.item_id,
                task_id=item.task_id,
                lock_id=item.lock_id,
                state=state,
                done=claim.done,
                failures=tuple(claim.failures),
                all_done=claim.progress.done,
                tasks=item.tasks,
                seconds=monotonic() - claim.began,
                # Where an item is released, tasks that have failed do not run again
                retried=state == State.TODO and claim.progress.complete,
                throttles=claim.table.meter.take_throttles(),
            )
        )


def retry_claim(
    claim: Callable[[], Found | None],
    retries: RetryPolicy,
    stop: Callable[[], bool],
    say: Callable[[TransientError], object],
) -> Found | None:
    """Retry a claim for CLAIM_SECONDS, and a lack of descriptors for DESCRIPTOR_SECONDS each time.

    Args:
        claim: Claims an item, if there is one.
        retries: How to wait between attempts.
        stop: Asked after each error; true ends the retries.
        say: Told of errors.

    Raises:
        TransientError: The last error.
    """

    def claim_with_descriptors() -> Found | None:
        return retries.retry(claim, DESCRIPTOR_SECONDS, stop, say, only=DescriptorsExhausted)

    return retries.retry(
        claim_with_descriptors, CLAIM_SECONDS, stop, say, not_retried=(DescriptorsExhausted,)
    )
