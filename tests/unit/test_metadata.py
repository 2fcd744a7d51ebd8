"""The metadata client, and the Spot notice: who is asked, and how often."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from anamo.aws import instance
from anamo.aws.instance import has_metadata_service
from anamo.aws.metadata import InstanceMetadata, Interruption, SpotNotices


@pytest.mark.parametrize(
    ("answers", "asked"),
    [(4 * [False], 3), ([False, False, True, False, False], 5), ([True, *4 * [False], True], 6)],
)
def test_only_a_service_that_never_answered_is_given_up(
    answers: list[bool], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(answers)

    def get(self: InstanceMetadata, path: str) -> str | None:
        self.reachable = next(left)
        return path if self.reachable else None

    monkeypatch.setattr(InstanceMetadata, "get", get)
    notices = SpotNotices()
    for _ in answers:
        notices.interruption()
    assert len(answers) - len(list(left)) == asked


@pytest.mark.parametrize(
    ("notice", "interruption"),
    [
        ("", None),
        (
            '{"action": "terminate", "time": "2026-01-31T09:30:00Z"}',
            Interruption(
                "EC2 will terminate this Spot instance at 2026-01-31T09:30:00Z", 1769851800
            ),
        ),
        ("soon", Interruption("EC2 is reclaiming this Spot instance: soon", None)),
        ("[]", Interruption("EC2 is reclaiming this Spot instance: []", None)),
        ('{"time": 7}', Interruption('EC2 is reclaiming this Spot instance: {"time": 7}', None)),
    ],
)
def test_a_notice_says_when_the_machine_goes(
    notice: str, interruption: Interruption | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InstanceMetadata, "get", lambda self, path: notice or None)
    assert SpotNotices().interruption() == interruption


def test_a_recommendation_to_rebalance_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"latest/meta-data/events/recommendations/rebalance": "{}"}
    monkeypatch.setattr(InstanceMetadata, "get", lambda self, path: there.get(path))
    notices = SpotNotices()
    assert [notices.rebalance() for _ in range(3)] == [True, False, False]
    there.clear()
    assert not SpotNotices().rebalance()


@pytest.mark.parametrize(
    ("vendor", "hypervisor", "environment", "asked"),
    [
        ("Amazon EC2", "", {}, True),
        ("Xen", "ec2e1916-9099-7caf-fd21-012345abcdef", {}, True),
        ("Xen", "EC2E1916-9099-7CAF-FD21-012345ABCDEF", {}, True),
        ("Xen", "45a1d0e2-0000-7caf-fd21-012345abcdef", {}, False),
        ("QEMU", "", {}, False),
        ("Amazon EC2", "", {"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}, False),
        ("Amazon EC2", "", {"AWS_EXECUTION_ENV": "AWS_ECS_EC2"}, True),
        ("Amazon EC2", "", {"AWS_EC2_METADATA_DISABLED": "true"}, False),
        ("QEMU", "", {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}, True),
    ],
)
def test_the_service_is_asked_on_ec2_and_nowhere_else(
    vendor: str,
    hypervisor: str,
    environment: dict[str, str],
    asked: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in (("_VENDOR", vendor), ("_HYPERVISOR", hypervisor)):
        (tmp_path / name).write_text(f"{text}\n")
        monkeypatch.setattr(instance, name, tmp_path / name)
    assert has_metadata_service(environment) is asked


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
