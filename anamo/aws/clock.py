"""DynamoDB's time.

Guaranteed: hosts whose own clocks are wrong agree on leases to within about a second plus a
request's round-trip time, since the Date header of every response corrects the clock. A response
whose date most of the last responses contradict changes nothing. Between two responses the time
follows the monotonic clock, so setting a host's clock has no effect.

Not guaranteed: the time, where most responses are dated wrong; or at once after the monotonic clock
has stood still (a suspended laptop), until five responses have shown it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

LAST = 9
"""Responses that are remembered; until there are that many, the host's own clock has a vote."""

NEAR_SECONDS = 5.0
"""Responses agree if they are no further apart: servers' clocks differ by less, and the host's
clock drifts less between two renewals of a long lease."""

CONFIRMING = 4
"""Responses that have to agree, and three quarters of the last ones, until a time is believed to
have passed. As many as a worker has had when it first looks for leases that have ended."""


@dataclass(frozen=True, slots=True)
class _Range:
    """What one response tells of the offset between DynamoDB's clock and the monotonic one."""

    earliest: float
    latest: float

    def is_near(self, other: "_Range") -> bool:
        """Whether both can be true, but for NEAR_SECONDS."""
        return (
            self.earliest - other.latest <= NEAR_SECONDS
            and other.earliest - self.latest <= NEAR_SECONDS
        )

    def votes(self, responses: "tuple[_Range, ...]") -> int:
        """How many of the given responses are near."""
        return sum(map(self.is_near, responses))


class DatabaseClock:
    """Epoch seconds by DynamoDB's servers; by the host until the first response.

    Threads may share it; of two responses that arrive at the same moment, one may be forgotten.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._last: tuple[_Range, ...] = (_Range(self._offset, self._offset),)

    def now(self) -> float:
        """Epoch seconds."""
        return self._monotonic() + self._offset

    def surely_past(self) -> float:
        """Epoch seconds that are surely over, for judging whether a lease has ended: the present
        time if it is confirmed, else the earliest that one of the last responses leaves possible.
        """
        last, offset = self._last, self._offset
        if _Range(offset, offset).votes(last) < max(CONFIRMING, 3 / 4 * len(last)):
            offset = min(offset, *(response.earliest for response in last))
        return self._monotonic() + offset

    @property
    def doubtful(self) -> bool:
        """Whether the newest response contradicts the present time: it is wrong, or the monotonic
        clock has stood still, which further responses will tell.
        """
        return not self._last[-1].is_near(_Range(self._offset, self._offset))

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, to measure durations with."""
        return self._monotonic()

    def timestamp(self) -> str:
        """The time in UTC as ISO 8601, such as 2026-01-31T09:30:00Z."""
        return datetime.fromtimestamp(self.now(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def learn(self, headers: Mapping[str, str], sent: float) -> None:
        """Correct the clock by the Date header of a response.

        The header has whole seconds, and was made between sending and now: that gives a range for
        the offset between the two clocks. The present offset is moved into the range of the newest
        response with which most of the last ones agree: one that is dated a day ahead counts only
        when as many others are.

        Args:
            headers: The response's, with names in lower case.
            sent: `monotonic()` before the request.
        """
        try:
            date = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, OverflowError, TypeError, ValueError):
            return
        response = _Range(date - self._monotonic(), date + 1 - sent)
        # Replaced and not changed, since other threads may be reading it
        last = self._last = (*self._last, response)[-LAST:]
        # Nearly always the newest itself, and this runs for every response
        believed = response
        if 2 * response.votes(last) <= len(last):
            believed = max(reversed(last), key=lambda each: each.votes(last))
        self._offset = min(max(self._offset, believed.earliest), believed.latest)
