"""Group commit: results that are ready together are written together.

Guaranteed: what the table says has ended has its whole log in S3, since each write of results is
preceded by the object that holds their logs; if S3 refuses it, the entry says so and the log stays
on disk until it is delivered. Results of a claim are written in the order they came.

A thread of the worker process does it, so that tasks run on meanwhile. While one write is under
way the next results gather: long tasks are recorded one by one, short ones in groups.
"""

import logging
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from anamo import __version__
from anamo.aws.log_store import Ended, LogStore, Packed, pack
from anamo.aws.retry import RetryPolicy
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import GROUP_LIMIT, Holder
from anamo.core.errors import (
    AnamoError,
    AwsError,
    HostError,
    ItemRefused,
    TransientError,
    internal,
)
from anamo.core.item import SINGLE, State
from anamo.core.log_entry import NOTE_LIMIT, LogEntry, log_key
from anamo.worker.claim import Claim
from anamo.worker.control import Control
from anamo.worker.task_process import Outcome

LINGER_SECONDS = 0.05
"""How long a result waits for others of its item, at least: fifty short tasks cost a few writes
instead of fifty."""

BRIEF_SECONDS = 1.0
BRIEF_FACTOR = 5
"""The result of a task that took less than this waits that many times as long as it took, at most
this long. Should the worker die meanwhile, running such tasks again is cheaper than to write the
whole item for each of them."""

LOG_SECONDS = 120.0
"""How long a log is offered to S3 before its outcome is recorded without it."""

RECORD_SECONDS = 3600.0
"""How long a result is offered to DynamoDB: its task, which may have taken days, would have to be
run again."""

MOST_PENDING = 2 * GROUP_LIMIT
"""Results that wait to be written before no further task is started; each has two open files."""

