"""Retrying requests after transient errors, by tenacity.

Guaranteed: waits grow and have full jitter, so that a thousand workers cut off together do not come
back together. Not guaranteed: that a request is sent only once; the requests given here must be
harmless when repeated, which writes are by their conditions.
"""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Protocol, TypeVar, cast

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

from anamo.aws.session import DYNAMODB_READ_SECONDS
from anamo.core.errors import Throttled, TransientError
from anamo.core.text import format_duration

T = TypeVar("T")


class Retry(Protocol):
    """Sends a request, and again if it fails."""

    def __call__(self, request: Callable[[], T]) -> T:
        """Return the request's result."""


def once(request: Callable[[], T]) -> T:
    """Send a request once."""
    return request()


FIRST = 0.2
"""Seconds: the upper end of the first wait; botocore has retried on its own by then."""

LONGEST = 15.0
"""Seconds: the upper end of any wait."""


class RetryPolicy:
    """Exponential backoff with full jitter. Threads may share it."""

    def __init__(self, sleep: Callable[[float], object] = time.sleep) -> None:
        self._sleep = sleep

    def retry(
        self,
        request: Callable[[], T],
        seconds: float,
        stop: Callable[[], bool] = lambda: False,
        say: Callable[[TransientError], object] = lambda error: None,
        not_retried: tuple[type[TransientError], ...] = (),
        only: type[TransientError] = TransientError,
    ) -> T:
        """Send a request until it succeeds.

        Args:
            request: Sends it once.
            seconds: How long a transient error is retried, counted from the first attempt.
            stop: Asked after each error; true ends the retries.
            say: Told of the first error only.
            not_retried: Transient errors that are raised at once.
            only: The errors that are retried, among those that may pass.

        Returns:
            The request's result.

        Raises:
            TransientError: The last error, once the time is over or `stop()` is true. An error that
                is not retried is raised immediately.
        """

        def may_pass(fault: BaseException) -> bool:
            return isinstance(fault, only) and not isinstance(fault, not_retried)

        def note(state: RetryCallState) -> None:
            if state.attempt_number == 1 and state.outcome:
                say(cast(TransientError, state.outcome.exception()))

        def sleep(wait: float) -> None:
            self._sleep(wait)

        out_of_time = stop_after_delay(seconds)
        return Retrying(
            sleep=sleep,
            retry=retry_if_exception(may_pass),
            wait=wait_random_exponential(multiplier=FIRST, max=LONGEST),
            stop=lambda state: stop() or out_of_time(state),
            after=note,
            reraise=True,
        )(request)


THROTTLED_SECONDS = 600.0
"""A page of 1 MB takes 128 read units; at ten units a second, other pages may come first."""

FAULT_SECONDS = 15.0
"""For errors that either pass soon or persist."""

UNATTENDED_SECONDS = 3600.0
"""For the same errors in a command that runs for hours, which nobody starts again at night."""


SILENT_SECONDS = 5.0
"""After which a command reports what it is waiting for."""

READING_SECONDS = 3.0
"""After which a command reports on a terminal how much it has read; twice as long each time."""


