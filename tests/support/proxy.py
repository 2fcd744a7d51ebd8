"""A proxy before a local endpoint, through which a test makes the network and AWS misbehave.

What it does with a request is up to its `behaviour`, which a test may change at any time. That is
a function of the request and of `forward`, which has the endpoint execute it:

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        reply = forward(request)  # or don't: then it was never executed
        return reply              # or another one, or None: the connection closes without a reply

A behaviour may block, on an event of the test's say: it runs in a thread of its own connection.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from email.message import Message
from email.utils import format_datetime, parsedate_to_datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from anamo.aws.log_store import PROBE

# They concern one connection, and each side of the proxy has its own.
HOP_BY_HOP = {"connection", "content-length", "expect", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def operation(self) -> str:
        """For DynamoDB the operation, "UpdateItem", for S3 method and path, "PUT /bucket/key"."""
        target = self.headers.get("X-Amz-Target")
        return target.partition(".")[2] if target else f"{self.method} {urlsplit(self.path).path}"

    @property
    def is_upload(self) -> bool:
        """Whether it uploads a log to S3, or a part of one: not what a worker puts at its start."""
        return self.method == "PUT" and not self.path.endswith(f"/{PROBE}")

    @property
    def json(self) -> Any:
        """The parameters of a DynamoDB operation."""
        return json.loads(self.body)


@dataclass
class Reply:
    """What the client is told."""

    status: int
    headers: Message
    body: bytes

    @classmethod
    def of(cls, payload: Any, status: int = 200) -> Reply:
        """Make a reply as DynamoDB would, from what is to be its JSON."""
        headers = Message()
        headers["Content-Type"] = "application/x-amz-json-1.0"
        return cls(status, headers, json.dumps(payload).encode())

    @property
    def json(self) -> Any:
        """The result of a DynamoDB operation."""
        return json.loads(self.body)


Forward = Callable[[Request], Reply]
Behaviour = Callable[[Request, Forward], "Reply | None"]


def passing(request: Request, forward: Forward) -> Reply | None:
    """Do what a network should."""
    return forward(request)


def cutting(_request: Request, _forward: Forward) -> Reply | None:
    """Lose the request: it is not executed, and the connection closes."""
    return None


def dropping_reply(request: Request, forward: Forward) -> Reply | None:
    """Lose the reply: the request is executed, and the connection closes."""
    forward(request)
    return None


def failing(code: str, status: int = 400, message: str = "as the test wants it") -> Behaviour:
    """Execute nothing and answer with an error, in DynamoDB's form or S3's as the client expects.

    Args:
        code: For instance "ProvisionedThroughputExceededException", "AccessDenied".
        status: The HTTP status, 500 for instance.
        message: What the error says.
    """

    def behaviour(request: Request, _forward: Forward) -> Reply | None:
        if "X-Amz-Target" in request.headers:
            kind = f"com.amazonaws.dynamodb.v20120810#{code}"
            return Reply.of({"__type": kind, "message": message}, status)
        headers = Message()
        headers["Content-Type"] = "application/xml"
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Reply(status, headers, body.encode())

    return behaviour


def garbling(body: bytes, *, executed: bool = True) -> Behaviour:
    """Answer with status 200 and this body instead of what the endpoint says.

    Args:
        body: The body.
        executed: Whether the endpoint executes the request.
    """

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        headers = forward(request).headers if executed else Message()
        # As a page that a proxy puts in the place of the answer
        del headers["ETag"], headers["x-amz-crc32"]
        return Reply(200, headers, body)

    return behaviour


def skewing(seconds: float) -> Behaviour:
    """Pass, with the endpoint's clock that much ahead (behind, if negative) in its Date header."""

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        reply = forward(request)
        date = parsedate_to_datetime(reply.headers["Date"]) + timedelta(seconds=seconds)
        reply.headers.replace_header("Date", format_datetime(date, usegmt=True))
        return reply

    return behaviour


