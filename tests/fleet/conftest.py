"""Fixtures: a fleet whose table keeps its history, as in the crash tests."""

from tests.crash.conftest import find_faults, fleet, streams, watched

__all__ = ["find_faults", "fleet", "streams", "watched"]