class OperatorRetry:
    """The retry policy of an operator's commands: it waits long for throttling to end, and briefly
    for other errors.

    Threads may share it.

    Args:
        say: Told of throttling once, of silence once, and on a terminal of the first slow read of
            each table.
        sleep: Waits that many seconds between two attempts; by default, no longer than until
            `stopped` is set.
        stopped: While it is set, no request is retried.

    Attributes:
        where: Where requests are sent, as messages name it.
        fault_seconds: How long errors other than throttling are retried: FAULT_SECONDS, or
            UNATTENDED_SECONDS.
    """

    def __init__(
        self,
        say: Callable[[str], object],
        sleep: Callable[[float], object] | None = None,
        stopped: Event | None = None,
    ) -> None:
        self.where = "DynamoDB"
        self.fault_seconds = FAULT_SECONDS
        self._say = say
        self._stopped = stopped or Event()
        self._retries = RetryPolicy(sleep or self._stopped.wait)
        self._stop = self._stopped.is_set
        self._said = self._cut_off = False
        # Since when a request waits, for how long at most, and for what
        self._waits: list[tuple[float, float, str]] = []
        self._lock = Lock()
        self._watched = self._reported = False
        self._read: set[str] = set()

    def __call__(self, request: Callable[[], T]) -> T:
        """The request's result. Raises one of `errors` once it fails for good."""

        def briefly() -> T:
            if self.fault_seconds > FAULT_SECONDS:
                return self._retries.retry(
                    request, self.fault_seconds, self._stop, self._note_outage, (Throttled,)
                )
            with self.waiting(self.fault_seconds + 2 * DYNAMODB_READ_SECONDS):
                return self._retries.retry(
                    request, self.fault_seconds, self._stop, not_retried=(Throttled,)
                )

        result = self._retries.retry(
            briefly, THROTTLED_SECONDS, self._stop, self._note, only=Throttled
        )
        self._cut_off = False
        return result

    def _note_outage(self, fault: TransientError) -> None:
        """Say why a command waits that may wait for long; once until a request succeeds."""
        if not self._cut_off and not self._stop():
            self._cut_off = True
            self._say(f"{fault}; trying again for {format_duration(self.fault_seconds)}")

    @contextmanager
    def pool(self, threads: int) -> Iterator[ThreadPoolExecutor]:
        """A context with a pool of threads that send requests. If it ends by Ctrl-C or an error,
        requests in flight end, and no others begin; one that waits to be retried is sent at once,
        for the last time.

        Args:
            threads: How many requests are sent at once.
        """
        with ThreadPoolExecutor(threads) as pool:
            try:
                yield pool
            except BaseException:
                stopped = self._stopped.is_set()
                self._stopped.set()
                try:
                    pool.shutdown(cancel_futures=True)
                finally:
                    # What reads again later, as a notebook does, retries again
                    if not stopped:
                        self._stopped.clear()
                raise

    def _note(self, fault: TransientError) -> None:
        if not self._said and not self._stop():
            self._said = True
            self._say(f"{fault}; continuing at a lower rate")

    @contextmanager
    def waiting(self, longest: float, where: str = "") -> Iterator[None]:
        """A context in which a response is waited for; reports that once, if it takes long.

        Args:
            longest: Seconds that it may take.
            where: Where the request was sent, if not to `self.where`.
        """
        wait = (time.monotonic(), longest, where or self.where)
        with self._lock:
            self._waits.append(wait)
            begins = not (self._watched or self._reported)
            self._watched = self._watched or begins
        if begins:
            Thread(target=self._watch, name="watch", daemon=True).start()
        try:
            yield
        finally:
            self._waits.remove(wait)

    def _watch(self) -> None:
        """Watch the requests until there are none, or one has waited for long, and report that; in
        a thread.
        """
        while not self._reported:
            time.sleep(SILENT_SECONDS / 5)
            with self._lock:
                waits = list(self._waits)
                self._watched = bool(waits)
            if not waits:
                return
            began, longest, where = waits[0]
            if time.monotonic() - began >= SILENT_SECONDS:
                self._reported = True
                self._say(
                    f"waiting for {where}: no response for {SILENT_SECONDS:.0f} s; "
                    f"giving up within {format_duration(longest - SILENT_SECONDS)}"
                )

    def reading(self, table: str) -> Callable[[int], object]:
        """What to call with each number of items that were read of a table, by one thread."""
        if table in self._read or not sys.stderr.isatty():
            # A read that is repeated every few seconds is reported the first time only
            return lambda items: None
        self._read.add(table)
        began, total, due = time.monotonic(), 0, READING_SECONDS

        def note(items: int) -> None:
            nonlocal total, due
            total += items
            if time.monotonic() - began >= due:
                due *= 2
                self._say(f"reading table {table}: {total:,} items so far")

        return note
