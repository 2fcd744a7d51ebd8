"""A pause that is twice as long each time, up to a limit."""

import random


class GrowingPause:
    """The lengths of such pauses, in seconds.

    Args:
        first: The length of the first.
        longest: That of the longest.
        draw: Where random numbers come from: each pause then takes half of its length or more, so
            that workers do not ask at the same time. Without it, a pause takes its whole length.
    """

    def __init__(self, first: float, longest: float, draw: random.Random | None = None) -> None:
        self._first = first
        self._longest = longest
        self._random = draw
        self._next = first

    def next(self) -> float:
        """The seconds of this pause; the next is longer."""
        seconds = self._next
        self._next = min(2 * seconds, self._longest)
        return seconds * self._random.uniform(0.5, 1) if self._random else seconds

    def reset(self) -> None:
        """Begin again with the first."""
        self._next = self._first
