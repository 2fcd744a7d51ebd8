"""An S3 sink that is no bottleneck: nginx, which takes PUT requests and keeps the files."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.dynamodb_local import die_with_parent, free_port
from tests.support.waiting import eventually

BUCKET = "bench"
MEMORY = "/dev/shm"

CONFIGURATION = """
daemon off;
worker_processes 1;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log combined buffer=64k;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/unused;
  fastcgi_temp_path {folder}/unused;
  uwsgi_temp_path {folder}/unused;
  scgi_temp_path {folder}/unused;
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location = /{bucket} {{ return 200; }}
    location / {{
      root {folder}/objects;
      dav_methods PUT;
      add_header ETag '"0"' always;
      create_full_put_path on;
    }}
  }}
}}
"""


class Missing(Exception):
    """A program that is needed is not to be had on this machine."""


def nginx(prepared: Path) -> str:
    """The machine's nginx, or the one that was unpacked. Raises Missing."""
    unpacked = prepared / "debian" / "usr" / "sbin" / "nginx"
    found = shutil.which("nginx") or (str(unpacked) if unpacked.exists() else None)
    if not found:
        raise Missing("nginx is not here: install Debian's nginx-core, or an nginx with DAV")
    return found


@contextmanager
def s3_sink(prepared: Path) -> Iterator[str]:
    """Run nginx and yield its endpoint URL; what is put stays in memory, if the system has such a
    file system: no disk should be what is measured.
    """
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="anamo-bench-", dir=memory) as folder,
        _nginx(Path(folder), prepared) as url,
    ):
        yield url


@contextmanager
def _nginx(folder: Path, prepared: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    for name in ("objects", "body", "unused"):
        (folder / name).mkdir()
    # As root it would drop to a user who cannot write here
    user = "user root;\n" if os.geteuid() == 0 else ""
    text = CONFIGURATION.format(folder=folder, port=port, bucket=BUCKET)
    (folder / "nginx.conf").write_text(user + text)
    command = [nginx(prepared), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(
        [*command, "-e", str(folder / "error.log")],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509  # no thread runs yet that could hold a lock
    ) as server:
        try:
            eventually(lambda: _answers(f"{url}/{BUCKET}") or server.poll() is not None)
            if server.poll() is not None:
                raise Missing(f"nginx ended: {(folder / 'error.log').read_text()}")
            yield url
        finally:
            server.terminate()
            server.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return True
    except OSError:
        return False
    return True
