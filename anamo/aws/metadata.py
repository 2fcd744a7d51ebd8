"""The EC2 instance metadata service (IMDSv2), by botocore's fetcher.

Guaranteed: a request gives up after a second, and none is sent where AWS_EC2_METADATA_DISABLED is
true. A service that does not answer is the same as one that has nothing.
"""

import os
from collections.abc import Mapping

from botocore.exceptions import BotoCoreError
from botocore.utils import METADATA_BASE_URL, IMDSFetcher

SECONDS = 1
"""For a request; the service answers in milliseconds."""


class InstanceMetadata(IMDSFetcher):
    """What the service says of this instance.

    reachable: whether it answered the last time.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.reachable = True
        endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", METADATA_BASE_URL)
        super().__init__(timeout=SECONDS, num_attempts=1, base_url=endpoint, env=environment)

    def get(self, path: str) -> str | None:
        """What stands at a path such as `latest/meta-data/instance-id`; None if nothing does."""
        # Botocore's type stubs leave out what its own subclasses use
        try:
            token = self._fetch_metadata_token()  # type: ignore[attr-defined]
            self.reachable = token is not None
            if token is None:
                return None
            return str(self._get_request(path, None, token=token).text)  # type: ignore[attr-defined]
        except (BotoCoreError, self._RETRIES_EXCEEDED_ERROR_CLS):  # type: ignore[attr-defined]
            return None


class SpotNotice:
    """Whether EC2 is about to take this Spot machine away; it says so two minutes ahead.

    A service that has never answered is not asked again: a container that cannot reach it (a hop
    limit of 1) would wait a second at each look. One that has may be slow while tasks use up the
    machine.
    """

    def __init__(self) -> None:
        self._metadata = InstanceMetadata()
        self._ask = True
        self._answered = False

    def __call__(self) -> str | None:
        """What is to happen, in a sentence; None as long as nothing is."""
        if not self._ask:
            return None
        notice = self._metadata.get("latest/meta-data/spot/instance-action")
        self._answered = self._answered or self._metadata.reachable
        self._ask = self._answered
        return f"EC2 takes this Spot machine away: {notice}" if notice else None
