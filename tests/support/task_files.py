"""Task files for a test, and the importer that reads them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from anamo.aws.table import WorkflowTable
from anamo.cli import import_command
from anamo.core.item import new_values
from anamo.importer import importer
from tests.support import workflow
from tests.support.environment import environment
from tests.support.scripts import ROOT, Running, Scripts
from tests.support.table import Table

PROGRAM = "import-items-generic.py"


def lines(table: str, numbers: Iterable[int]) -> str:
    """Make the lines of the documented example, an item of three tasks each."""
    return "".join(f"Task-{number}|{table}|seq|{number},2,3\n" for number in numbers)


class Importer:
    """The importer's real script, given the content of a task file."""

    def __init__(self, scripts: Scripts, folder: Path) -> None:
        self._scripts = scripts
        self._folder = folder
        self._files = 0

    def __call__(
        self, table: str, content: str | bytes, *flags: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Import to the end; `flags` come after those of the documented example."""
        return self.start(table, content, *flags, env=env).wait()

    def fill(self, table: Table, content: str) -> None:
        """Import, without the script, what a test begins with."""
        path = self._folder / "begin.txt"
        path.write_text(content)
        import_here(table, path, "-n", ",")

    def start(
        self, table: str, content: str | bytes, *flags: str, env: Mapping[str, str] | None = None
    ) -> Running:
        """Start an import."""
        self._files += 1
        path = self._folder / f"tasks-{self._files}.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        command: list[str | Path] = [PROGRAM, "-t", table, "-d", path, "-s", "|", "-n", ",", *flags]
        return self._scripts.start(*command, env=env)


def import_here(table: Table, file: Path, *flags: str) -> None:
    """Fill a table for a test of something else: the importer's own code, but no process for it.

    A wide table gets its items as earlier versions wrote them.
    """
    words = ["-t", table.name, "-d", str(file), "-s", "|", *flags]
    found = import_command.read_tasks(import_command.parser().parse_args(words))
    items = list(found.items[table.name].values())
    if table.wide:
        there = {item["itemID"] for item in table.items()}
        new = [item for item in items if item.item_id not in there]
        unclaimed = {"lockID": "NULL"}
        made = [{**workflow.earlier(dict(new_values(item))), **unclaimed} for item in new]
        workflow.put_all(table.client, table, made)
    else:
        importer.Importer(WorkflowTable(table.client, table.name)).run(items)


def dry_run(content: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Have the real script check a file without any server; fields are separated by `;;`."""
    command = [PROGRAM, "-t", "Testing", "-d", "-", "-s", ";;", "--dry-run", *flags]
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(Path(os.devnull), dynamodb="", s3=""),
        input=content,
        capture_output=True,
        text=True,
        check=False,
    )


def through(url: str) -> dict[str, str]:
    """Return what makes a script reach DynamoDB through a proxy."""
    return {"AWS_ENDPOINT_URL_DYNAMODB": url}


def counts(ended: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """Return how many items an import said were new, and how many there already."""
    assert ended.returncode == 0, ended.stderr
    said = re.search(r": ([\d,]+) new items?, ([\d,]+) already there", ended.stdout)
    assert said, ended.stdout
    new, there = (int(number.replace(",", "")) for number in said.groups())
    return new, there


def said(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what a script said on stderr, without its name before each line."""
    found = ended.stderr.splitlines()
    assert all(line.startswith(f"{PROGRAM}: ") for line in found), ended.stderr
    return [line.removeprefix(f"{PROGRAM}: ") for line in found]
