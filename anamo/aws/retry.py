"""Waiting for AWS to come back.

Guaranteed: waits grow and are jittered, so that a thousand workers cut off together do not come
back together. Not guaranteed: that a request is sent only once; the requests given here must be
harmless when repeated, which their conditions see to.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from anamo.core.errors import Throttled, TransientError, Unreachable

T = TypeVar("T")

FIRST = 0.2
"""Seconds: the upper end of the first wait; botocore has by then tried by itself."""

LONGEST = 15.0
"""Seconds: the upper end of any wait."""


class RetryPolicy:
    """Repeats requests that met a passing fault, with full jitter (each wait is drawn evenly from
    zero to an end that doubles, which spreads clients best).
    """

    def __init__(
        self,
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._sleep = sleep
        self._monotonic = monotonic
        self._draw = draw

    def retry(
        self,
        request: Callable[[], T],
        seconds: float,
        stop: Callable[[], bool] = lambda: False,
        say: Callable[[TransientError], object] = lambda error: None,
        at_once: tuple[type[TransientError], ...] = (),
    ) -> T:
        """Send the request until it passes.

        Raises the last TransientError once `seconds` are over or `stop()` is true, and any other
        error, or one of `at_once`, immediately. `say` is told of the first fault.
        """
        deadline = self._monotonic() + seconds
        end = FIRST
        while True:
            try:
                return request()
            except TransientError as fault:
                if isinstance(fault, at_once):
                    raise
                if end == FIRST:
                    say(fault)
                if stop() or self._monotonic() >= deadline:
                    raise
            self._sleep(self._draw(end / 10, end))
            end = min(2 * end, LONGEST)


THROTTLED_SECONDS = 600.0
"""A page of 1 MB takes 128 read units; at ten units a second, some other page comes first."""

FAULT_SECONDS = 15.0
"""For faults that either pass soon or last."""


class OperatorRetry:
    """Sends requests until they pass. Threads may share it; `say` is told once of throttling."""

    def __init__(
        self, say: Callable[[str], object], sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._say = say
        self._retries = RetryPolicy(sleep)
        self._said = False

    def __call__(self, request: Callable[[], T]) -> T:
        """The request's answer. Raises one of `errors` once it fails for good."""

        def briefly() -> T:
            return self._retries.retry(request, FAULT_SECONDS, at_once=(Throttled,))

        return self._retries.retry(
            briefly, THROTTLED_SECONDS, say=self._note, at_once=(Unreachable,)
        )

    def _note(self, fault: TransientError) -> None:
        if not self._said:
            self._said = True
            self._say(f"{fault}; going on more slowly")
