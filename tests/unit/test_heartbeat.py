"""The thread that renews leases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anamo.aws.clock import DatabaseClock
from anamo.aws.table_writes import Holder
from anamo.core.errors import TransientError
from anamo.core.item import Item
from anamo.worker.claim import Claim
from anamo.worker.heartbeat import Heartbeat
from tests.support.waiting import eventually

LEASE = 1

Renew = Callable[[], bool]


class Table:
    """A table whose renewals do what a test says, one after the other; then they succeed."""

    def __init__(self, *renewals: Renew) -> None:
        self.clock = DatabaseClock()
        self._renewals = iter(renewals)
        self.renewed = 0
        self.so_far = ""

    def renew(self, *given: Any) -> bool:
        """Renew a lease."""
        self.so_far = given[-1]
        if renewal := next(self._renewals, None):
            return renewal()
        self.renewed += 1
        return True


def raising(error: Exception) -> Renew:
    def renewal() -> bool:
        raise error

    return renewal


@pytest.fixture
def beat() -> Iterator[Callable[..., list[Claim]]]:
    """Begin to renew one claim in a table; the claims."""
    begun: list[Heartbeat] = []

    def start(table: Any, wake: Callable[[], object] = lambda: None) -> list[Claim]:
        claims = [Claim(Item(7, "Task", "true", lock_id="1" * 32), 0, table)]
        begun.append(Heartbeat(table.clock, Holder("here", LEASE), lambda: claims, wake))
        return claims

    yield start
    for heartbeat in begun:
        heartbeat.close()


@pytest.mark.parametrize(
    "error",
    [TransientError("throttled"), RuntimeError("not expected"), TypeError(), RecursionError()],
    ids=lambda error: type(error).__name__,
)
def test_a_heartbeat_goes_on_whatever_a_renewal_raises(
    beat: Callable[..., list[Claim]], error: Exception
) -> None:
    table = Table(raising(error), raising(error))
    beat(table)
    eventually(lambda: table.renewed >= 2)


def test_a_renewal_that_fails_again_and_again_is_reported_once(
    beat: Callable[..., list[Claim]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "anamo")
    fault = raising(TransientError("out of reach"))
    table = Table(fault, fault, fault, lambda: True, fault)
    beat(table)
    eventually(lambda: table.renewed)
    levels = [record.levelname for record in caplog.records if "lease of item 7" in record.message]
    assert levels == ["WARNING", "INFO", "INFO", "WARNING"]


def test_what_the_table_should_learn_is_not_kept_until_the_next_renewal() -> None:
    table: Any = Table()
    claim = Claim(Item(7, "Task", "true", lock_id="1" * 32), 0, table)
    claim.so_far = "s3://bucket/so-far"
    heartbeat = Heartbeat(table.clock, Holder("here", 3600), lambda: [claim], lambda: None)
    heartbeat.renew_now()
    eventually(lambda: table.so_far == "s3://bucket/so-far")
    heartbeat.close()


def test_a_lost_claim_is_marked_and_the_main_thread_woken(
    beat: Callable[..., list[Claim]],
) -> None:
    woken: list[bool] = []
    (claim,) = beat(Table(lambda: False), lambda: woken.append(True))
    eventually(lambda: woken)
    assert claim.lost
