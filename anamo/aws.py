"""Sessions, clients and the faults that all AWS services share.

Guaranteed: time-outs and retries are set here and not left to defaults that differ by version and
service; an error of botocore leaves as one of `errors`. Clients are made by the process that uses
them: nothing of a session survives a fork.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.session
from botocore import exceptions as faults
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import get_cert_path

from anamo.errors import (
    AccessDenied,
    AwsError,
    CredentialsExpired,
    CredentialsMissing,
    RegionMissing,
    Throttled,
    TransientError,
    Unreachable,
)
from anamo.wire import Access, QuickDynamoDB, QuickS3

CONNECT_SECONDS = 4
"""A connection inside a region takes milliseconds; a lost packet is sent again after 1 and 3 s."""

DYNAMODB_READ_SECONDS = 8
"""Single-item requests take milliseconds. A worker told to stop has some 25 s for everything."""

S3_READ_SECONDS = 30
"""S3 may think for seconds about a part of a large upload."""

POOL = 16
"""Connections a client keeps: the importer's threads, or a worker's three."""

_THROTTLED = {
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "ThrottlingError",
    "TooManyRequestsException",
    "TransactionInProgressException",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_REFUSED = {
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled"}
_MEANINGS: list[tuple[set[str], type[AwsError], str]] = [
    (_THROTTLED, Throttled, "AWS is throttling"),
    (_EXPIRED, CredentialsExpired, "renew the credentials"),
    (_REFUSED, CredentialsMissing, "AWS does not accept the credentials"),
    (_DENIED, AccessDenied, "the credentials lack a permission"),
    ({"RequestTimeTooSkewed"}, AwsError, "this machine's clock is wrong"),
]
"""Error codes, what they mean here, and what to tell the operator."""

_NO_CREDENTIALS_HERE = (
    faults.NoCredentialsError,
    faults.PartialCredentialsError,
    faults.CredentialRetrievalError,
    faults.ProfileNotFound,
    faults.TokenRetrievalError,
    faults.SSOError,
)
_UNREACHABLE = (faults.HTTPClientError, faults.ConnectionError)


_models: list[Any] = []
"""The loader of service models, once there is one: plain data, kept for later sessions and for
forked processes, which would each take a tenth of a second and some memory to read them again."""


def dynamodb_client(region: str | None, attempts: int = 2) -> Any:
    """A DynamoDB client, with credentials read anew.

    region: None is where boto3 finds one. attempts: how often a request is sent until it fails.
    Raises RegionMissing, or CredentialsMissing where AWS_PROFILE names no profile.
    """
    return _client(region, "dynamodb", DYNAMODB_READ_SECONDS, attempts, QuickDynamoDB)


def s3_client(region: str | None, attempts: int = 3) -> Any:
    """An S3 client; as `dynamodb_client`."""
    return _client(region, "s3", S3_READ_SECONDS, attempts, QuickS3)


def _client(
    region: str | None,
    service: str,
    read: int,
    attempts: int,
    quick: type[QuickDynamoDB] | type[QuickS3],
) -> Any:
    session = _session(region)
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=POOL,
        tcp_keepalive=True,
        user_agent_extra="pyanamo",
    )
    with translated():
        client: Any = session.client(service, config=config)  # type: ignore[call-overload]
        credentials = session.get_credentials()
    if credentials is None or attempts == 1:
        # A way that falls back to another would be a second attempt
        return client
    bundle = session._session.get_config_variable("ca_bundle")  # noqa: SLF001
    certificates = get_cert_path(bundle or True)
    frozen = credentials.get_frozen_credentials
    return quick(client, Access(frozen, certificates, CONNECT_SECONDS, read))


def _session(region: str | None) -> boto3.session.Session:
    with translated():
        core = botocore.session.get_session()
        if not _models:
            _models.append(core.get_component("data_loader"))
        core.register_component("data_loader", _models[0])
        session = boto3.session.Session(region_name=region, botocore_session=core)
    # Where an endpoint is set, botocore would be content with an AWS_REGION that is empty
    if not session.region_name:
        raise RegionMissing
    return session


@contextmanager
def translated() -> Iterator[None]:
    """Turns botocore's errors into ours."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate(error) from error


def translate(error: ClientError | BotoCoreError) -> AwsError:
    """The error of ours that says the same; AwsError itself where none fits."""
    if isinstance(error, ClientError):
        return _from_answer(error)
    if isinstance(error, faults.NoRegionError):
        return RegionMissing()
    if isinstance(error, faults.InvalidRegionError):
        return RegionMissing(str(error))
    if isinstance(error, _NO_CREDENTIALS_HERE):
        return CredentialsMissing(f"{_first_line(error)} — set AWS_PROFILE, or run 'aws configure'")
    if isinstance(error, _UNREACHABLE):
        return Unreachable(
            f"{_first_line(error)} — check the network, the region, AWS_ENDPOINT_URL"
        )
    return AwsError(_first_line(error))


def _from_answer(error: ClientError) -> AwsError:
    details = error.response.get("Error", {})
    code, message = details.get("Code", ""), details.get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{error.operation_name}: {message or code}"
    for codes, kind, advice in _MEANINGS:
        if code in codes:
            return kind(f"{said} — {advice}")
    return TransientError(said) if status >= 500 else AwsError(f"{said} ({code})")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
