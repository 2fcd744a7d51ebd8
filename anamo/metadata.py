"""The EC2 instance metadata service (IMDSv2), by botocore's fetcher.

Guaranteed: a request gives up after a second, and none is sent where AWS_EC2_METADATA_DISABLED is
true. A service that does not answer is the same as one that has nothing.
"""

from collections.abc import Mapping

from botocore.exceptions import BotoCoreError
from botocore.utils import METADATA_BASE_URL, IMDSFetcher

SECONDS = 1
"""For a request; the service answers in milliseconds."""


class InstanceMetadata(IMDSFetcher):
    """What the service says of this instance."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", METADATA_BASE_URL)
        super().__init__(timeout=SECONDS, num_attempts=1, base_url=endpoint, env=environment)

    def get(self, path: str) -> str | None:
        """What stands at a path such as `latest/meta-data/instance-id`; None if nothing does."""
        # Botocore's type stubs leave out what its own subclasses use
        try:
            token = self._fetch_metadata_token()  # type: ignore[attr-defined]
            if token is None:
                return None
            return str(self._get_request(path, None, token=token).text)  # type: ignore[attr-defined]
        except (BotoCoreError, self._RETRIES_EXCEEDED_ERROR_CLS):  # type: ignore[attr-defined]
            return None
