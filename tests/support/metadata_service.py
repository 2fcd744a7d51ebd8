"""EC2's instance metadata service on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class MetadataServer(ThreadingHTTPServer):
    """EC2's instance metadata service: tokens first, as IMDSv2 wants it.

    answers: the values by their paths; they may change while it serves.
    """

    def __init__(self, answers: Mapping[str, str], token: str | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = dict(answers)
        self.token = token
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Answers with what the server holds, to who has its token."""

    server: MetadataServer

    def do_PUT(self) -> None:
        """Give a token."""
        self.answer(self.server.token if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        """Give a value."""
        known = self.headers.get("X-aws-ec2-metadata-token") == self.server.token
        self.answer(self.server.answers.get(self.path) if known else None)

    def answer(self, text: str | None) -> None:
        """Send a text; None for what is not there."""
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(404 if text is None else 200)
        body = (text or "").encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextmanager
def metadata_server(
    answers: Mapping[str, str], token: str | None = "a-token"
) -> Iterator[tuple[MetadataServer, dict[str, str]]]:
    """Serve, and yield the server and the variables that lead a client there."""
    with MetadataServer(answers, token) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            yield server, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url}
        finally:
            server.shutdown()
            thread.join()
