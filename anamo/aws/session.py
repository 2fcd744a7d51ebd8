"""Sessions and clients of boto3.

Guaranteed: time-outs and retries are set here and not left to defaults that differ by version and
service. A process makes its own session; of its parent's it keeps the service models only.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Literal

import botocore.session
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader
from botocore.utils import determine_content_length

from anamo import __version__
from anamo.aws.faults import translate
from anamo.core.errors import AwsError, CredentialsExpired, CredentialsMissing, RegionMissing

CONNECT_SECONDS = 4
"""A connection within a region takes milliseconds; a lost packet is sent again after 1 and 3 s."""

DYNAMODB_READ_SECONDS = 8
"""Single-item requests take milliseconds. A worker told to stop has some 25 s for everything."""

S3_READ_SECONDS = 30
"""S3 may take seconds to respond to a part of a large upload."""

SMALL_BODY = 64 * 1024
"""Largest body, in bytes, that is sent together with its headers."""

POOL = 16
"""Connections a client keeps open; neither an importer nor a worker has more threads."""


def dynamodb_client(region: str | None, attempts: int = 2, *, renew: bool = False) -> Any:
    """A DynamoDB client, which threads may share; made by the process that uses it.

    Args:
        region: None is the one boto3 finds, or else AWS_REGION, which most AWS tools read.
        attempts: How often a request is sent until it fails.
        renew: Make a new session, which reads the credentials again. Any thread may do so; without
            it clients share the session of their process, and one thread makes them.

    Raises:
        RegionMissing: No region is set anywhere.
        CredentialsMissing: AWS_PROFILE names a profile that does not exist.
        AwsError: A setting cannot be used; an endpoint that is not a URL, say.
    """
    return _client("dynamodb", region, DYNAMODB_READ_SECONDS, attempts, renew)


def s3_client(region: str | None, attempts: int = 3, *, renew: bool = False) -> Any:
    """An S3 client; as `dynamodb_client`."""
    client = _client("s3", region, S3_READ_SECONDS, attempts, renew)
    # After botocore's own handler, which sets the header
    client.meta.events.register_last("before-call.s3", _send_small_body_at_once)
    return client


def _send_small_body_at_once(params: dict[str, Any], **_event: object) -> None:
    """Send a small body without waiting for S3's permission, which costs a round trip. For a large
    one botocore still asks, so that S3 can reject it before it is sent.
    """
    size = determine_content_length(params.get("body"))
    if size is not None and size <= SMALL_BODY:
        params["headers"].pop("Expect", None)


def where(client: Any) -> str:
    """The service, endpoint and region of a client, as messages name them."""
    meta = client.meta
    service = {"dynamodb": "DynamoDB", "s3": "S3"}.get(meta.service_model.service_name, "AWS")
    return f"{service} at {meta.endpoint_url} ({meta.region_name})"


def _client(
    service: Literal["dynamodb", "s3"], region: str | None, read: int, attempts: int, renew: bool
) -> Any:
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=POOL,
        tcp_keepalive=True,
        user_agent_extra=f"pyanamo/{__version__}",
    )
    try:
        session = _new_session() if renew else _session(os.getpid())
        found = region or session.region_name or os.environ.get("AWS_REGION")
        # With an endpoint set, botocore would accept an empty region
        if not found:
            raise RegionMissing
        return session.client(service, region_name=found, config=config)
    except BotoCoreError as error:
        raise translate(error) from error
    except ValueError as error:
        # botocore's checks of settings
        advice = " (an endpoint begins with http:// or https://)" if "ndpoint" in str(error) else ""
        raise AwsError(f"{error}{advice}") from error


@lru_cache(maxsize=1)
def _session(process: int) -> Session:  # noqa: ARG001
    """The session of a process: a forked one does not find its parent's under its own id."""
    return _new_session()


def _new_session() -> Session:
    core = botocore.session.get_session()
    core.register_component("data_loader", _models())
    return Session(botocore_session=core)


@lru_cache(maxsize=1)
def _models() -> Loader:
    """The loader that reads the service models, data in files, and keeps them.

    Reading them again would take each further session and forked process 13 MB and 50 ms.
    """
    loader: Loader = botocore.session.get_session().get_component("data_loader")
    return loader


def renewed(client: Any, fault: AwsError, renew: Callable[[], Any] | None) -> tuple[Any, AwsError]:
    """Make a new client after a fault of the credentials a worker had when it started.

    Args:
        client: The client whose request failed.
        fault: Why it failed.
        renew: Makes a client with credentials that are read again; None leaves all as it is.

    Returns:
        The client for further requests: a new one, or the same where credentials cannot be read at
        the moment (their file is being rewritten, say); and the fault, CredentialsExpired instead
        of CredentialsMissing, so that the request is retried.
    """
    kinds = (CredentialsExpired, CredentialsMissing)
    if renew is None or not isinstance(fault, kinds):
        return client, fault
    with suppress(AwsError):
        client = renew()
    return client, CredentialsExpired(str(fault))
