"""Servers that all processes of a test run share; each is started when it is first asked for.

A DynamoDB Local for each process would cost six starts, and as many engines that never get warm.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from multiprocessing.connection import Client, Listener

ADDRESS = "PYTEST_SERVERS"
"""The variable that tells a process of the run whom to ask."""

Starts = Mapping[str, Callable[[], AbstractContextManager[str]]]
"""What runs each server, by its name, and gives its endpoint URL."""


@contextmanager
def shared_servers(starts: Starts) -> Iterator[None]:
    """Give this process and those it starts the servers they ask for, and end them at the end."""
    with ExitStack() as stack, Listener(family="AF_UNIX", backlog=64) as listener:
        # The kernel ends the engine with the thread that started it, so this one ends last
        arguments = (listener, starts, stack)
        server = threading.Thread(target=_serve, args=arguments, daemon=True)
        server.start()
        os.environ[ADDRESS] = str(listener.address)
        stack.callback(os.environ.pop, ADDRESS)
        try:
            yield
        finally:
            # Not by closing the listener: another file may get its descriptor
            with Client(listener.address) as connection:
                connection.send(None)
            server.join()


def endpoint(name: str) -> str:
    """Return the endpoint URL of a server, started if need be.

    Raises:
        RuntimeError: It did not start.
    """
    with Client(os.environ[ADDRESS]) as connection:
        connection.send(name)
        answer = connection.recv()
    if isinstance(answer, Exception):
        raise answer
    return str(answer)


def _serve(listener: Listener, starts: Starts, stack: ExitStack) -> None:
    urls: dict[str, str] = {}
    while True:
        # A process that was killed while it asked is no reason to end the servers of the others
        with listener.accept() as connection, suppress(EOFError, ConnectionError):
            name = connection.recv()
            if name is None:
                return
            try:
                if name not in urls:
                    urls[name] = stack.enter_context(starts[name]())
                connection.send(urls[name])
            except Exception as error:  # noqa: BLE001  # whoever asked raises it
                connection.send(error)
