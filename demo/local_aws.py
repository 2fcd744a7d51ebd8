"""A local DynamoDB and S3 for the demo and the tests: moto's server on a free loopback port.

Run as a script it prints the endpoint URLs of both, once it is listening, as the one line on
stdout, and serves until its stdin is closed: it cannot outlive the process that started it, however
that one ends.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Iterable
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wsgi import ClosingIterator

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


MOST_MEMORY = 3 << 30
"""Bytes: a table of 1,000 lines takes 0.7 GB, one of 1,500 takes 1.7 GB."""

ENDS = (
    "\nThe local DynamoDB and S3 have ended: they have taken 3 GB of memory, since a table has "
    "more than 1,000 items or so. To begin again, exit and start ./demo.sh."
)


class Serialised:
    """A WSGI application that answers one request at a time, whatever number of threads serve it.

    Moto checks the condition of a conditional write and then writes, with nothing held in between:
    under a threaded server two workers can both win the claim of one item.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with the whole body at hand: one produced lazily would run outside the lock."""
        with self._lock:
            body = ClosingIterator(self._application(environ, start_response))
            with closing(body):
                return list(body)


class Limited:
    """A WSGI application that ends its process, with a message, once that has taken much memory.

    For each item of a transaction, moto copies the table, and it keeps the copies: an import of
    3,000 lines would take all of the machine's memory.
    """

    def __init__(self, application: WSGIApplication, most: int = MOST_MEMORY) -> None:
        self._application = application
        self._most = most

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, unless the process is as large as it may become."""
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > self._most:
            print(ENDS, file=sys.stderr, flush=True)
            # From a thread of the server, so that no request is answered any more
            os._exit(1)
        return self._application(environ, start_response)


class QuietHandler(WSGIRequestHandler):
    """Says nothing of requests that were served, so that an error stands out."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Drop the line."""


def local_aws() -> BaseWSGIServer:
    """Return a server that is listening already, its port in `server_port`, but not serving yet."""
    application = Serialised(DomainDispatcherApplication(create_backend_app))
    return make_server("127.0.0.1", 0, application, threaded=True, request_handler=QuietHandler)


def main() -> None:
    """Serve until stdin is closed."""
    server = local_aws()
    server.app = Limited(server.app)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    print(url, url, flush=True)
    with suppress(KeyboardInterrupt):
        sys.stdin.read()


if __name__ == "__main__":
    main()
