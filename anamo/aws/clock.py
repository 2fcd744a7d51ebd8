"""DynamoDB's time.

Guaranteed: hosts whose own clocks are wrong agree on leases to within about a second plus a
request's round-trip time, since every answer's Date header corrects the clock. Between two answers
the time follows the monotonic clock, so setting a host's clock has no effect.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


class DatabaseClock:
    """Epoch seconds by DynamoDB's servers; by the host until the first answer."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        """Epoch seconds."""
        return self._monotonic() + self._offset

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, to measure durations with."""
        return self._monotonic()

    def timestamp(self) -> str:
        """The time in UTC as ISO 8601, such as 2026-01-31T09:30:00Z."""
        return datetime.fromtimestamp(self.now(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def learn(self, headers: Mapping[str, str], sent: float) -> None:
        """Correct the clock by the Date header of an answer.

        The header has whole seconds, and was made between sending and now: that gives a range for
        the offset between the two clocks, and the present offset is moved into it.

        Args:
            headers: The answer's, with names in lower case.
            sent: `monotonic()` before the request.
        """
        try:
            date = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, TypeError, ValueError):
            return
        earliest = date - self._monotonic()
        latest = date + 1 - sent
        self._offset = min(max(self._offset, earliest), latest)
