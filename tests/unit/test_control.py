"""What a worker process is told, and what ends its waits."""

from __future__ import annotations

import logging
import os
import signal
import threading
from time import monotonic

import pytest

from anamo.worker.control import Control
from anamo.worker.messages import (
    Finished,
    ForceStop,
    ForwardingHandler,
    Said,
    StartNoMore,
    StopRequest,
)
from anamo.worker.signals import STOPPING
from tests.unit.conftest import Ends

LONG = 60.0
"""Seconds that no test waits: something must end the wait."""


def wait(control: Control) -> None:
    """Wait, and find that it ended early."""
    until = monotonic() + LONG
    control.wait(until)
    assert monotonic() < until


def test_at_first_there_is_nothing_to_obey(control: Control) -> None:
    assert (control.stopping, control.force_stop, control.start_no_more) == (False, False, False)
    assert not control.out_of_time


def test_a_wait_ends_in_time(control: Control) -> None:
    began = monotonic()
    control.wait(began - 1)
    control.sleep(0.01)
    assert began + 0.01 <= monotonic() < began + LONG


def test_a_wait_may_be_longer_than_the_kernel_takes(control: Control) -> None:
    control.wake()
    wait_for_a_year = monotonic() + 365 * 86_400
    control.wait(wait_for_a_year)
    assert monotonic() < wait_for_a_year


def test_the_end_of_a_task_ends_a_wait_although_the_starter_had_it_blocked(
    request: pytest.FixtureRequest,
) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        control = request.getfixturevalue("control")
        # To this thread: another one may not have it blocked
        signal.raise_signal(signal.SIGCHLD)
        wait(control)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_ends_a_wait_and_the_first_one_counts(
    control: Control, number: signal.Signals
) -> None:
    threading.Timer(0.05, os.kill, [os.getpid(), number]).start()
    wait(control)
    os.kill(os.getpid(), signal.SIGTERM)
    wait(control)
    assert control.own_signal == number


def test_the_end_of_a_child_ends_a_wait_and_nothing_else(control: Control) -> None:
    os.kill(os.getpid(), signal.SIGCHLD)
    wait(control)
    assert not control.stopping


def test_another_thread_can_end_a_wait(control: Control) -> None:
    threading.Timer(0.05, control.wake).start()
    wait(control)


def test_waking_often_fills_no_pipe(control: Control) -> None:
    for _ in range(100_000):
        control.wake()
    wait(control)


def test_the_parents_messages_are_obeyed(control: Control, ends: Ends) -> None:
    ends[0].send(StartNoMore())
    wait(control)
    assert control.start_no_more
    assert not control.stopping
    ends[0].send(StopRequest())
    wait(control)
    assert (control.stopping, control.own_signal) == (True, None)
    assert not control.out_of_time
    ends[0].send(ForceStop())
    wait(control)
    assert control.out_of_time


def test_an_unknown_message_is_ignored(control: Control, ends: Ends) -> None:
    ends[0].send(Finished("1"))
    wait(control)
    assert not control.stopping


def test_the_parents_death_is_a_reason_to_end(control: Control, ends: Ends) -> None:
    ends[0].close()
    wait(control)
    assert control.stopping
    control.wait(monotonic())


def test_sleep_ends_when_told_to_stop(control: Control, ends: Ends) -> None:
    began = monotonic()
    ends[0].send(StartNoMore())
    ends[0].send(StopRequest())
    control.sleep(LONG)
    assert monotonic() < began + LONG
    assert control.start_no_more


def test_sleep_ends_when_its_condition_does(control: Control) -> None:
    began = monotonic()
    control.sleep(LONG, lambda: False)
    assert monotonic() < began + LONG


def test_a_wait_that_goes_on_while_the_process_should_end_ends_when_it_is_out_of_time(
    control: Control, ends: Ends
) -> None:
    control.sleep_on(0.01)
    ends[0].send(StopRequest())
    control.sleep_on(0.01)
    assert (control.stopping, control.out_of_time) == (True, False)
    ends[0].send(ForceStop())
    until = monotonic() + LONG
    control.sleep_on(LONG)
    assert monotonic() < until
    assert control.out_of_time


def test_messages_reach_the_parent_and_a_dead_one_does_not_matter(
    control: Control, ends: Ends
) -> None:
    assert control.send(Finished("7"))
    assert ends[0].recv() == Finished("7")
    ends[0].close()
    assert not control.send(Finished("8"))


def test_what_a_process_logs_reaches_the_parent_and_stderr_where_there_is_none(
    control: Control, ends: Ends
) -> None:
    printed: list[str] = []
    printing = logging.Handler()
    printing.emit = lambda record: printed.append(record.getMessage())  # type: ignore[method-assign]
    handler = ForwardingHandler(control.send, [printing])
    record = logging.LogRecord("anamo", logging.WARNING, "", 0, "%s is lost", ("item 7",), None)
    handler.handle(record)
    assert ends[0].recv() == Said("item 7 is lost")
    assert printed == []
    ends[0].close()
    handler.handle(record)
    assert printed == ["item 7 is lost"]
