"""Sessions, clients and the faults that all AWS services share.

Guaranteed: time-outs and retries are set here and not left to defaults that differ by version and
service; an error of botocore leaves as one of `errors`. Clients are made by the process that uses
them: nothing of a session survives a fork.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import botocore
import botocore.session
from botocore import exceptions as faults
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import JSONFileLoader

from anamo import __version__
from anamo.core.errors import (
    AccessDenied,
    AwsError,
    CredentialsExpired,
    CredentialsMissing,
    RegionMissing,
    Throttled,
    TransientError,
    Unreachable,
)

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
_PASSING = {
    # S3's answer to an upload that stalled, and what is said of two writes that met
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    # A single write that meets a transaction, an importer's, on the same item
    "TransactionConflictException",
}
_DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled"}
_MEANINGS: list[tuple[set[str], type[AwsError], str]] = [
    (_THROTTLED, Throttled, "AWS is throttling"),
    (_PASSING, TransientError, "it may pass"),
    (_EXPIRED, CredentialsExpired, "renew the credentials"),
    (_REFUSED, CredentialsMissing, "AWS does not accept the credentials"),
    (_DENIED, AccessDenied, "the credentials lack a permission"),
    ({"RequestTimeTooSkewed"}, AwsError, "this machine's clock is wrong"),
]
"""Error codes, what they mean here, and what to tell the operator."""

_NO_CREDENTIALS_HERE = (
    faults.NoCredentialsError,
    faults.PartialCredentialsError,
    faults.ProfileNotFound,
    faults.SSOError,
)
_NO_CREDENTIALS_NOW = (faults.CredentialRetrievalError, faults.TokenRetrievalError)
"""What gives them out, a container's endpoint say, did not answer: it will have to, and a task that
ran for days should be on record by then."""
_UNREACHABLE = (faults.HTTPClientError, faults.ConnectionError)
_FAULTS: list[tuple[tuple[type[Exception], ...], type[AwsError], str]] = [
    (_NO_CREDENTIALS_NOW, CredentialsExpired, "renew the credentials"),
    (_NO_CREDENTIALS_HERE, CredentialsMissing, "set AWS_PROFILE, or run 'aws configure'"),
    (_UNREACHABLE, Unreachable, "check the network, the region, AWS_ENDPOINT_URL"),
]
"""Faults found on this side, what they mean here, and what to tell the operator."""


class PlainModels(JSONFileLoader):
    """Loads service models as plain dicts, which keep their order, too: botocore's own loader makes
    ordered ones of them, and a worker is a tenth larger and a fifth slower to make its clients.
    """

    def load_file(self, file_path: str) -> Any:
        """The model in the file of that name without its ending; None if there is none."""
        for ending, opened in ((".json", open), (".json.gz", gzip.open)):
            if Path(file_path + ending).is_file():
                with opened(file_path + ending, "rb") as file:
                    return json.load(file)
        return None


_models: list[Any] = []
"""The loader of service models, once there is one: plain data, kept for later sessions and for
forked processes, which would each take a tenth of a second and some memory to read them again."""


def dynamodb_client(region: str | None, attempts: int = 2) -> Any:
    """A DynamoDB client, with credentials read anew.

    region: None is where boto3 finds one, or else AWS_REGION, which nearly every other AWS tool
    reads. attempts: how often a request is sent until it fails.
    Raises RegionMissing, or CredentialsMissing where AWS_PROFILE names no profile.
    """
    return _client(region, "dynamodb", DYNAMODB_READ_SECONDS, attempts)


def s3_client(region: str | None, attempts: int = 3) -> Any:
    """An S3 client; as `dynamodb_client`."""
    return _client(region, "s3", S3_READ_SECONDS, attempts)


def _client(region: str | None, service: str, read: int, attempts: int) -> Any:
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=POOL,
        tcp_keepalive=True,
        # The SDK makes its own anew for each request, and checks what only our code fills in; these
        # two are a seventh of the processor time a request takes
        user_agent=f"pyanamo/{__version__} Botocore/{botocore.__version__}",
        parameter_validation=False,
    )
    with translated():
        core = botocore.session.get_session()
        if not _models:
            _models.append(core.get_component("data_loader"))
            _models[0].file_loader = PlainModels()
        core.register_component("data_loader", _models[0])
        found = region or core.get_config_variable("region") or os.environ.get("AWS_REGION")
        # Where an endpoint is set, botocore would be content with a region that is empty
        if not found:
            raise RegionMissing
        # Not by boto3: what it adds to botocore here is 60 modules to load
        return core.create_client(service, region_name=found, config=config)


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
    for classes, kind, advice in _FAULTS:
        if isinstance(error, classes):
            return kind(f"{_first_line(error)} — {advice}")
    return AwsError(_first_line(error))


def renewed(client: Any, fault: AwsError, renew: Callable[[], Any] | None) -> tuple[Any, AwsError]:
    """What a worker, which had credentials when it began, makes of a fault of theirs: another
    client that reads them anew, the same one where they cannot be read just now (whoever rewrites
    the file has not finished), and a fault that may pass.
    """
    kinds = (CredentialsExpired, CredentialsMissing)
    if renew is None or not isinstance(fault, kinds):
        return client, fault
    with suppress(AwsError):
        client = renew()
    return client, CredentialsExpired(str(fault))


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
