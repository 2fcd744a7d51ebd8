"""Threads of a worker process."""

import threading
from collections.abc import Callable

from anamo.core.errors import TOO_MANY_PROCESSES, HostError


def start_thread(name: str, run: Callable[[], object]) -> None:
    """Start a thread that does not keep the process from ending.

    Raises:
        HostError: The system has no thread to give.
    """
    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        # Python does not say why; a limit of processes is the usual reason
        raise HostError(f"no thread for the {name}: {error}; {TOO_MANY_PROCESSES}") from error
