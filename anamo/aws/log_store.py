"""Whole logs: gzip objects in S3, a member per task. The only module that speaks to S3.

Guaranteed: `zcat` reads an object whole, and the bytes of one member alone; memory stays flat
whatever a task prints. Not guaranteed: that output written after a task ended, by processes it
left behind, is in its log.

A member holds a header, then stdout, then stderr, each after an empty line and a line that says how
many bytes of it follow, and a last line break.
"""

import io
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError

from anamo.aws.consumed_capacity import CapacityMeter
from anamo.aws.faults import error_code, translate
from anamo.aws.session import renewed
from anamo.core.errors import (
    AccessDenied,
    AwsError,
    BucketMissing,
    LogMissing,
    TransientError,
)
from anamo.core.log_entry import LogEntry
from anamo.worker.outfile import Output
from anamo.worker.task_process import Outcome

CHUNK = 1 << 20
"""Bytes read at a time."""

IN_MEMORY = 8 << 20
"""Bytes of a compressed object before it goes to disk, and of one part of its upload."""

LEVEL = 3
"""zlib's level: nearly as small as the default on text, in a third of the time."""

TAG_WINDOW = 4096
"""Bytes of a line that may hold a tag."""

_TAG = re.compile(rb"(?:\A|(?<=\n))PyAnamo:\t([^\n]*)(\n)?")


@dataclass(frozen=True, slots=True)
class Packed:
    """A log object ready for S3: `body` is its bytes or the file that has them; `entries` are the
    log entries of its tasks in their order.
    """

    key: str
    body: bytes | Path
    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that ended, with what its log says of where it ran."""

    outcome: Outcome
    header: Mapping[str, str]


def pack(
    key: str, address: str, tasks: Sequence[Ended], limit: int, directory: Callable[[], Path]
) -> Packed:
    """Compress the tasks' logs into one object.

    key, address: where it will be in S3. limit: bytes a stream may have in a log entry.
    directory: makes the folder for an object too large for memory. Raises OSError if it cannot.
    """
    spool = _Spool(lambda: directory() / key.rpartition("/")[2])
    try:
        entries = tuple(_member(spool, address, task, limit) for task in tasks)
        return Packed(key, spool.body(), entries)
    except BaseException:
        spool.discard()
        raise


def _member(spool: "_Spool", address: str, task: Ended, limit: int) -> LogEntry:
    """Write a task's member; its log entry."""
    outcome = task.outcome
    first = spool.size
    gzip = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    streams = [_Stream(outcome.stdout, "stdout", limit), _Stream(outcome.stderr, "stderr", limit)]
    header = "".join(f"{name}: {_one_line(value)}\n" for name, value in task.header.items())
    spool.write(gzip.compress(header.encode("utf-8", "replace")))
    for stream in streams:
        spool.write(gzip.compress(f"\n== {stream.name}, {stream.size} bytes ==\n".encode()))
        for chunk in stream:
            spool.write(gzip.compress(chunk))
    spool.write(gzip.compress(b"\n"))
    spool.write(gzip.flush())
    stdout, stderr = streams
    return LogEntry(
        status=outcome.status,
        stdout=stdout.tail(),
        stderr=stderr.tail(),
        exit_code=outcome.exit_code,
        seconds=outcome.seconds,
        max_rss_mb=outcome.max_rss_mb,
        s3=address,
        s3_range=f"{first}-{spool.size - 1}",
        tags=stdout.tags(),
        lines=stdout.lines + stderr.lines,
    )


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


class _Stream:
    """One stream of a task's output, read once from begin to end; counts lines and finds tags."""

    def __init__(self, file: Output, name: str, limit: int) -> None:
        self._descriptor = file.fileno()
        self._limit = limit
        self.name = name
        self.size = os.fstat(self._descriptor).st_size
        self.lines = 0
        self._tags: dict[int, bytes] = {}
        self._window = b""

    def __iter__(self) -> Iterator[bytes]:
        position = 0
        while position < self.size:
            chunk = os.pread(self._descriptor, min(CHUNK, self.size - position), position)
            if not chunk:
                raise OSError(f"{self.name} of a task got shorter while it was read")
            self._note(chunk, position)
            position += len(chunk)
            yield chunk
        if self.size:
            self.lines += os.pread(self._descriptor, 1, self.size - 1) != b"\n"

    def _note(self, chunk: bytes, position: int) -> None:
        self.lines += chunk.count(b"\n")
        # A tag may begin in the chunk before
        window, begin = self._window + chunk, position - len(self._window)
        if b"PyAnamo:\t" in window:
            for match in _TAG.finditer(window):
                cut = begin > 0 and match.start() == 0
                if not cut and len(self._tags) < self._limit:
                    self._tags[begin + match.start()] = match[1][: self._limit]
        self._window = window[-TAG_WINDOW:]

    def tags(self) -> tuple[str, ...]:
        """The texts after `PyAnamo:<TAB>` at the start of lines, as far as there is room."""
        room, tags = self._limit, []
        for _, tag in sorted(self._tags.items()):
            text = _decoded(tag, self._limit)
            room -= len(text.encode()) + 1
            if room < 0:
                break
            tags.append(text)
        return tuple(tags)

    def tail(self) -> str:
        """The last of it, in at most `limit` bytes of UTF-8."""
        begin = max(self.size - self._limit, 0)
        return _decoded(os.pread(self._descriptor, self._limit, begin), self._limit)


