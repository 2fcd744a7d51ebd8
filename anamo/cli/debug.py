"""What --debug reports of the host before the command begins.

Guaranteed: variables are shown by a list of names, none of which holds a secret, and URLs without
user name and password.
"""

import logging
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version

from anamo import __version__

SHOWN = re.compile(
    r"AWS_((DEFAULT_)?REGION|PROFILE|CONFIG_FILE|SHARED_CREDENTIALS_FILE|ENDPOINT_URL\w*|BATCH_\w+"
    r"|CA_BUNDLE|EC2_METADATA_\w+|IGNORE_CONFIGURED_ENDPOINT_URLS|MAX_ATTEMPTS|RETRY_MODE)"
    r"|(HTTPS?|NO)_PROXY|TMPDIR",
    re.IGNORECASE,
)
"""Environment variables that change where requests go or how the worker runs."""

PACKAGES = ("boto3", "botocore", "jinja2", "psutil", "rich", "tenacity")
"""Those of requirements.txt."""

logger = logging.getLogger(__name__)


def log_host_facts() -> None:
    """Log versions, then environment variables, one per line."""
    python, system = platform.python_version(), platform.platform()
    logger.debug("PyAnamo %s, Python %s, %s", __version__, python, system)
    for package in PACKAGES:
        try:
            logger.debug("%s %s", package, version(package))
        except PackageNotFoundError:
            logger.debug("%s is not installed", package)
    for name, value in sorted(os.environ.items()):
        if SHOWN.fullmatch(name):
            # A proxy or an endpoint may be written as //USER:PASSWORD@HOST
            shown = value if name == "AWS_PROFILE" else value.rpartition("@")[2]
            logger.debug("%s=%s", name, shown)
