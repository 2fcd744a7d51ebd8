"""Error codes and botocore's exceptions, translated to `core.errors`.

Guaranteed: throttling, transient errors, missing credentials and missing permissions are told apart
in the same way for all services. Codes that only one service uses are left to its own module.
"""

import errno

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from anamo.core.errors import (
    AccessDenied,
    AwsError,
    CredentialsExpired,
    CredentialsMissing,
    DescriptorsExhausted,
    RegionMissing,
    Throttled,
    TransientError,
    Unreachable,
)

SHOWN = 200
"""Characters of a proxy's HTML, or of what botocore quotes of a response, that are shown."""

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
    # S3 responds so to an upload that stalled, and to two writes of one object at the same time
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    # A write of an item that is part of an ongoing transaction, an import's say
    "TransactionConflictException",
}
_DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled"}
_BY_CODE: list[tuple[set[str], type[AwsError], str]] = [
    (_THROTTLED, Throttled, "AWS is throttling"),
    (_PASSING, TransientError, "it may pass"),
    (_EXPIRED, CredentialsExpired, "renew the credentials"),
    (_REFUSED, CredentialsMissing, "AWS does not accept the credentials"),
    (_DENIED, AccessDenied, "the credentials lack a permission"),
    ({"RequestTimeTooSkewed"}, AwsError, "this machine's clock is wrong"),
]
"""Error codes, the error each becomes, and the advice added to its message."""

_NO_CREDENTIALS_HERE = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.ProfileNotFound,
    exceptions.SSOError,
)
_NO_CREDENTIALS_NOW = (exceptions.CredentialRetrievalError, exceptions.TokenRetrievalError)
"""The source of the credentials, such as a container's endpoint, did not respond. Waiting for it
saves the results of tasks that ran for days."""
_UNREACHABLE = (exceptions.HTTPClientError, exceptions.ConnectionError)
_BY_CLASS: list[tuple[tuple[type[Exception], ...], type[AwsError], str]] = [
    (_NO_CREDENTIALS_NOW, CredentialsExpired, "renew the credentials"),
    (_NO_CREDENTIALS_HERE, CredentialsMissing, "set AWS_PROFILE, or run 'aws configure'"),
    (_UNREACHABLE, Unreachable, "check the network, the region, AWS_ENDPOINT_URL"),
]
"""Errors that botocore itself raises, the error each becomes, and the advice in its message."""


def is_throttling(code: str) -> bool:
    """Whether an error code says that AWS throttles."""
    return code in _THROTTLED


def translate(error: ClientError | BotoCoreError) -> AwsError:
    """The error of `core.errors` for an error of botocore; AwsError itself where none fits."""
    if isinstance(error, ClientError):
        return _from_response(error)
    if isinstance(error, exceptions.NoRegionError):
        return RegionMissing()
    if isinstance(error, exceptions.InvalidRegionError):
        return RegionMissing(str(error))
    if isinstance(error, _UNREACHABLE) and _lacks_descriptors(error):
        return DescriptorsExhausted()
    for classes, kind, advice in _BY_CLASS:
        if isinstance(error, classes):
            return kind(f"{_first_line(error)} — {advice}")
    return AwsError(_first_line(error))


def _lacks_descriptors(error: BaseException | None) -> bool:
    """Whether an error was caused by a lack of file descriptors."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__ or error.__context__
    return False


def unreadable(error: Exception) -> TransientError:
    """The error for a response that botocore could not read: it is not what the service sends.

    A proxy on the way may have cut it off or replaced it; botocore then lets through whatever its
    parser raises, such as `AttributeError` or `UnicodeDecodeError`. It raises RuntimeError where
    the source of the credentials gives expired ones: then nothing was sent.
    """
    if isinstance(error, RuntimeError) and "credentials" in str(error):
        return CredentialsExpired(f"{_beginning(error)} — renew the credentials")
    what = f"{type(error).__name__}: {_beginning(error)}"
    return TransientError(f"the response cannot be read: {what}")


def error_code(error: ClientError | BotoCoreError) -> str:
    """The code of an error response; empty for an error that is not a response."""
    return error.response["Error"].get("Code", "") if isinstance(error, ClientError) else ""


def _from_response(error: ClientError) -> AwsError:
    details = error.response.get("Error", {})
    code, message = details.get("Code", ""), details.get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    what = f"{error.operation_name}: {_one_line(message) or code}"
    for codes, kind, advice in _BY_CODE:
        if code in codes:
            return kind(f"{what} — {advice}")
    return TransientError(what) if status >= 500 else AwsError(f"{what} ({code})")


def _beginning(error: Exception) -> str:
    """The message's beginning: it may quote the whole response."""
    return _first_line(error)[:SHOWN]


def _one_line(message: str) -> str:
    """A service's message on one line; a proxy's HTML in its place has many, and is cut."""
    line = " ".join(message.split())
    return line if len(line) <= SHOWN or "<" not in line else f"{line[:SHOWN]}…"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