def _decoded(data: bytes, limit: int) -> str:
    """The text's end that takes at most `limit` bytes: bytes that are no text take three each."""
    text = data.decode("utf-8", "replace")
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[-limit:].decode("utf-8", "ignore")


class _Spool:
    """Bytes in memory, or in a file of their own once there are many."""

    def __init__(self, path: Callable[[], Path]) -> None:
        self._make_path = path
        self._path: Path | None = None
        self._file: IO[bytes] = io.BytesIO()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes."""
        if isinstance(self._file, io.BytesIO) and self.size + len(data) > IN_MEMORY:
            memory = self._file
            self._path = self._make_path()
            self._file = self._path.open("wb")
            self._file.write(memory.getbuffer())
        self._file.write(data)
        self.size += len(data)

    def body(self) -> bytes | Path:
        """All of it."""
        if isinstance(self._file, io.BytesIO):
            return self._file.getvalue()
        self._file.close()
        assert self._path
        return self._path

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._path:
            with suppress(OSError):
                # Closing writes the rest, for which there may be no space
                self._file.close()
            self._path.unlink(missing_ok=True)


class Inflate:
    """Decompresses a sequence of gzip members; `name` stands for them in messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._member = self._new()

    def _new(self) -> Any:
        return zlib.decompressobj(16 + zlib.MAX_WBITS)

    def __call__(self, data: bytes) -> Iterator[bytes]:
        """Decompress more bytes.

        Yields:
            Pieces of at most CHUNK bytes: a megabyte of gzip may hold a gigabyte of blanks.

        Raises:
            LogMissing: The bytes are not gzip.
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
        """Raise LogMissing if the last member is incomplete."""
        if not self._member.eof:
            raise LogMissing(f"{self._name}: the log is cut off")


def located(address: str) -> tuple[str, str]:
    """Bucket and key of an s3:// address. The key is not unquoted: its escapes are part of it."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


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

    def check(self) -> None:
        """Check that the bucket can be used.

        Raises:
            BucketMissing: It does not exist.
            AccessDenied: A permission is missing.
            AwsError: Or one of its subclasses, for other reasons.
        """
        try:
            with self._faults():
                self._client.head_bucket(Bucket=self.bucket)
        except AccessDenied as denied:
            # S3 also answers so where s3:PutObject is allowed but s3:ListBucket is not
            needed = "a worker needs s3:ListBucket and s3:PutObject"
            raise AccessDenied(f"{denied}; {needed}") from denied

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
                self._client.put_object(
                    Bucket=self.bucket,
                    Key=packed.key,
                    Body=packed.body,
                    ContentType="application/gzip",
                )
            else:
                self._put_file(packed.key, packed.body)
        self.meter.put()

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
        with self._faults(key), closing(self._client.get_object(**request)["Body"]) as body:
            yield from body.iter_chunks(CHUNK)

    def _put_file(self, key: str, path: Path) -> None:
        from boto3.exceptions import S3UploadFailedError
        from boto3.s3.transfer import S3Transfer, TransferConfig

        one_part_at_a_time = TransferConfig(multipart_chunksize=IN_MEMORY, use_threads=False)
        try:
            # The type stubs take its configuration for the client's
            transfer = S3Transfer(self._client, one_part_at_a_time)  # type: ignore[arg-type]
            transfer.upload_file(
                str(path), self.bucket, key, extra_args={"ContentType": "application/gzip"}
            )
        except S3UploadFailedError as error:
            # It hides the error that tells a passing fault from a lasting one
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

    def _fault(self, error: ClientError | BotoCoreError, key: str) -> AwsError:
        code = error_code(error)
        # The answer to a HEAD request has no body, so its code is the status
        if code == "NoSuchBucket" or (code == "404" and not key):
            return BucketMissing(f"bucket {self.bucket} does not exist")
        if code in ("404", "NoSuchKey", "416", "InvalidRange"):
            return LogMissing(f"{self.address(key)}: the log is gone from S3")
        if code in ("301", "PermanentRedirect"):
            return AwsError(f"bucket {self.bucket} is in another region")
        if isinstance(error, IncompleteReadError):
            return TransientError(f"{self.address(key)}: {error}")
        self._client, fault = renewed(self._client, translate(error), self._renew_client)
        return type(fault)(f"bucket {self.bucket}: {fault}")
