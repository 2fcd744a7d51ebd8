"""Runs a script of the project with one of its guards taken away, for negative controls.

    python tests/support/sabotage.py GUARD pyanamo.py ARGUMENTS…

A test that passes with the guard and fails without it shows that it tests the guard.
"""

from __future__ import annotations

import dataclasses
import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
from boto3.session import Session

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from anamo.aws import (  # noqa: E402
    clock,
    faults,
    log_store,
    retry,
    session,
    table,
    table_writes,
)
from anamo.cli import live_line  # noqa: E402
from anamo.core import command_line, transitions  # noqa: E402
from anamo.worker import (  # noqa: E402
    cgroup,
    claim,
    claimer,
    control,
    ended_leases,
    finder,
    heartbeat,
    host,
    index_lag,
    item_run,
    log_delivery,
    loop,
    partial_logs,
    pool,
    process_tree,
    recorder,
    task_process,
    turns,
    worker_process,
)


def no_fence() -> None:
    """Let a worker write whether or not it still holds the item."""
    for name in ("RENEW", "RECORD", "FINISH", "RELEASE", "GIVE_BACK", "RETRY"):
        weaken(name, transitions.HELD_BY_ME)


def no_order() -> None:
    """Let an older renewal or record of a claim undo a newer one."""
    weaken("RENEW", "NOT Lease_Expires > :expires")
    weaken("RECORD", "NOT #TaskScript.#t0.#Status IN (:done, :failed)")


def no_claim_condition() -> None:
    """Let two workers claim one item."""
    weaken("CLAIM", transitions.CLAIM.condition)


def no_succession() -> None:
    """Let a claim be made once more after the item was given back."""
    weaken("CLAIM", "(lockID = :seen OR NOT attribute_type(lockID, :string))")


def weaken(name: str, clause: str) -> None:
    """Make a clause of a transition's condition true whatever the item is."""
    guarded = getattr(transitions, name)
    assert clause in guarded.condition, f"{name} has no clause {clause}"
    always = guarded.condition.replace(clause, f"({clause} OR attribute_exists(itemID))")
    setattr(transitions, name, dataclasses.replace(guarded, condition=always))


def no_removal_condition() -> None:
    """Remove items whatever has become of them."""
    weaken("REMOVE", transitions.REMOVE.condition)


def no_lease() -> None:
    """Let an item be taken over although its lease goes on."""
    weaken("TAKE_OVER", "Lease_Expires < :epoch")
    leases = table.WorkflowTable.leases

    def all_ended(self: table.WorkflowTable, start: Any, _before: int, *given: Any) -> Any:
        page = leases(self, start, ended_leases.NEVER, *given)
        items = [dataclasses.replace(item, lease_expires=0) for item in page.items]
        return dataclasses.replace(page, items=items)

    table.WorkflowTable.leases = all_ended  # type: ignore[method-assign, assignment]


def no_heartbeat() -> None:
    """Let leases run out under running tasks."""
    heartbeat.Heartbeat._run = lambda self: None  # type: ignore[method-assign]  # noqa: SLF001


def no_memory() -> None:
    """Run the tasks of an item that was taken over again, ended or not."""
    claim.Claim.todo = lambda self: [(task.name, task.script) for task in self.item.nested]  # type: ignore[method-assign]


def no_recognition() -> None:
    """Take a lost reply for a lost race."""
    table_writes.already_applied = lambda item, target, lock_id: False


def no_release() -> None:
    """Keep the items of a worker that is told to stop."""
    table.WorkflowTable.release = lambda self, *given: True  # type: ignore[method-assign]


def no_inheritance() -> None:
    """Let the replacement of a dead process end without its items."""
    finder.Finder._awaits = lambda self: False  # type: ignore[method-assign]  # noqa: SLF001


def no_tables_of_claims() -> None:
    """Take the claims of a dead process for claims in the first table."""
    begin = loop.Worker.__init__

    def mixed_up(self: loop.Worker, *given: Any) -> None:
        claimers = given[3]
        for each in claimers:
            each._inherited = []  # noqa: SLF001
        claimers[0]._inherited = list(given[5].inherited)  # noqa: SLF001
        begin(self, *given)

    loop.Worker.__init__ = mixed_up  # type: ignore[method-assign, assignment]


def no_turns() -> None:
    """Let every process look for itself."""
    turns.Turn.ask = lambda self: setattr(self, "mine", True)  # type: ignore[method-assign]


def no_retry() -> None:
    """Give up at the first fault."""
    recorder.RECORD_SECONDS = 0
    loop.CLAIM_SECONDS = 0


def no_backoff() -> None:
    """Send a request that was refused again at once."""
    retry.FIRST = retry.LONGEST = 0.0
    session.dynamodb_client.__defaults__ = (1,)


