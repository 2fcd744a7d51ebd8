"""Whole logs in S3. The only module that speaks to S3.

Guaranteed: memory stays flat however large a log is. Not guaranteed: that a log is sent only once;
sending it again writes the same object.
"""

import logging
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError

from anamo.aws.consumed_capacity import CapacityMeter
from anamo.aws.faults import error_code, translate, unreadable
from anamo.aws.session import renewed
from anamo.core.errors import (
    AccessDenied,
    AwsError,
    BucketMissing,
    LogMissing,
    TransientError,
)
from anamo.core.log_entry import LogEntry

logger = logging.getLogger(__name__)

CHUNK = 1 << 20
"""Bytes read at a time."""

IN_MEMORY = 8 << 20
"""Largest object, in bytes, that is held in memory; also the size of one part of an upload."""

PROBE = ".pyanamo-probe"
"""Name of the object that a worker puts next to the logs when it starts. The next overwrites it."""

_PROBE_TEXT = b"A worker that starts writes this to see whether it can write logs here.\n"


_NEW_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""A name that S3 takes for a new bucket; old ones of us-east-1 may have others."""

_GZIP = 16 + zlib.MAX_WBITS
"""What zlib is told to expect gzip by."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A log object ready for S3.

    Attributes:
        key: Its S3 key.
        body: Its bytes, or the path of the file that has them.
        entries: The log entries of its tasks, in order.
    """

    key: str
    body: bytes | Path
    entries: tuple[LogEntry, ...]


class Inflate:
    """Decompresses a sequence of gzip members; `name` stands for them in messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._member = zlib.decompressobj(_GZIP)

    def __call__(self, data: bytes) -> Iterator[bytes]:
        """Decompress more bytes.

        Yields:
            Pieces of at most CHUNK bytes: a megabyte of gzip may hold a gigabyte of blanks.

        Raises:
            LogMissing: The bytes are not gzip.
        """
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            try:
                piece = self._member.decompress(data, CHUNK)
            except zlib.error as error:
                raise LogMissing(f"{self._name}: not the log that was written: {error}") from error
            if piece:
                yield piece
            data = self._member.unconsumed_tail or self._member.unused_data

    def end(self) -> None:
        """Check that the last member is complete.

        Raises:
            LogMissing: It is not.
        """
        if not self._member.eof:
            raise LogMissing(f"{self._name}: the log is cut off")


def located(address: str) -> tuple[str, str]:
    """Bucket and key of an s3:// address. The key is not unquoted: its escapes are part of it.

    Raises:
        LogMissing: It is not one; another tool may have written it.
    """
    match = re.fullmatch(r"s3://([A-Za-z0-9._-]{3,255})/(.+)", address, re.DOTALL)
    if not match:
        raise LogMissing(f"{address} is not an s3:// address of a log")
    return match[1], match[2]


def _bounds(span: str, address: str) -> tuple[int, int | None]:
    """First and last byte of a span, the last None for all. Raises LogMissing if it is no span."""
    if not span:
        return 0, None
    match = re.fullmatch(r"([0-9]{1,15})-([0-9]{1,15})", span)
    if not match:
        raise LogMissing(f"{address}: {span!r} is not a range of bytes")
    return int(match[1]), int(match[2])


