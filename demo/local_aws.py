"""A local DynamoDB and S3 for the demo and the tests: moto's server on a free loopback port.

Run as a script it prints the endpoint URLs of both, once it is listening, as the one line on
stdout, and serves until its stdin is closed: it cannot outlive the process that started it, however
that one ends.
"""

from __future__ import annotations

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
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    print(url, url, flush=True)
    with suppress(KeyboardInterrupt):
        sys.stdin.read()


if __name__ == "__main__":
    main()
