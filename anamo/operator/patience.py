"""How long an operator's request waits for AWS.

Guaranteed: throttling slows a command down and does not fail it for ten minutes a request; an
endpoint out of reach fails it soon, since somebody is looking on.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from anamo.aws.retry import Backoff
from anamo.core.errors import Throttled, TransientError, Unreachable

T = TypeVar("T")

THROTTLED_SECONDS = 600.0
"""A page of 1 MB takes 128 read units; at ten units a second, some other page comes first."""

FAULT_SECONDS = 15.0
"""For faults that either pass soon or last."""


class Patience:
    """Sends requests until they pass. Threads may share it; `say` is told once of throttling."""

    def __init__(
        self, say: Callable[[str], object], sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._say = say
        self._backoff = Backoff(sleep)
        self._said = False

    def __call__(self, request: Callable[[], T]) -> T:
        """The request's answer. Raises one of `errors` once it fails for good."""

        def briefly() -> T:
            return self._backoff.persist(request, FAULT_SECONDS, at_once=(Throttled,))

        return self._backoff.persist(
            briefly, THROTTLED_SECONDS, say=self._note, at_once=(Unreachable,)
        )

    def _note(self, fault: TransientError) -> None:
        if not self._said:
            self._said = True
            self._say(f"{fault}; going on more slowly")