LOST = "lost"
"""What `settled` is told of a claim whose item another worker has, or that could not be ended."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """holder: who claims. prefix: of the log keys. host: this machine's name. retries: how often a
    failed item is given back before it stays failed. host_metadata: lines of the logs' headers.
    """

    holder: Holder
    prefix: str
    host: str
    retries: int = 0
    host_metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Result:
    """A task that ended; or, without outcome, only the end of a claim."""

    claim: Claim
    name: str
    outcome: Outcome | None
    last: bool

    @property
    def brief(self) -> bool:
        """Whether its task could soon be run again."""
        return self.outcome is not None and self.outcome.seconds < BRIEF_SECONDS

    @property
    def linger(self) -> float:
        """Seconds that it may wait for others."""
        if not self.outcome or not self.brief:
            return LINGER_SECONDS
        return min(max(BRIEF_FACTOR * self.outcome.seconds, LINGER_SECONDS), BRIEF_SECONDS)


class Recorder:
    """Writes results and ends claims. `settled` is called in its thread with each claim that ended
    and the state its item has then, or "lost".

    error: what made it give up, if anything. What is handed in afterwards is not recorded, and
    runs again once its item is released or its lease has ended.
    """

    def __init__(
        self,
        table: WorkflowTable,
        logs: LogStore,
        options: RecorderOptions,
        control: Control,
        settled: Callable[[Claim, str], object],
    ) -> None:
        self.error: AnamoError | None = None
        self._table = table
        self._logs = logs
        self._options = options
        self._control = control
        self._settled = settled
        self._retries = RetryPolicy(self._sleep)
        # For the main thread, which hears of signals while it waits
        self._delivery = RetryPolicy(control.sleep)
        self._hurry = threading.Event()
        self._ended = False
        self._queue: queue.SimpleQueue[_Result | None] = queue.SimpleQueue()
        self._complete = threading.Event()
        self._counting = threading.Lock()
        self._pending = 0
        self._claims = 0
        self._kept: list[Packed] = []
        self._directory: Path | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    # For the main thread

    def begin(self) -> None:
        """A claim begins; its end will be handed in."""
        with self._counting:
            self._claims += 1

    def add(self, claim: Claim, name: str, outcome: Outcome, *, last: bool) -> None:
        """Hand in a task that ended; `last` if nothing more will come of this claim."""
        result = _Result(claim, name, outcome, last)
        with self._counting:
            self._pending += 1
        self._queue.put(result)
        if last or self._pending >= GROUP_LIMIT or not result.brief:
            self._complete.set()

    def end(self, claim: Claim) -> None:
        """Hand in that nothing more will come of this claim."""
        self._queue.put(_Result(claim, SINGLE, None, last=True))
        self._complete.set()

    @property
    def claims(self) -> int:
        """Claims that have begun and not ended."""
        return self._claims

    @property
    def pending(self) -> int:
        """Results that wait to be written, each with two open files."""
        return self._pending

    @property
    def has_room(self) -> bool:
        """Whether a further task may be started."""
        return self._pending < MOST_PENDING

    @property
    def keeps(self) -> bool:
        """Whether there are logs that S3 has not taken yet."""
        return bool(self._kept)

    def hurry(self) -> None:
        """Cut waits short, since the process is to end."""
        self._hurry.set()

    def deliver(self, seconds: float, stop: Callable[[], bool]) -> None:
        """Offer the logs that were kept to S3 again, for that long each or until `stop()`.

        Raises the AwsError that is why S3 does not take one, unless told to stop.
        """
        while self._kept:
            put = partial(self._logs.put, self._kept[0])
            try:
                self._delivery.retry(put, seconds, stop)
            except TransientError:
                if stop():
                    return
                raise
            _discard(self._kept.pop(0))

    def close(self) -> tuple[str, ...]:
        """Write what is there, end; the paths of logs that S3 did not take."""
        self._queue.put(None)
        # Not by joining it: a signal that came to the parent is read in no other place
        while not self._ended:
            if self._control.stopping:
                self.hurry()
            self._control.wait(None)
        self._thread.join()
        with suppress(AwsError):
            self.deliver(0, lambda: True)
        if self._directory and not self._kept:
            shutil.rmtree(self._directory, ignore_errors=True)
        return tuple(str(packed.body) for packed in self._kept)

    # For the thread

    def _run(self) -> None:
        following: _Result | None = None
        try:
            while (first := following or self._queue.get()) is not None:
                group, following = self._gather(first)
                self._commit(first.claim, group)
        except Exception as error:
            logger.debug("recorder", exc_info=True)
            self.error = self.error or internal(error)
        finally:
            self._ended = True
            self._control.wake()

    def _gather(self, first: _Result) -> tuple[list[_Result], _Result | None]:
        """The results to be written together with the first one."""
        group = [first]
        until = monotonic() + first.linger
        while not group[-1].last and len(group) < GROUP_LIMIT:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                if not self._wait_for_more(until - monotonic()):
                    break
                continue
            if following is None or following.claim is not first.claim:
                return group, following
            group.append(following)
            until = min(until, monotonic() + following.linger)
        return group, None

    def _wait_for_more(self, seconds: float) -> bool:
        """Wait until the linger is over, or cut short; False if it was over already.

        Waking for each result would cost as much as the rest of what is done for it.
        """
        if seconds <= 0:
            return False
        self._complete.wait(seconds)
        self._complete.clear()
        return True

    def _commit(self, claim: Claim, group: Sequence[_Result]) -> None:
        """Write a group; whatever goes wrong, it is off the books afterwards."""
        results = [result for result in group if result.outcome]
        last = group[-1].last
        try:
            state = self._write(claim, results, last)
        except ItemRefused as refusal:
            state = self._fail(claim, refusal)
        except (OSError, AnamoError) as error:
            state = self._give_up(claim, error, last)
        except Exception as error:
            logger.debug("recorder", exc_info=True)
            state = self._give_up(claim, internal(error), last)
        for result in results:
            if result.outcome:
                result.outcome.close()
        with self._counting:
            self._pending -= len(results)
            self._claims -= last
        if last:
            self._settled(claim, state)
        self._control.wake()

    def _fail(self, claim: Claim, refusal: ItemRefused) -> str:
        """End an item whose results DynamoDB will never take; its tasks would run for ever."""
        claim.lost = True
        logger.warning("item %d has failed: %s", claim.item.item_id, refusal)
        with suppress(AwsError):
            if self._table.finish(claim.item, State.FAILED, {}, claim.progress.ended):
                claim.failures.append((SINGLE, "its results were refused"))
                claim.settled = State.FAILED.value
                return claim.settled
        return LOST

    def _give_up(self, claim: Claim, error: Exception, last: bool) -> str:
        """Remember why, and give the item back if that is still possible."""
        if isinstance(error, OSError):
            error = HostError(f"a log could not be written: {error}")
        self.error = self.error or error  # type: ignore[assignment]
        if last:
            with suppress(AnamoError):
                if self._table.release(claim.item, {}, claim.progress.ended):
                    return State.TODO.value
        return LOST

    def _write(self, claim: Claim, results: Sequence[_Result], last: bool) -> str:
        """Bring the results' logs to S3 and the results to the table; the state of the item."""
        if claim.lost:
            return claim.settled or LOST
        if self.error:
            return self._give_up(claim, self.error, last)
        entries = self._store(claim, results) if results else {}
        state, write = self._next(claim, entries, last)
        landed = self._retries.retry(
            write, RECORD_SECONDS, self._out_of_time, self._say("recording")
        )
        if not landed:
            claim.lost = True
            return LOST
        claim.note(entries)
        return state

    def _next(
        self, claim: Claim, entries: Mapping[str, LogEntry], last: bool
    ) -> tuple[str, Callable[[], bool]]:
        """The state that the item gets, and the write that does it."""
        item, table, progress = claim.item, self._table, claim.with_results(entries)
        ended = progress.ended
        results = entries if item.is_nested or not entries else entries[SINGLE]
        if not last:
            holder = self._options.holder
            return State.LOCKED.value, lambda: table.record(item, holder, entries, ended)
        if not progress.complete:
            return State.TODO.value, lambda: table.release(item, results, ended)
        if progress.failed and item.failures < self._options.retries:
            again = claim.to_be_retried(progress)
            left = sum(task.status == State.DONE for task in again)
            return State.TODO.value, lambda: table.retry(item, results, left, again)
        state = State.FAILED if progress.failed else State.DONE
        return state.value, lambda: table.finish(item, state, results, ended)

    def _store(self, claim: Claim, results: Sequence[_Result]) -> dict[str, LogEntry]:
        """Bring the results' logs to S3 in one object; their entries by task."""
        item = claim.item
        key = log_key(
            self._options.prefix, self._table.name, item, item.lock_id, results[0].name or None
        )
        ended = [
            Ended(result.outcome, self._header(claim, result.name, result.outcome))
            for result in results
            if result.outcome
        ]
        packed = pack(key, self._logs.address(key), ended, claim.tail, self._scratch)
        entries = packed.entries
        try:
            self._retries.retry(
                lambda: self._logs.put(packed), LOG_SECONDS, self._out_of_time, self._say("logs")
            )
        except AwsError as fault:
            entries = self._keep(packed, fault)
        else:
            _discard(packed)
        return {result.name: entry for result, entry in zip(results, entries, strict=True)}

    def _header(self, claim: Claim, name: str, outcome: Outcome) -> dict[str, str]:
        item = claim.item
        return {
            "PyAnamo": __version__,
            "table": self._table.name,
            "taskID": item.task_id,
            "itemID": str(item.item_id),
            **({"nested task": name} if name else {}),
            "command": outcome.script,
            "instance": item.instance_id,
            "host": self._options.host,
            **self._options.host_metadata,
            "lockID": item.lock_id,
            "attempt": str(item.attempts),
            "started": outcome.started,
            "ended": outcome.ended,
            "seconds": f"{outcome.seconds:.3f}",
            "peak memory": f"{outcome.max_rss_mb:.1f} MB",
            "status": outcome.status,
            "exit code": str(outcome.exit_code),
        }

    def _keep(self, packed: Packed, fault: AwsError) -> tuple[LogEntry, ...]:
        """Leave the log on disk until S3 takes it; its entries with a note that says so."""
        if isinstance(packed.body, bytes):
            path = self._scratch() / packed.key.rpartition("/")[2]
            path.write_bytes(packed.body)
            packed = replace(packed, body=path)
        self._kept.append(packed)
        logger.warning("log kept in %s: %s", packed.body, fault)
        note = f"{type(fault).__name__}; kept at {self._options.host}:{packed.body!s}"
        note = note.encode()[:NOTE_LIMIT].decode("utf-8", "ignore")
        return tuple(replace(entry, s3_note=note) for entry in packed.entries)

    def _scratch(self) -> Path:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="pyanamo-"))
        return self._directory

    def _sleep(self, seconds: float) -> None:
        if not self._hurry.wait(seconds):
            return
        # Told to hurry: look often, but do not spin
        sleep(min(seconds, 0.5))

    def _out_of_time(self) -> bool:
        return self._control.out_of_time

    def _say(self, what: str) -> Callable[[TransientError], None]:
        return lambda fault: logger.warning("%s: %s; trying again", what, fault)


def _discard(packed: Packed) -> None:
    if isinstance(packed.body, Path):
        packed.body.unlink(missing_ok=True)