def no_recording() -> None:
    """Have the recorder meet an error that nobody expected."""

    def commit(*_: Any) -> None:
        raise RuntimeError("not expected")

    recorder.Recorder._commit = commit  # type: ignore[method-assign, assignment]  # noqa: SLF001


def no_widening() -> None:
    """Run few tasks at once for the rest of the item once the host had no room for more."""
    item_run.ItemRun._widen = lambda self: None  # type: ignore[method-assign]  # noqa: SLF001


def no_descriptor_check() -> None:
    """Take a lack of descriptors for a network that is down."""
    faults._lacks_descriptors = lambda error: False  # noqa: SLF001


def no_replacement() -> None:
    """Take a process that a signal of its own ended for one that ended as it should."""
    worker_process.WorkerProcess.cause_of_death = lambda self: None  # type: ignore[method-assign]


def no_looks() -> None:
    """Do not look after processes that something has stopped."""
    pool.Pool._check_processes = lambda self: None  # type: ignore[method-assign]  # noqa: SLF001


def no_leaving() -> None:
    """Wait for the recorder until the parent kills the process."""
    control.LEAVE_SECONDS = 600


def no_probe() -> None:
    """Find out whether logs can be put when the first task has ended."""
    log_store.LogStore.check = lambda self, folder: None  # type: ignore[method-assign]


def no_delivery() -> None:
    """Forget the logs that S3 did not take."""
    log_delivery.LOG_SECONDS = 0
    log_delivery.LogDelivery.deliver = lambda self, *given: self._kept.clear()  # type: ignore[method-assign]


def no_deletion() -> None:
    """Leave the output so far of an item where it is."""
    partial_logs.PartialLogs._delete = lambda self, key: None  # type: ignore[method-assign]  # noqa: SLF001


def no_own_thread() -> None:
    """Put output so far in S3 from the thread that renews leases."""
    begun: list[tuple[partial_logs.PartialLogs, float]] = []
    renew = heartbeat.Heartbeat._renew  # noqa: SLF001

    def offer_and_renew(self: heartbeat.Heartbeat, claim: claim.Claim) -> bool:
        for logs, interval in begun:
            logs._offer(claim, interval)  # noqa: SLF001
        return renew(self, claim)

    heartbeat.Heartbeat._renew = offer_and_renew  # type: ignore[method-assign]  # noqa: SLF001
    partial_logs.PartialLogs._run = lambda self, interval: begun.append((self, interval))  # type: ignore[method-assign]  # noqa: SLF001


def no_pause_between_counts() -> None:
    """Count what is left again and again."""
    live_line.COUNT_SECONDS = 0.2


def no_disk_check() -> None:
    """Blame the task for a full disk."""
    task_process.Outcome.full_disk = lambda self: ""  # type: ignore[method-assign]


def no_long_wait() -> None:
    """Give up soon where the host cannot run tasks."""
    host.LASTING_SECONDS = host.UNFIT_SECONDS = 1


def no_recovery() -> None:
    """End at the first host error."""
    host.LASTING_SECONDS = host.UNFIT_SECONDS = 0


def no_host_count() -> None:
    """Give an item back after a host error as if nothing had been."""
    host.LASTING_SECONDS = host.UNFIT_SECONDS = 3

    def release(self: table.WorkflowTable, item: Any, results: Any, ended: int, _why: str) -> bool:
        return self.release(item, results, ended)

    table.WorkflowTable.give_back = release  # type: ignore[assignment,method-assign]


def no_descent() -> None:
    """Look for no processes outside a task's process group."""
    process_tree.is_alive = lambda process: False


def no_look_at_children() -> None:
    """Use files for output again whatever a task has left behind."""
    task_process.has_left_behind = lambda tasks: False  # type: ignore[attr-defined]


def no_cgroups() -> None:
    """Run tasks as where no cgroups can be made."""
    cgroup.own_folder = lambda: None  # type: ignore[assignment]


def no_look_at_the_table() -> None:
    """Believe an index that lists nothing."""

    def believe(self: claimer.Claimer) -> None:
        self.claimable = False

    claimer.Claimer.claim_by_table = believe  # type: ignore[method-assign]


def no_pauses() -> None:
    """Claim what an index lists however often that was refused, and believe it in the end."""
    index_lag.IndexLag.pause = 0.0  # type: ignore[method-assign, assignment]
    index_lag.MOST_LAG = 0.0
    no_look_at_the_table()


def no_earlier_attempt() -> None:
    """Take every claim of this job for one of this attempt."""
    table_writes.Holder.held_before = lambda self, item: False  # type: ignore[method-assign]


def no_second_opinion() -> None:
    """Believe the date of every answer."""
    clock.LAST = 1
    clock.DatabaseClock.surely_past = clock.DatabaseClock.now  # type: ignore[method-assign]


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
