"""The service from which containers of ECS and AWS Batch have their credentials, on loopback.

Each answer has a key of its own, which is good for some seconds. Local servers ignore signatures:
`checking` refuses requests whose key has expired, as AWS does.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone

from tests.support.proxy import Behaviour, Forward, Proxy, Reply, Request, failing

TOKEN = "a token for the service"
NOWHERE = "http://127.0.0.1:9"
"""The service answers by itself."""


class ContainerCredentials(Proxy):
    """The service; a context.

    seconds: how long a key is good. renewing: whether each answer has a new key. trouble: what it
    does instead of answering. used: the key of each request, in their order.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(NOWHERE)
        self.seconds = seconds
        self.renewing = True
        self.trouble: Behaviour | None = None
        self.behaviour = self._answer
        self.used: list[str] = []
        self._ends: dict[str, float] = {}
        self._last = ""
        self._lock = threading.Lock()

    def __enter__(self) -> ContainerCredentials:
        super().__enter__()
        return self

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a client here, and to nothing else."""
        return {
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/v2/credentials/a-task",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
        }

    def _answer(self, request: Request, forward: Forward) -> Reply | None:
        if self.trouble:
            return self.trouble(request, forward)
        if request.headers["Authorization"] != TOKEN:
            return Reply.of({"message": "no such task"}, 403)
        with self._lock:
            if self.renewing or not self._last:
                self._last = f"ASIA{len(self._ends):016}"
                self._ends[self._last] = time.time() + self.seconds
            # To the second, as the service's
            end = datetime.fromtimestamp(int(self._ends[self._last]), timezone.utc)
            return Reply.of(
                {
                    "AccessKeyId": self._last,
                    "SecretAccessKey": "secret",
                    "Token": "a session",
                    "Expiration": f"{end:%Y-%m-%dT%H:%M:%SZ}",
                }
            )

    def asked_again(self, times: int) -> Callable[[], bool]:
        """Says whether it has been asked so many times more."""
        enough = len(self.requests) + times
        return lambda: len(self.requests) >= enough

    def has_expired(self, key: str) -> bool:
        """Whether a key is no longer good."""
        return time.time() >= self._ends[key]

    def checking(self, code: str) -> Behaviour:
        """A behaviour that passes requests with a key that is good, and refuses all others."""

        def check(request: Request, forward: Forward) -> Reply | None:
            key = re.findall(r"Credential=(\w+)/", request.headers["Authorization"])[0]
            self.used.append(key)
            if self.has_expired(key):
                return failing(code)(request, forward)
            return forward(request)

        return check