def dating(seconds: float, begins: Callable[[Request], bool], every: int = 10) -> Behaviour:
    """Pass, with one Date header in so many that much ahead: the first is that of the first reply
    to a request of which `begins` is true.
    """
    ahead = skewing(seconds)
    counted = count()
    begun = threading.Event()

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        if begun.is_set() or begins(request):
            begun.set()
            return (passing if next(counted) % every else ahead)(request, forward)
        return forward(request)

    return behaviour


def on(operation: str, behaviour: Behaviour, first: int = sys.maxsize) -> Behaviour:
    """Treat the first so many requests of one operation in a certain way, and pass all else."""
    seen = count(1)

    def selecting(request: Request, forward: Forward) -> Reply | None:
        chosen = request.operation == operation and next(seen) <= first
        return (behaviour if chosen else passing)(request, forward)

    return selecting


class Holding:
    """A behaviour that keeps requests waiting, then passes them; `seen` says that one came."""

    def __init__(self) -> None:
        self.seen = False
        self._free = threading.Event()

    def release(self) -> None:
        """Let them go on."""
        self._free.set()

    def __call__(self, request: Request, forward: Forward) -> Reply | None:
        """Keep it waiting, then execute it."""
        self.seen = True
        self._free.wait(30)
        return forward(request)


class Proxy:
    """The proxy itself, listening on a free loopback port while the context is open."""

    def __init__(self, upstream: str) -> None:
        self.behaviour: Behaviour = passing
        self._upstream = urlsplit(upstream).netloc
        self._requests: list[Request] = []
        self._faults: list[BaseException] = []
        self._server = Server(("127.0.0.1", 0), self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in the order they came in, whatever became of them."""
        return list(self._requests)

    @property
    def operations(self) -> Counter[str]:
        """How often each operation was asked for so far."""
        return Counter(request.operation for request in self.requests)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Cut all connections and refuse new ones while the context is open."""
        self._server.stop()
        try:
            yield
        finally:
            self._server = Server(self._server.server_address, self)
            self._server.start()

    def treat(self, request: Request) -> Reply | None:
        """Record a request and return what the behaviour makes of it."""
        self._requests.append(request)
        return self.behaviour(request, self.forward)

    def forward(self, request: Request) -> Reply:
        """Have the endpoint execute a request."""
        upstream = HTTPConnection(self._upstream, timeout=60)
        try:
            upstream.putrequest(
                request.method, request.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    upstream.putheader(name, value)
            upstream.putheader("Content-Length", str(len(request.body)))
            upstream.endheaders(request.body)
            response = upstream.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            upstream.close()

    def fault(self, error: BaseException) -> None:
        """Remember an error of a behaviour, to raise it where the test sees it."""
        self._faults.append(error)

    def __enter__(self) -> Proxy:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
        if self._faults:
            raise self._faults[0]


class Server(ThreadingHTTPServer):
    """One life of a proxy, between two times that it is down."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: Any, proxy: Proxy) -> None:
        super().__init__(address, Handler)
        self.proxy = proxy
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Serve in the background."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and cut what is connected."""
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._connections:
                # The other end may have reset it
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Keep an eye on the connection while a thread serves it."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_connection: Any) -> None:
        """Take a client that went away as normal, anything else as a fault of the test."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.proxy.fault(error)


class Handler(BaseHTTPRequestHandler):
    """One connection of a client; it stays open from request to request, as AWS keeps it."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._exactly(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0] or b"-1", 16):
            body += self._exactly(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _exactly(self, size: int) -> bytes:
        """So many bytes: half a request of a client that was killed is no request."""
        body = self.rfile.read(size) if size >= 0 else b""
        if len(body) != size:
            raise ConnectionResetError("the client went away")
        return body

    def _answer(self) -> None:
        request = Request(self.command, self.path, self.headers, self._body())
        reply = self.server.proxy.treat(request)
        if reply is None:
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        # The reply to HEAD tells the length of a body that it doesn't have.
        length = reply.headers["Content-Length"] if self.command == "HEAD" else len(reply.body)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  # names http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
        """Say nothing: the tests ask `Proxy.requests`."""
