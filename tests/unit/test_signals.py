"""Signals to the parent process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from anamo.worker import signals
from anamo.worker.signals import STOPPING, Interrupted, Signals


@pytest.fixture
def received() -> Iterator[Signals]:
    before = {number: signal.getsignal(number) for number in (*STOPPING, signal.SIGCHLD)}
    yield Signals()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_that_comes_twice_at_once_counts_once(received: Signals) -> None:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    assert (received.first, received.count) == (signal.SIGTERM, 1)
    with pytest.raises(Interrupted):
        received.sleep(60)


def test_a_signal_that_comes_again_later_counts(
    received: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "REPEAT_SECONDS", 0)
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    assert received.count == 2


def test_another_signal_counts(received: Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert (received.first, received.count) == (signal.SIGTERM, 2)
