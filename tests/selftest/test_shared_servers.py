from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.support import shared_servers
from tests.support.scripts import ROOT

ASK = "import sys; from tests.support.shared_servers import endpoint; print(endpoint(sys.argv[1]))"


def ask(name: str) -> subprocess.CompletedProcess[str]:
    """Ask as another process of the run does."""
    command = [sys.executable, "-c", ASK, name]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_each_server_is_started_once_and_ended_with_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(shared_servers.ADDRESS)
    events: list[str] = []

    @contextmanager
    def server(name: str) -> Iterator[str]:
        events.append(f"{name} starts")
        yield f"http://{name}"
        events.append(f"{name} ends")

    def broken() -> AbstractContextManager[str]:
        raise RuntimeError("it is not prepared")

    starts = {"one": lambda: server("one"), "other": lambda: server("other"), "broken": broken}
    with shared_servers.shared_servers(starts):
        assert events == []
        assert ask("one").stdout == ask("one").stdout == "http://one\n"
        assert "RuntimeError: it is not prepared" in ask("broken").stderr
        assert shared_servers.endpoint("one") == "http://one"
        assert events == ["one starts"]
    assert events == ["one starts", "one ends"]