class LogStore:
    """A bucket's log objects. Threads may share it.

    Args:
        client: A boto3 client of S3; None where only `address` is used.
        bucket: The bucket's name.
        renew_client: Makes another client once the credentials of this one have expired.

    Attributes:
        meter: How many objects were put.
    """

    def __init__(
        self, client: Any, bucket: str, renew_client: Callable[[], Any] | None = None
    ) -> None:
        self._client = client
        self._renew_client = renew_client
        self.bucket = bucket
        self.meter = CapacityMeter()

    def check(self, folder: str) -> None:
        """Check that logs can be put, by putting a small object.

        Nothing less shows that s3:PutObject and the use of the bucket's KMS key are allowed. That
        kms:Decrypt is denied, which only uploads in parts need, is not noticed.

        Args:
            folder: What the logs' keys begin with, as far as the last slash.

        Raises:
            BucketMissing: It does not exist.
            AccessDenied: A permission is missing.
            AwsError: Or one of its subclasses, for other reasons.
        """
        try:
            with self._faults():
                self._put_bytes(folder + PROBE, _PROBE_TEXT, "text/plain")
        except BucketMissing as missing:
            if not _NEW_BUCKET.fullmatch(self.bucket):
                raise BucketMissing(
                    f"{missing}: it is no valid name of a bucket (3 to 63 of a-z 0-9 . -)"
                ) from missing
            region = self._client.meta.region_name
            command = f"aws s3 mb s3://{self.bucket} --region {region}"
            raise BucketMissing(f"{missing}; to create it: {command}") from missing
        except AccessDenied as denied:
            needed = f"s3:PutObject on {self.address(folder)}*"
            if "kms:" in str(denied):
                needed = "kms:GenerateDataKey and kms:Decrypt on the bucket's KMS key"
            raise AccessDenied(f"{denied}: a worker needs {needed}") from denied

    def address(self, key: str) -> str:
        """The s3:// address of a key."""
        return f"s3://{self.bucket}/{key}"

    def put(self, packed: Packed) -> None:
        """Upload a log object; a large file is uploaded in parts.

        Raises:
            AwsError: Or one of its subclasses: BucketMissing, AccessDenied, TransientError.
        """
        with self._faults():
            if isinstance(packed.body, bytes):
                self._put_bytes(packed.key, packed.body, "application/gzip")
            else:
                self._put_file(packed.key, packed.body)
        self.meter.put()

    def delete(self, key: str) -> None:
        """Delete an object, if there is one.

        Raises:
            AwsError: Or one of its subclasses: BucketMissing, AccessDenied, TransientError.
        """
        with self._faults():
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def read(self, key: str, span: str) -> Iterator[bytes]:
        """Read and decompress an object. A connection that breaks is resumed where it was.

        Args:
            key: The object's key.
            span: The bytes to read, `first-last`; empty for all.

        Yields:
            Pieces of at most CHUNK bytes.

        Raises:
            LogMissing: There is no such object, or it is not what was written.
            AwsError: Or one of its subclasses: BucketMissing, AccessDenied, TransientError.
        """
        inflate = Inflate(self.address(key))
        first, last = _bounds(span, self.address(key))
        position, resumed = first, -1
        while resumed != position and (last is None or position <= last):
            resumed = position
            try:
                for chunk in self._get(key, position, last):
                    position += len(chunk)
                    yield from inflate(chunk)
            except TransientError:
                if position == resumed:
                    raise
            else:
                if last is None:
                    break
        inflate.end()

    def _get(self, key: str, first: int, last: int | None) -> Iterator[bytes]:
        request = {"Bucket": self.bucket, "Key": key}
        if first or last is not None:
            request["Range"] = f"bytes={first}-{'' if last is None else last}"
        with self._faults(key), closing(self._client.get_object(**request)["Body"]) as body:
            yield from body.iter_chunks(CHUNK)

    def _put_bytes(self, key: str, body: bytes, content_type: str) -> None:
        response = self._client.put_object(
            Bucket=self.bucket, Key=key, Body=body, ContentType=content_type
        )
        if "ETag" not in response:
            # Not S3's: a proxy on the way has reported success
            raise TransientError(f"bucket {self.bucket}: the response has no ETag")

    def _put_file(self, key: str, path: Path) -> None:
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.transfer import TransferConfig

        try:
            self._client.upload_file(
                str(path),
                self.bucket,
                key,
                ExtraArgs={"ContentType": "application/gzip"},
                Config=TransferConfig(multipart_chunksize=IN_MEMORY, use_threads=False),
            )
        except S3UploadFailedError as error:
            # It hides the error that tells whether this may pass
            if isinstance(error.__context__, (ClientError, BotoCoreError)):
                raise error.__context__ from error
            raise AwsError(f"bucket {self.bucket}: {error}") from error

    @contextmanager
    def _faults(self, key: str = "") -> Iterator[None]:
        """Raise errors of botocore as those of `core.errors`; `key` is that of the object read."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise self._fault(error, key) from error
        except (AwsError, OSError):
            raise
        except Exception as error:
            logger.debug("request to bucket %s", self.bucket, exc_info=True)
            fault = unreadable(error)
            raise type(fault)(f"bucket {self.bucket}: {fault}") from error

    def _fault(self, error: ClientError | BotoCoreError, key: str) -> AwsError:
        code = error_code(error)
        if code in ("NoSuchBucket", "InvalidBucketName"):
            return BucketMissing(f"bucket {self.bucket} does not exist")
        if key and code in ("404", "NoSuchKey", "416", "InvalidRange"):
            return LogMissing(f"{self.address(key)}: the log no longer exists in S3")
        if code in ("301", "PermanentRedirect"):
            return AwsError(
                f"bucket {self.bucket} is in another region, where it cannot be reached"
            )
        if isinstance(error, IncompleteReadError):
            return TransientError(f"{self.address(key)}: {error}")
        self._client, fault = renewed(self._client, translate(error), self._renew_client)
        where, advice = f"bucket {self.bucket}", ""
        if code.startswith("KMS."):
            advice = "; enable the bucket's KMS key, or give the bucket another one"
        elif key and isinstance(fault, AccessDenied):
            where = self.address(key)
            advice = "; or the log no longer exists: without s3:ListBucket, S3 does not say which"
        return type(fault)(f"{where}: {fault}{advice}")
