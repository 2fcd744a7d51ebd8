"""The metadata client, and the Spot notice: who is asked, and how often."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from anamo.aws.metadata import InstanceMetadata, SpotNotice


@pytest.mark.parametrize(
    ("answers", "asked"), [([False, False], 1), ([True, False, False, True], 4)]
)
def test_only_a_service_that_never_answered_is_given_up(
    answers: list[bool], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(answers)

    def get(self: InstanceMetadata, path: str) -> str | None:
        self.reachable = next(left)
        return path if self.reachable else None

    monkeypatch.setattr(InstanceMetadata, "get", get)
    notice = SpotNotice()
    for _ in answers:
        notice()
    assert len(answers) - len(list(left)) == asked


@contextmanager
def serving(answer: bytes) -> Iterator[str]:
    """Give one connection after the other the same bytes; none is silence."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    accepted.append(connection)
                    if answer:
                        connection.recv(65536)
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in accepted:
            connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut off",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xff",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\r\nb",
    ],
    ids=["silence", "noise", "refused", "cut off", "no text", "no token"],
)
def test_a_service_that_does_not_answer_as_it_should_has_nothing(answer: bytes) -> None:
    with serving(answer) as url:
        began = time.monotonic()
        metadata = InstanceMetadata({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url})
        assert metadata.get("latest/meta-data/instance-id") is None
        assert time.monotonic() - began < 5


def test_a_service_that_is_not_there_has_nothing() -> None:
    with serving(b"") as url:
        pass
    metadata = InstanceMetadata({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url})
    assert metadata.get("latest/meta-data/instance-id") is None
    assert not metadata.reachable


def test_no_proxy_is_asked_for_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ni-12") as url:
        metadata = InstanceMetadata({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url})
        assert metadata.get("latest/meta-data/instance-id") == "i-12"
        assert metadata.reachable
