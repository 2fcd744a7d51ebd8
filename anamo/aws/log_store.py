"""Whole logs in S3. The only module that speaks to S3.

Guaranteed: memory stays flat however large a log is. Not guaranteed: that a log is sent only once;
sending it again writes the same object.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError

from anamo.aws.consumed_capacity import CapacityMeter
from anamo.aws.session import renewed, translate
from anamo.core.errors import (
    AccessDenied,
    AwsError,
    BucketMissing,
    LogMissing,
    TransientError,
)
from anamo.core.log_entry import LogEntry

CHUNK = 1 << 20
"""Bytes read at a time."""

IN_MEMORY = 8 << 20
"""Largest object, in bytes, that is held in memory; also the size of one part of an upload."""


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
    """Decompresses gzip members that follow one another; `name` is what they are called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._member = self._new()

    def _new(self) -> Any:
        return zlib.decompressobj(16 + zlib.MAX_WBITS)

    def __call__(self, data: bytes) -> Iterator[bytes]:
        """The pieces that come of further bytes, each at most CHUNK: a megabyte of gzip may hold a
        gigabyte of blanks. Raises LogMissing where they are no gzip.
        """
        while data:
            if self._member.eof:
                self._member = self._new()
            try:
                piece = self._member.decompress(data, CHUNK)
            except zlib.error as error:
                raise LogMissing(f"{self._name}: not the log that was written: {error}") from error
            if piece:
                yield piece
            data = self._member.unconsumed_tail or self._member.unused_data

    def end(self) -> None:
        """Raises LogMissing where a member was cut off."""
        if not self._member.eof:
            raise LogMissing(f"{self._name}: the log is cut off")


def located(address: str) -> tuple[str, str]:
    """Bucket and key of an s3:// address. The key stays as it is: its escapes are part of it."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


class LogStore:
    """A bucket's log objects. Threads may share it.

    meter: how many were put. renew_client: makes another client once the credentials of this one
    have expired.
    """

    def __init__(
        self, client: Any, bucket: str, renew_client: Callable[[], Any] | None = None
    ) -> None:
        self._client = client
        self._renew_client = renew_client
        self.bucket = bucket
        self.meter = CapacityMeter()

    def check(self) -> None:
        """Raises BucketMissing, AccessDenied or another AwsError where logs could not be put."""
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in ("404", "NoSuchBucket"):
                raise BucketMissing(f"bucket {self.bucket} does not exist") from error
            if code in ("301", "PermanentRedirect"):
                raise AwsError(f"bucket {self.bucket} is in another region") from error
            fault = self._named(error)
            if isinstance(fault, AccessDenied):
                # S3 answers so, too, where only s3:PutObject is allowed
                fault = AccessDenied(f"{fault}; a worker needs s3:ListBucket and s3:PutObject")
            raise fault from error
        except BotoCoreError as error:
            raise self._named(error) from error

    def address(self, key: str) -> str:
        """The s3:// address of a key."""
        return f"s3://{self.bucket}/{key}"

    def put(self, packed: Packed) -> None:
        """Bring a log object to S3; a file of many parts goes up in parts.

        Raises BucketMissing, AccessDenied, TransientError or another AwsError.
        """
        try:
            if isinstance(packed.body, bytes):
                self._client.put_object(
                    Bucket=self.bucket,
                    Key=packed.key,
                    Body=packed.body,
                    ContentType="application/gzip",
                )
            else:
                self._put_file(packed.key, packed.body)
            self.meter.put()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
                raise BucketMissing(f"bucket {self.bucket} does not exist") from error
            raise self._named(error) from error
        except BotoCoreError as error:
            raise self._named(error) from error

    def read(self, key: str, span: str) -> Iterator[bytes]:
        """What was compressed into the bytes `span` (first-last; empty for all) of an object, in
        pieces of at most CHUNK. A connection that breaks off is taken up where it was.

        Raises LogMissing where there is no such object or it is not what was written,
        BucketMissing, AccessDenied, TransientError or another AwsError.
        """
        inflate = Inflate(self.address(key))
        first, last = map(int, span.split("-")) if span else (0, None)
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
        try:
            with closing(self._client.get_object(**request)["Body"]) as body:
                yield from body.iter_chunks(CHUNK)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in ("404", "NoSuchKey", "416", "InvalidRange"):
                raise LogMissing(f"{self.address(key)}: the log is gone from S3") from error
            if code == "NoSuchBucket":
                raise BucketMissing(f"bucket {self.bucket} does not exist") from error
            raise self._named(error) from error
        except IncompleteReadError as error:
            raise TransientError(f"{self.address(key)}: {error}") from error
        except BotoCoreError as error:
            raise self._named(error) from error

    def _put_file(self, key: str, path: Path) -> None:
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.transfer import S3Transfer, TransferConfig

        one_after_the_other = TransferConfig(multipart_chunksize=IN_MEMORY, use_threads=False)
        try:
            # The type stubs mistake its own configuration for the client's
            transfer = S3Transfer(self._client, one_after_the_other)  # type: ignore[arg-type]
            transfer.upload_file(
                str(path), self.bucket, key, extra_args={"ContentType": "application/gzip"}
            )
        except S3UploadFailedError as error:
            # It hides the error that tells a passing fault from a lasting one
            if isinstance(error.__context__, (ClientError, BotoCoreError)):
                raise error.__context__ from error
            raise AwsError(f"bucket {self.bucket}: {error}") from error

    def _named(self, error: ClientError | BotoCoreError) -> AwsError:
        translation: AwsError
        self._client, translation = renewed(self._client, translate(error), self._renew_client)
        return type(translation)(f"bucket {self.bucket}: {translation}")
