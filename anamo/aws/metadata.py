"""A client of the EC2 instance metadata service (IMDSv2).

Guaranteed: a request gives up after a second, and no proxy is used. A service that cannot be
reached is the same as one that has nothing. Whether there is a service to ask is up to
`instance.has_metadata_service`.
"""

import os
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

ENDPOINT = "http://169.254.169.254"
"""Where EC2 has the service, unless AWS_EC2_METADATA_SERVICE_ENDPOINT is set."""

SECONDS = 1
"""For a request; the service answers in milliseconds."""


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
        """The text of an answer; None if its status is not 200 or there is no text."""
        connection = HTTPConnection(self._endpoint.netloc, timeout=SECONDS)
        with closing(connection):
            folder = self._endpoint.path.rstrip("/")
            connection.request(method, f"{folder}/{path}", headers=dict(headers))
            answer = connection.getresponse()
            return answer.read().decode() or None if answer.status == 200 else None


class SpotNotice:
    """Looks for the notice, two minutes ahead, that EC2 interrupts this Spot instance.

    A service that never answered is asked only once: a container that cannot reach it (a hop limit
    of 1) would wait a second at each look. One that did answer may be slow while tasks use up the
    machine.
    """

    def __init__(self) -> None:
        self._metadata = InstanceMetadata()
        self._ask = True
        self._answered = False

    def __call__(self) -> str | None:
        """The notice as a sentence; None if there is none yet."""
        if not self._ask:
            return None
        notice = self._metadata.get("latest/meta-data/spot/instance-action")
        self._answered = self._answered or self._metadata.reachable
        self._ask = self._answered
        return f"EC2 takes this Spot machine away: {notice}" if notice else None
