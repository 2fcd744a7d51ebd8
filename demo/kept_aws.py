"""A DynamoDB and an S3 for one machine, with files behind them: Amazon's DynamoDB Local, MiniStack.

`python kept_aws.py ENGINE FOLDER`: ENGINE is where `tools/engine.sh` put Java and DynamoDB Local,
FOLDER is where tables and objects are kept. It prints both endpoint URLs, once they answer, and
serves until its stdin is closed: MiniStack on loopback, DynamoDB Local on all addresses of the
machine. One process at a time may use a folder.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout  # type: ignore[import-not-found]

STARTING_SECONDS = 60.0

LOCK_SECONDS = 15.0
"""For the servers of the one before to end."""


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def dynamodb(engine: Path, folder: Path, port: int) -> list[str]:
    """The command line of DynamoDB Local. It runs in the engine's folder."""
    options = ["-sharedDb", "-dbPath", str(folder), "-port", str(port)]
    return [str((engine / "java").resolve()), "-jar", "DynamoDBLocal.jar", *options]


def s3(folder: Path, port: int) -> dict[str, str]:
    """The variables that MiniStack reads."""
    return {
        "SERVICES": "s3",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder),
        "LOG_LEVEL": "WARNING",
    }


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return once something listens on the port; exit if the server ended instead."""
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"kept_aws.py: a server did not start; {log} says why")


def main(engine: Path, folder: Path) -> None:
    """Serve until stdin is closed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        servers = []
        for name in ("dynamodb", "s3"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        try:
            stack.enter_context(FileLock(folder / "lock", timeout=LOCK_SECONDS))
        except Timeout:
            sys.exit(f"kept_aws.py: {folder} is in use by another one; end that first")
        ports = [free_port(), free_port()]
        commands = [
            (dynamodb(engine, folder / "dynamodb", ports[0]), engine / "dynamodb-local", {}),
            (
                [str(Path(sys.executable).with_name("ministack"))],
                folder,
                s3(folder / "s3", ports[1]),
            ),
        ]
        for name, port, (command, where, variables) in zip(
            ("dynamodb", "s3"), ports, commands, strict=True
        ):
            log = folder / f"{name}.log"
            output = stack.enter_context(log.open("wb"))
            server = subprocess.Popen(
                command,
                cwd=where,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            stack.callback(server.wait)
            stack.callback(server.terminate)
            servers.append((port, server, log))
        for port, server, log in servers:
            wait_for(port, server, log)
        print(*(f"http://127.0.0.1:{port}" for port in ports), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
