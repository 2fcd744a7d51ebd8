"""The control of a worker process, and the other end of its connection."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from anamo.worker.control import Control
from anamo.worker.signals import STOPPING

Ends = tuple["Connection[Any, Any]", "Connection[Any, Any]"]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The parent's end and the process's."""
    parent, child = Pipe()
    with parent, child:
        yield parent, child


@pytest.fixture
def control(ends: Ends) -> Iterator[Control]:
    """The control of a process that is in this one."""
    before = {number: signal.getsignal(number) for number in (*STOPPING, signal.SIGCHLD)}
    made = Control(ends[1], 1.0)
    yield made
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)
