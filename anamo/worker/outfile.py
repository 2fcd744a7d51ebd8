"""Files for what tasks print.

Guaranteed: they have no name and so leave nothing behind, whatever happens to the worker; a file is
used for a further task only once no other process has it open. Not guaranteed: that a file is ever
used again: where the kernel does not tell who has it open, each task gets new ones.

They are used again since ext4 gives out no inode whose file was deleted in the last seconds
(`recently_deleted` in its allocator) and walks past all of these to find one for a new file: at
hundreds of short tasks a second that took more processor time than everything else a worker does.
"""

import fcntl
import os
import tempfile
from contextlib import suppress
from typing import Protocol

SMALL = 64 * 1024
"""Bytes on disk of a file that is kept; a larger one gives its space back."""

KEPT = 256
"""Files that are kept: more than a worker has in use that runs short tasks, and a quarter of the
descriptors that a process usually may have."""

_NONE = -1


class Output(Protocol):
    """One stream of a task's output, once it has ended."""

    def fileno(self) -> int:
        """A descriptor to read it from."""

    def close(self) -> None:
        """Let go of it."""


class OutFile:
    """An unnamed file for one stream. `writer` is the descriptor the task gets, open until `begun`.

    Raises OSError where no file can be made.
    """

    def __init__(self, files: "OutFiles") -> None:
        self._files = files
        with tempfile.TemporaryFile(prefix="pyanamo-", buffering=0) as file:
            self._reader = _opened_again(file.fileno(), os.O_RDONLY)
        self.writer = _NONE
        try:
            self.open()
        except OSError:
            self.discard()
            raise

    def open(self) -> None:
        """Make it ready for a task, empty.

        It is appended to, since a task may open it a second time (`>> /dev/stderr`): what is
        written through one of the two must not overwrite what came through the other.
        """
        self.writer = _opened_again(self._reader, os.O_WRONLY | os.O_APPEND | os.O_TRUNC)

    def begun(self) -> None:
        """Leave the writing to the task, if that has not been done."""
        if self.writer != _NONE:
            os.close(self.writer)
            self.writer = _NONE

    def fileno(self) -> int:
        """A descriptor to read it from."""
        return self._reader

    def close(self) -> None:
        """Let go of it: for the next task, or for good."""
        self.begun()
        if self._is_small() and self._is_left():
            self._files.take_back(self)
        else:
            self.discard()

    def discard(self) -> None:
        """Close it for good."""
        self.begun()
        os.close(self._reader)

    def _is_small(self) -> bool:
        return os.fstat(self._reader).st_blocks * 512 <= SMALL

    def _is_left(self) -> bool:
        """Whether nobody else has it open: only then does the kernel grant a lease to write. A
        process that the task left behind would write into another task's log, or read it.
        """
        try:
            fcntl.fcntl(self._reader, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(self._reader, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            return False
        return True


class OutFiles:
    """Gives out files for output, those that are free first. One thread takes them, others may give
    them back.
    """

    def __init__(self) -> None:
        self._free: list[OutFile] = []

    def new(self) -> OutFile:
        """An empty file. Raises OSError where none can be made."""
        while self._free:
            file = self._free.pop()
            # A task may have changed the file's mode
            with suppress(OSError):
                file.open()
                return file
            file.discard()
        return OutFile(self)

    def take_back(self, file: OutFile) -> None:
        """Have it for a further task."""
        if len(self._free) < KEPT:
            self._free.append(file)
        else:
            file.discard()


def _opened_again(descriptor: int, flags: int) -> int:
    """Another descriptor of the same file, which has a position and flags of its own."""
    return os.open(f"/proc/self/fd/{descriptor}", flags | os.O_CLOEXEC)
