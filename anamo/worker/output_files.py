"""The unnamed files that tasks write their output to.

Guaranteed: a file vanishes with its last open descriptor, whatever happens to the worker. It is
reused only once it is given back, and whoever does that must know that no process can still write
to it. A task finds its files empty, unlocked and at their beginning.

They are reused because ext4, once thousands of files have been created and deleted within a short
time, takes as long to create two more as the kernel takes to start a program.
"""

import fcntl
import os
import resource
import tempfile
from collections import deque
from contextlib import suppress
from typing import IO

from anamo.core.errors import HostError, with_advice

KEPT = 128
KEPT_SHARE = 8
"""At most this many files are kept for further tasks, and at most one for every KEPT_SHARE
descriptors that this process may have."""


class OutputFiles:
    """Files for output, open for append.

    The main thread of a worker process takes them; it and the recorder's thread give them back.

    Args:
        most: How many are kept for further tasks.
    """

    def __init__(self, most: int | None = None) -> None:
        if most is None:
            most = min(KEPT, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // KEPT_SHARE)
        self._most = most
        self._free: deque[IO[bytes]] = deque()

    def take(self) -> IO[bytes]:
        """An empty file, which the caller closes or gives back.

        Raises:
            HostError: There is none.
        """
        try:
            file = (
                self._free.pop()
                if self._free
                else tempfile.TemporaryFile(prefix="pyanamo-", buffering=0)  # noqa: SIM115
            )
            # A task may open it a second time (`>> /dev/stderr`): what it writes through one of the
            # two must not overwrite what it wrote through the other. TemporaryFile takes no notice
            # of an "a" in the mode. All three undo what the task before may have done
            fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
            fcntl.flock(file, fcntl.LOCK_UN)
            file.seek(0)
        except OSError as error:
            raise HostError(f"no file for a task's output: {with_advice(error)}") from error
        return file

    def give_back(self, file: IO[bytes]) -> None:
        """Keep a file for a further task, emptied; close it if there are enough."""
        with suppress(OSError):
            if len(self._free) < self._most:
                found = os.fstat(file.fileno())
                # Space may be reserved beyond the end
                if found.st_size or found.st_blocks:
                    file.truncate(0)
                self._free.append(file)
                return
        file.close()

    def close(self) -> bool:
        """Close those that are kept, to make room for other descriptors; False if there are none.

        For the main thread.
        """
        closed = bool(self._free)
        while self._free:
            self._free.pop().close()
        return closed


NONE_KEPT = OutputFiles(0)
"""Files that are never used again."""
