"""Everything that can go wrong by name.

An exception's docstring is its default message. Losing a race is not here: it is a return value
of `table`. `cli` turns these into exit codes, and is the only place that does.
"""

import inspect


class AnamoError(Exception):
    """PyAnamo cannot go on."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))


def internal(error: Exception) -> AnamoError:
    """What is said of an error that should not be."""
    return AnamoError(f"internal error: {type(error).__name__}: {error} (see --debug)")


class UsageError(AnamoError):
    """The command line or the input is wrong; nothing was written."""


class HostError(AnamoError):
    """This machine cannot run tasks now: no disk space, no memory or no process to be had."""


class AwsError(AnamoError):
    """AWS refused, or cannot be reached."""


class TransientError(AwsError):
    """AWS is throttling, failing or out of reach for now; the same request may pass later."""


class Throttled(TransientError):
    """AWS is throttling the requests."""


class Unreachable(TransientError):
    """The endpoint cannot be reached: check the network, the region and AWS_ENDPOINT_URL."""


class CredentialsExpired(TransientError):
    """The AWS credentials have expired: renew them; whoever waits reads them again."""


class CredentialsMissing(AwsError):
    """No usable AWS credentials: set AWS_PROFILE, or run 'aws configure'."""


class RegionMissing(AwsError):
    """No AWS region: pass -r REGION, or set AWS_DEFAULT_REGION."""


class AccessDenied(AwsError):
    """AWS denies access: the credentials lack a permission that is needed."""


class TableMissing(AwsError):
    """The table does not exist."""


class TableUnusable(AwsError):
    """The table has not the key or the indexes of a workflow table."""


class LogMissing(AwsError):
    """A log is not where its item says it is."""


class ItemRefused(AwsError):
    """DynamoDB refuses a change of one item, whose attributes another tool may have written."""


class BucketMissing(AwsError):
    """The bucket does not exist."""
