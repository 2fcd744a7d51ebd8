"""The demo's local AWS, run in a process of its own; the tests use its S3."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "demo" / "local_aws.py"


@contextmanager
def moto_server() -> Iterator[str]:
    """Run the server and yield its endpoint URL.

    Raises:
        RuntimeError: It ended without saying its URL; why is on stderr.
    """
    command = [sys.executable, str(SCRIPT)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for pytest, whose teardown still needs the server
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().partition(" ")[0].strip()
        if not url:
            raise RuntimeError("moto's server did not start")
        try:
            yield url
        finally:
            server.kill()
