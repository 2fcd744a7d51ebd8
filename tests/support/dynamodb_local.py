"""DynamoDB Local, Amazon's own engine, on a free loopback port."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import eventually

PREPARED = Path(__file__).parents[2] / ".test"
# Half the processor time and a faster start for an engine that runs for seconds, beside what is
# tested. One that runs for minutes is faster as it is delivered.
BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
ENGINE = "-jar DynamoDBLocal.jar -sharedDb -inMemory -disableTelemetry -port"
PR_SET_PDEATHSIG = 1

prctl = ctypes.CDLL(None).prctl


def die_with_parent() -> None:
    """Have the kernel end this process with its parent: a killed test run leaves no server."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Tell whether the engine, not merely its socket, answers: an unsigned request is refused."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code == 400
    except OSError:
        return False
    return True


@contextmanager
def dynamodb_local(
    folder: Path, prepared: Path = PREPARED, java_options: Sequence[str] = BRIEF
) -> Iterator[str]:
    """Run the engine, in memory, and yield its endpoint URL; what it writes is in `folder`.

    `prepared` is where `tools/engine.sh` put it.

    Raises:
        RuntimeError: It is not prepared, or ended before it answered.
    """
    java, engine_folder = prepared / "java", prepared / "dynamodb-local"
    if not (engine_folder / "DynamoDBLocal.jar").exists() or not java.exists():
        raise RuntimeError("DynamoDB Local is not prepared: run ./test.sh")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = folder / "dynamodb-local.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            # It unpacks a library for each run, which it cannot remove when it is killed
            [str(java), f"-Djava.io.tmpdir={folder}", *java_options, *ENGINE.split(), str(port)],
            cwd=engine_folder,
            env={**os.environ, "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for pytest, whose teardown still needs the engine
            preexec_fn=die_with_parent,  # noqa: PLW1509  # it takes no lock that another thread could hold
        ) as engine,
    ):
        try:
            eventually(lambda: answers(url) or engine.poll() is not None, deadline_seconds=60)
            if engine.poll() is not None:
                raise RuntimeError(f"DynamoDB Local ended at once:\n{log.read_text()}")
            yield url
        finally:
            engine.kill()
