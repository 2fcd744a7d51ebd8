"""Waiting for a condition instead of for an amount of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

POLL_SECONDS = 0.02


def eventually(predicate: Callable[[], Value], deadline_seconds: float = 20) -> Value:
    """Return the first true value of `predicate`, called again and again.

    Raises:
        AssertionError: It was still false when the deadline passed; says its last value.
    """
    deadline = time.monotonic() + deadline_seconds
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"after {deadline_seconds} s it still is {value!r}"
        time.sleep(POLL_SECONDS)
    return value
