"""The threads of an import, and what Ctrl-C does to them.

Guaranteed: after Ctrl-C no further part of an import begins, the parts in progress end soon, and a
second Ctrl-C ends the process at once.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

THREADS = 4
"""Requests in flight: transactions of 100 puts by 4 threads are faster than single puts by 16."""

INTERRUPTED = (
    "finishing requests in flight (press Ctrl-C again to abort them); "
    "the same command finishes the import"
)


class Threads:
    """Runs the requests of an import.

    Args:
        say: Takes messages for the user.

    Attributes:
        stopped: Set once Ctrl-C was pressed or a request has failed for good: whoever waits to
            retry a request gives up then.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self.stopped = threading.Event()
        self._say = say

    @contextmanager
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        """A context with a pool of threads; at its end, their requests have ended."""
        with ThreadPoolExecutor(THREADS) as pool:
            try:
                yield pool
            except KeyboardInterrupt:
                self.stopped.set()
                with _killed_by_sigint():
                    self._say(INTERRUPTED)
                    pool.shutdown(cancel_futures=True)
                raise
            except BaseException:
                self.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@contextmanager
def _killed_by_sigint() -> Iterator[None]:
    """A context in which Ctrl-C ends the process; a notebook's handler is back afterwards."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
