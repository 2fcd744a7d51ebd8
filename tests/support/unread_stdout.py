"""A stdout that nobody reads any more, such as that before `| head -1`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress


@contextmanager
def unread_stdout() -> Iterator[None]:
    """A context in which stdout is written line by line, and its reader has gone."""
    read, write = os.pipe()
    os.close(read)
    closed = os.fdopen(write, "w", buffering=1)
    with redirect_stdout(closed):
        yield
    # What could not be written is still in its buffer
    with suppress(BrokenPipeError):
        closed.close()
