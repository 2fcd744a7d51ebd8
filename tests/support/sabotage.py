"""Runs a script of the project with one of its guards taken away, for negative controls.

    python tests/support/sabotage.py GUARD pyanamo.py ARGUMENTS…

A test that passes with the guard and fails without it shows that it tests the guard.
"""

from __future__ import annotations

import dataclasses
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
from boto3.session import Session

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from anamo.aws import table, table_writes  # noqa: E402
from anamo.core import command_line, transitions  # noqa: E402
from anamo.worker import claim, heartbeat, log_delivery, loop, recorder, task_process  # noqa: E402


def no_fence() -> None:
    """Let a worker write whether or not it still holds the item."""
    for name in ("RENEW", "RECORD", "FINISH", "RELEASE", "RETRY"):
        fenced = getattr(transitions, name)
        anybody = "attribute_exists(itemID) OR ItemState = :locked OR lockID = :mine"
        setattr(transitions, name, dataclasses.replace(fenced, condition=anybody))


def no_claim_condition() -> None:
    """Let two workers claim one item."""
    free = dataclasses.replace(
        transitions.CLAIM, condition="attribute_exists(itemID) OR ItemState = :todo"
    )
    transitions.CLAIM = free


def no_removal_condition() -> None:
    """Remove items whatever has become of them."""
    anything = f"attribute_exists(itemID) OR ({transitions.REMOVE.condition})"
    transitions.REMOVE = dataclasses.replace(transitions.REMOVE, condition=anything)


def no_lease() -> None:
    """Let an item be taken over although its lease goes on."""
    transitions.TAKE_OVER = dataclasses.replace(
        transitions.TAKE_OVER,
        condition="ItemState = :locked AND lockID = :seen AND (Lease_Expires < :epoch OR "
        "Lease_Expires >= :epoch)",
    )
    table.WorkflowTable.locked = _ended(table.WorkflowTable.locked)  # type: ignore[method-assign]


def _ended(locked: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self: (dataclasses.replace(item, lease_expires=0) for item in locked(self))


def no_heartbeat() -> None:
    """Let leases run out under running tasks."""
    heartbeat.Heartbeat._run = lambda self: None  # type: ignore[method-assign]  # noqa: SLF001


def no_memory() -> None:
    """Run the tasks of an item that was taken over again, ended or not."""
    claim.Claim.todo = lambda self: [(task.name, task.script) for task in self.item.nested]  # type: ignore[method-assign]


def no_recognition() -> None:
    """Take a lost reply for a lost race."""
    table_writes._already_applied = lambda item, target, lock_id: False  # noqa: SLF001


def no_release() -> None:
    """Keep the items of a worker that is told to stop."""
    table.WorkflowTable.release = lambda self, *given: True  # type: ignore[method-assign]


def no_inheritance() -> None:
    """Let the replacement of a dead process end without its items."""
    loop.Worker._awaits_inheritance = lambda self: False  # type: ignore[method-assign]  # noqa: SLF001


def no_retry() -> None:
    """Give up at the first fault."""
    recorder.RECORD_SECONDS = 0
    loop.CLAIM_SECONDS = 0


def no_delivery() -> None:
    """Forget the logs that S3 did not take."""
    log_delivery.LOG_SECONDS = 0
    log_delivery.LogDelivery.deliver = lambda self, *given: self._kept.clear()  # type: ignore[method-assign]


def no_disk_check() -> None:
    """Blame the task for a full disk."""
    task_process.Outcome.disk_is_full = lambda self: False  # type: ignore[method-assign]


class _Empty(dict[str, str]):
    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return ""


def no_unset_check() -> None:
    """Take a variable that is not set for an empty one."""
    split = command_line.split
    command_line.split = lambda script, variables: split(script, _Empty(variables))


def no_subprocess() -> None:
    """Start tasks without subprocess."""

    def spawn(self: task_process.TaskProcess, words: list[str], environment: Any) -> Any:
        files = ((self._stdout, 1), (self._stderr, 2))
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), number) for file, number in files]
        pid = os.posix_spawnp(words[0], words, environment, file_actions=actions, setsid=True)
        return SimpleNamespace(pid=pid, returncode=None)

    task_process.TaskProcess._spawn = spawn  # type: ignore[method-assign]  # noqa: SLF001


def no_boto3() -> None:
    """Make clients without boto3."""

    def client(self: Session, *given: Any, **options: Any) -> Any:  # noqa: ARG001
        return botocore.session.get_session().create_client(*given, **options)

    Session.client = client  # type: ignore[method-assign]


if __name__ == "__main__":
    guard, script, *arguments = sys.argv[1:]
    globals()[f"no_{guard}"]()
    sys.argv = [script, *arguments]
    runpy.run_path(str(ROOT / script), run_name="__main__")
