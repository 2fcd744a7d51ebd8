"""The exceptions of PyAnamo.

An exception's docstring is its default message. Losing a race is not an exception but a return
value of `aws.table`. Only `cli` turns exceptions into exit codes.
"""

import errno
import inspect

HOST_ERRORS = (
    errno.EAGAIN,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.EROFS,
    errno.EIO,
)
"""The errno of an OSError that is the host's fault: a lack of processes, memory, space or files."""


class AnamoError(Exception):
    """PyAnamo cannot continue."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))


def internal(error: Exception) -> AnamoError:
    """The exception that reports an error nobody expected, if it is not the host's."""
    if isinstance(error, OSError) and error.errno in HOST_ERRORS:
        return HostError(with_advice(error))
    return AnamoError(f"internal error: {type(error).__name__}: {error} (see --debug)")


TOO_MANY_PROCESSES = (
    "this user, or this container, has too many processes and threads; "
    "'ulimit -u NUMBER' raises the user's limit"
)

_TOO_LITTLE_SPACE = (
    "free some space, or, if the folder for temporary files is full, "
    "set TMPDIR to one on a larger disk"
)

_ADVICE = {
    errno.EMFILE: "this process may open more files after 'ulimit -n NUMBER'",
    errno.EAGAIN: TOO_MANY_PROCESSES,
    errno.ENOSPC: _TOO_LITTLE_SPACE,
    errno.EDQUOT: _TOO_LITTLE_SPACE,
}


def with_advice(error: OSError) -> str:
    """An error of the host, and what to do about it."""
    advice = _ADVICE.get(error.errno or 0)
    return f"{error}; {advice}" if advice else str(error)


class UsageError(AnamoError):
    """The command line or the input is wrong; nothing was written."""


class HostError(AnamoError):
    """This host cannot run tasks now: it is out of disk space, memory or processes."""


class AwsError(AnamoError):
    """AWS rejects the request or cannot be reached."""


class TransientError(AwsError):
    """AWS is throttling, failing or unreachable; the same request may succeed later."""


class Throttled(TransientError):
    """AWS is throttling the requests."""


class Unreachable(TransientError):
    """The endpoint cannot be reached: check the network, the region and AWS_ENDPOINT_URL."""


class DescriptorsExhausted(Unreachable):
    """No file descriptor is left for a connection: see 'ulimit -n'."""


class CredentialsExpired(TransientError):
    """The AWS credentials have expired: renew them; they are read again before each retry."""


class CredentialsMissing(AwsError):
    """No usable AWS credentials: set AWS_PROFILE, or run 'aws configure'."""


class RegionMissing(AwsError):
    """No AWS region: pass -r REGION, or set AWS_DEFAULT_REGION."""


class AccessDenied(AwsError):
    """AWS denies access: the credentials lack a permission."""


class TableMissing(AwsError):
    """The table does not exist."""


class TableUnusable(AwsError):
    """The table's key or indexes are not those of a workflow table."""


class LogMissing(AwsError):
    """The log is not at the S3 address that its item names."""


class ItemRefused(AwsError):
    """DynamoDB rejected the update of the item; another tool may have written its attributes."""


class BucketMissing(AwsError):
    """The bucket does not exist."""
