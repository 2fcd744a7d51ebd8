"""What --debug says of the host before the command begins.

Guaranteed: variables are shown by a list of names, none of which holds a secret, and URLs without
user name and password.
"""

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from anamo import __version__

SHOWN = re.compile(
    r"AWS_((DEFAULT_)?REGION|PROFILE|CONFIG_FILE|SHARED_CREDENTIALS_FILE|ENDPOINT_URL\w*|BATCH_\w+"
    r"|CA_BUNDLE|EC2_METADATA_\w+|IGNORE_CONFIGURED_ENDPOINT_URLS|MAX_ATTEMPTS|RETRY_MODE)"
    r"|(HTTPS?|NO)_PROXY|TMPDIR",
    re.IGNORECASE,
)
"""Environment variables that change where requests go or how the worker runs."""

PACKAGES = ("boto3", "botocore")


def host_facts() -> Iterator[str]:
    """Versions, then environment variables, one a line."""
    yield f"PyAnamo {__version__}, Python {platform.python_version()}, {platform.platform()}"
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is not installed"
    for name, value in sorted(os.environ.items()):
        if SHOWN.fullmatch(name):
            # A proxy or an endpoint may be written as //USER:PASSWORD@HOST
            yield f"{name}={value if name == 'AWS_PROFILE' else value.rpartition('@')[2]}"
