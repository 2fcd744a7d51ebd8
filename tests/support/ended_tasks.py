"""Tasks that have ended, and their packed logs."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from anamo.aws.log_store import Packed
from anamo.core.item_size import STREAM_TAIL
from anamo.core.log_entry import LogEntry
from anamo.worker.log_packer import Ended, pack
from anamo.worker.task_process import Outcome

HEADER = {"PyAnamo": "1", "command": "seq 3", "status": "Execution Successful"}


class Tasks:
    """Makes tasks that have ended, and closes their files."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def file(self, content: bytes = b"", times: int = 1) -> IO[bytes]:
        """A file with that content."""
        file: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        for _ in range(times):
            file.write(content)
        file.flush()
        return file

    def ended(self, stdout: IO[bytes] | bytes = b"", stderr: bytes = b"") -> Ended:
        """A task that printed this."""
        outcome = Outcome(
            script="seq 3",
            exit_code=0,
            signal=0,
            stopped=None,
            started="2026-01-31T09:30:00Z",
            ended="2026-01-31T09:30:01Z",
            seconds=1.25,
            max_rss_mb=12.5,
            stdout=self.file(stdout) if isinstance(stdout, bytes) else stdout,
            stderr=self.file(stderr),
        )
        return Ended(outcome, HEADER)

    def pack(self, tasks: Sequence[Ended], limit: int = STREAM_TAIL) -> Packed:
        """Pack them into one object."""
        packed = pack("a/b/c.log.gz", "s3://bucket/a/b/c.log.gz", tasks, limit)
        return self._stack.enter_context(packed)

    def entry(self, stdout: IO[bytes] | bytes, limit: int = STREAM_TAIL) -> LogEntry:
        """The log entry of a task that printed this."""
        return self.pack([self.ended(stdout)], limit).entries[0]


def content(packed: Packed) -> bytes:
    """The object."""
    return packed.body if isinstance(packed.body, bytes) else packed.body.read_bytes()


def member(packed: Packed, entry: LogEntry) -> bytes:
    """What the member of that entry holds, uncompressed."""
    first, last = map(int, entry.s3_range.split("-"))
    return gzip.decompress(content(packed)[first : last + 1])


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
