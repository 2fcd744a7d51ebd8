"""A client of the EC2 instance metadata service (IMDSv2).

Guaranteed: a request gives up after a second, and no proxy is used. A service that cannot be
reached is the same as one that has nothing. Whether there is a service to ask is up to
`instance.has_metadata_service`.
"""

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

ENDPOINT = "http://169.254.169.254"
"""Where EC2 has the service, unless AWS_EC2_METADATA_SERVICE_ENDPOINT is set."""

SECONDS = 1
"""For a request; the service responds in milliseconds."""


class InstanceMetadata:
    """What the service says of this instance.

    Attributes:
        reachable: Whether it gave a token at the last request.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.reachable = True
        endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ENDPOINT
        self._endpoint = urlsplit(endpoint)

    def get(self, path: str) -> str | None:
        """The value at a path such as `latest/meta-data/instance-id`; None if there is none."""
        self.reachable = False
        try:
            lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
            token = self._request("PUT", "latest/api/token", lifetime)
            if not token:
                return None
            self.reachable = True
            return self._request("GET", path, {"X-aws-ec2-metadata-token": token})
        except (OSError, HTTPException, ValueError):
            return None

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """The text of a response; None if its status is not 200 or there is no text."""
        connection = HTTPConnection(self._endpoint.netloc, timeout=SECONDS)
        with closing(connection):
            folder = self._endpoint.path.rstrip("/")
            connection.request(method, f"{folder}/{path}", headers=dict(headers))
            response = connection.getresponse()
            return response.read().decode() or None if response.status == 200 else None


FIRST_ATTEMPTS = 3
"""Containers that start together on one machine may be throttled by its metadata service."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """The notice that EC2 is reclaiming this Spot instance.

    Attributes:
        what: What happens and when, in words.
        at: When, in epoch seconds; None where the notice does not say it as documented.
    """

    what: str
    at: float | None


class SpotNotices:
    """Looks for EC2's notices to a Spot instance.

    The interruption notice comes two minutes ahead; a rebalance recommendation may come earlier,
    and need not be followed by an interruption.

    A service that has never responded in FIRST_ATTEMPTS requests is not asked again: a container
    that cannot reach it (a hop limit of 1) would wait a second at each check. One that has
    responded is, since it may be slow while tasks use up the machine.
    """

    def __init__(self) -> None:
        self._metadata = InstanceMetadata()
        self._responds = False
        self._attempts = 0
        self._recommended = False

    def interruption(self) -> Interruption | None:
        """The interruption notice; None if there is none yet."""
        notice = self._get("latest/meta-data/spot/instance-action")
        return _interruption(notice) if notice else None

    def rebalance(self) -> bool:
        """Whether EC2 recommends to rebalance: True once, at the first check that finds it."""
        if self._recommended:
            return False
        path = "latest/meta-data/events/recommendations/rebalance"
        self._recommended = self._get(path) is not None
        return self._recommended

    def _get(self, path: str) -> str | None:
        if not self._responds and self._attempts >= FIRST_ATTEMPTS:
            return None
        self._attempts += 1
        value = self._metadata.get(path)
        self._responds = self._responds or self._metadata.reachable
        return value


def _interruption(notice: str) -> Interruption:
    """The notice, which is JSON such as {"action": "stop", "time": "2026-01-31T09:30:00Z"}."""
    try:
        known = json.loads(notice)
        when = datetime.strptime(known["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except (ValueError, TypeError, KeyError):
        return Interruption(f"EC2 is reclaiming this Spot instance: {notice}", None)
    what = f"EC2 will {known.get('action', 'stop')} this Spot instance at {known['time']}"
    return Interruption(what, when.timestamp())
