"""Several hosts on one machine: network namespaces, joined by a bridge in one of their own.

The machine's own network is not touched. DynamoDB and S3 stay on its loopback; a relay, whose
sockets listen beside the bridge, leads there. Only root can make namespaces.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
BRIDGE = "10.77.0.1"

libc = ctypes.CDLL(None, use_errno=True)


class ImpossibleError(Exception):
    """This machine cannot do it; the message says why."""


class Hosts:
    """Hosts by number, from 0, all connected; `cut` and `mend` a connection."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        self._name = name
        self._stack = stack

    def under(self, host: int) -> list[str]:
        """The words that start a command on a host."""
        return ["ip", "netns", "exec", f"{self._name}-{host}"]

    def cut(self, host: int) -> None:
        """Take the cable out."""
        self._set(host, "down")

    def mend(self, host: int) -> None:
        """Put the cable back."""
        self._set(host, "up")

    def _set(self, host: int, state: str) -> None:
        run(f"ip -n {self._name} link set host{host} {state}")

    def relay(self, url: str, port: int) -> str:
        """The URL at which the hosts reach a server of this machine's loopback."""
        listener = self._listen(port)
        there = urlsplit(url)
        address = (str(there.hostname), int(there.port or 0))
        self._stack.callback(Relay(listener, address).close)
        return f"http://{BRIDGE}:{port}"

    def _listen(self, port: int) -> socket.socket:
        made: list[socket.socket] = []

        def enter() -> None:
            # A namespace belongs to a thread, and a socket to the namespace it was made in
            with (NAMESPACES / self._name).open() as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.create_server((BRIDGE, port)))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return made[0]


class Relay:
    """Leads the connections that a listening socket takes to an address, until it is closed."""

    def __init__(self, listener: socket.socket, address: tuple[str, int]) -> None:
        self._listener = listener
        self._address = address
        self._open = {listener}
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        """End all connections."""
        for each in [*self._open]:
            # Closing alone would leave whoever waits for it waiting
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        while self._threads:
            self._threads.pop().join()

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments)
        # In this order: `close` joins what it finds, and only what was started can be joined
        thread.start()
        self._threads.append(thread)
        return thread

    def _accept(self) -> None:
        with self._listener, suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.add(client)
                self._start(self._lead, client)

    def _lead(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._address) as server:
            back = self._start(pump, server, client)
            pump(client, server)
            back.join()
        self._open.discard(client)


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes from one side until either is gone."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def run(command: str) -> None:
    """Run a command of iproute2. Raises ImpossibleError with what it said."""
    try:
        subprocess.run(command.split(), check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ImpossibleError("there is no `ip` here (package iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise ImpossibleError(f"{command}: {error.stderr.strip()}") from None


@contextmanager
def hosts(number: int) -> Iterator[Hosts]:
    """Make hosts, and take them away afterwards.

    Raises ImpossibleError where this machine does not let us.
    """
    name = f"anamo-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:

        def add(namespace: str) -> None:
            run(f"ip netns add {namespace}")
            stack.callback(run, f"ip netns del {namespace}")
            run(f"ip -n {namespace} link set lo up")

        if os.geteuid():
            raise ImpossibleError("only root may make network namespaces")
        add(name)
        run(f"ip -n {name} link add bridge type bridge")
        run(f"ip -n {name} addr add {BRIDGE}/24 dev bridge")
        run(f"ip -n {name} link set bridge up")
        for host in range(number):
            add(f"{name}-{host}")
            run(f"ip -n {name} link add host{host} type veth peer name eth0 netns {name}-{host}")
            run(f"ip -n {name} link set host{host} master bridge up")
            run(f"ip -n {name}-{host} addr add 10.77.0.{host + 10}/24 dev eth0")
            run(f"ip -n {name}-{host} link set eth0 up")
        yield Hosts(name, stack)
