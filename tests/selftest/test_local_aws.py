"""The demo's local AWS answers one request at a time, without which two workers win one claim."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from demo.local_aws import ENDS, Serialised, local_aws
from tests.support.scripts import ROOT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Meeting:
    """A WSGI application that tells whether two requests were ever inside it together."""

    def __init__(self) -> None:
        self._both_inside = threading.Barrier(2)
        self.overlapped = False

    def __call__(self, _environ: WSGIEnvironment, _start: StartResponse) -> Iterable[bytes]:
        yield b""  # what follows runs while the body is being read
        try:
            self._both_inside.wait(0.3)
            self.overlapped = True
        except threading.BrokenBarrierError:
            pass


def call_twice_at_once(application: WSGIApplication) -> None:
    def call(_number: int) -> list[bytes]:
        return list(application({}, lambda *_: lambda _: None))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(call, range(2)))


def test_requests_are_answered_one_at_a_time() -> None:
    meeting = Meeting()
    call_twice_at_once(Serialised(meeting))
    assert not meeting.overlapped


def test_that_test_can_fail() -> None:
    meeting = Meeting()
    call_twice_at_once(meeting)
    assert meeting.overlapped


@pytest.mark.parametrize(("most", "ends"), [(1 << 50, False), (1 << 20, True)])
def test_a_server_that_has_taken_much_memory_says_so_and_ends(most: int, ends: bool) -> None:
    program = "from demo.local_aws import Limited; Limited(lambda *_: [], {})({{}}, None)"
    ended = subprocess.run(
        [sys.executable, "-c", program.format(most)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == int(ends)
    assert (ENDS in ended.stderr) is ends


def test_the_server_is_serialised() -> None:
    server = local_aws()
    server.server_close()
    assert isinstance(server.app, Serialised)
