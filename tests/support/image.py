"""The steps of a Dockerfile, run without a Docker engine in a copy of this machine's files.

The copy is an overlay over `/` in a mount namespace of its own: nothing that is done in it stays.
In place of the image of FROM it has this Python, with pip and nothing else installed, where the
official images of Python have theirs. The checkout is hidden, so that what runs is what was copied.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]

from tests.support.dynamodb_local import die_with_parent
from tests.support.scripts import ROOT

PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
# Where a build reaches a package index is the machine's business, as with Docker's build arguments
PASSED_ON = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy")

BASE = r"""
set -eu
folder=$1 checkout=$2 python=$3
mount -t tmpfs -o size=2g tmpfs "$folder"
cd "$folder"
mkdir upper work root python-upper python-work
mount -t overlay -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" overlay root
mount -t overlay -o "lowerdir=$python,upperdir=$PWD/python-upper,workdir=$PWD/python-work" \
  overlay root/usr/local
mount -t proc proc root/proc
mknod -m 666 root/dev/null c 1 3
mknod -m 666 root/dev/random c 1 8
mknod -m 666 root/dev/urandom c 1 9
mount -t tmpfs tmpfs "root$checkout"
find root/usr/local/lib/python3.*/site-packages -mindepth 1 -maxdepth 1 \
  ! -name pip ! -name 'pip-*' -exec rm -rf {} +
chroot root ldconfig
sed -i '/^[^:]*:[^:]*:[1-9][0-9]\{3,4\}:/d' root/etc/passwd root/etc/group
"""


HOLD = "echo private; exec sleep infinity"
REMOVE = ("-exec", "rm", "-r", "{}", "+")


class ImpossibleError(Exception):
    """This machine cannot do it; the message says why."""


class Image:
    """What became of a Dockerfile: `command` starts what its container would."""

    def __init__(self, namespace: int, root: Path) -> None:
        self.variables = {"PATH": PATH}
        self.user = "0:0"
        self.folder = "/"
        self.entrypoint: list[str] = []
        self.arguments: list[str] = []
        self._enter = ["nsenter", "--mount", f"--target={namespace}", "--"]
        self._root = root
        self._ignored: list[str] = []
        self._defaults: dict[str, str] = {}

    def inside(self, *words: str, variables: Mapping[str, str] | None = None) -> list[str]:
        """The words that run a command in the container; each step of them is an exec."""
        settings = [
            f"{key}={value}" for key, value in {**self.variables, **(variables or {})}.items()
        ]
        chroot = ["chroot", f"--userspec={self.user}", str(self._root)]
        return [*self._enter, *chroot, "env", "-i", f"--chdir={self.folder}", *settings, *words]

    def command(self, *arguments: str, variables: Mapping[str, str]) -> list[str]:
        """The words that run the container with these arguments, or with those of CMD."""
        words = [*self.entrypoint, *(arguments or self.arguments)]
        return self.inside(*words, variables=variables)

    def build(self, dockerfile: Path) -> None:
        """Take the steps of a Dockerfile; the build context is the checkout."""
        ignored = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
        if ignored.exists():
            names = ignored.read_text().split()
            self._ignored = [pattern.removeprefix("**/") for pattern in names]
        for step in DockerfileParser(path=str(dockerfile)).structure:
            take = getattr(self, f"_{step['instruction'].lower()}")
            take(step["value"])

    def _comment(self, _: str) -> None:
        pass

    def _arg(self, value: str) -> None:
        name, _, default = value.partition("=")
        self._defaults[f"${{{name}}}"] = default

    def _from(self, image: str) -> None:
        image = self._defaults.get(image, image)
        # What is built on our own image goes on where that ended
        assert image.startswith("python:3") or (image == "pyanamo" and self.entrypoint), image

    def _env(self, value: str) -> None:
        self.variables |= dict(pair.split("=", 1) for pair in shlex.split(value))

    def work_in(self, folder: str) -> None:
        """What WORKDIR and `docker run -w` do: the folder is made, and belongs to root."""
        self.folder = folder
        run([*self._enter, "chroot", str(self._root), "mkdir", "-p", folder])

    def _workdir(self, folder: str) -> None:
        self.work_in(folder)

    def _copy(self, value: str) -> None:
        chmod, *sources, target = value.split()
        there = f"{self._root}{Path(self.folder) / target}"
        run([*self._enter, "mkdir", "-p", there])
        for source in sources:
            copied = ROOT / source
            # As Docker has it: what is in a folder is copied, not the folder
            words = [f"{copied}/.", there] if copied.is_dir() else [str(copied), there]
            run([*self._enter, "cp", "-r", *words])
            changed = there if copied.is_dir() else f"{there}/{source}"
            run([*self._enter, "chmod", "-R", chmod.removeprefix("--chmod="), changed])
        for pattern in self._ignored:
            run([*self._enter, "find", there, "-name", pattern, "-prune", *REMOVE])

    def _run(self, script: str) -> None:
        passed_on = {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)}
        script = f"umask 022; {script}"
        run(self.inside("/bin/sh", "-c", script, variables={"HOME": "/root", **passed_on}))

    def _user(self, user: str) -> None:
        self.user = user

    def _entrypoint(self, value: str) -> None:
        self.entrypoint = json.loads(value)

    def _cmd(self, value: str) -> None:
        self.arguments = json.loads(value)


def run(command: list[str]) -> None:
    """Run a step; raises what it said if it failed."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if ended.returncode:
        raise RuntimeError(f"{shlex.join(command)}\n{ended.stdout}{ended.stderr}")


@contextmanager
def base(folder: Path) -> Iterator[Image]:
    """An image of the base alone; it is gone afterwards.

    Raises ImpossibleError where there is no root, no overlay, or no Python with pip to copy.
    """
    python = Path(sys.base_prefix)
    if os.geteuid():
        raise ImpossibleError("only root may mount and chroot")
    if not (python / "bin" / "python").exists() or not [
        *python.glob("lib/python3.*/site-packages/pip")
    ]:
        raise ImpossibleError(f"the Python in {python} has no pip of its own")
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation=private", "sh", "-c", HOLD],
        stdout=subprocess.PIPE,
        preexec_fn=die_with_parent,  # noqa: PLW1509  # no thread runs yet that could hold a lock
    ) as holder:
        try:
            # Before it says so it is still in the machine's own namespace, and mounts would stay
            assert holder.stdout
            if not holder.stdout.readline():
                raise ImpossibleError("no mount namespace can be made")
            enter = ["nsenter", "--mount", f"--target={holder.pid}", "--"]
            prepared = subprocess.run(
                [*enter, "sh", "-c", BASE, "sh", str(folder), str(ROOT), str(python)],
                capture_output=True,
                text=True,
                check=False,
            )
            if prepared.returncode:
                raise ImpossibleError(f"no overlay of / can be made: {prepared.stderr}")
            yield Image(holder.pid, folder / "root")
        finally:
            holder.kill()
