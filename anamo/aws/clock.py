"""DynamoDB's time.

Guaranteed: hosts whose own clocks are wrong agree on leases to within about a second plus a
request's travel time, since every answer's Date header corrects the reading. Between two answers
the time follows the monotonic clock, so setting a host's clock changes nothing.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


class DatabaseClock:
    """Epoch seconds as DynamoDB's servers have them; the host's own until the first answer."""

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
        """Seconds for measuring durations."""
        return self._monotonic()

    def timestamp(self) -> str:
        """Now in UTC as ISO 8601 with seconds, such as 2026-01-31T09:30:00Z."""
        return datetime.fromtimestamp(self.now(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def learn(self, headers: Mapping[str, str], sent: float) -> None:
        """Correct the reading by the Date header of an answer.

        sent: `monotonic()` before the request. The header has whole seconds, and was made between
        sending and now: that gives a range for the offset, and the present one moves into it.
        """
        try:
            date = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, TypeError, ValueError):
            return
        earliest = date - self._monotonic()
        latest = date + 1 - sent
        self._offset = min(max(self._offset, earliest), latest)
