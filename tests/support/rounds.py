"""A random round: workers, operators and importers on one table, in a storm, struck at random.

Whatever happens, the promises of docs/guarantees.md hold; `Round.faults` says which did not.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from tests.support.attempts import RAN, Witness, bad_logs, side_by_side, unwitnessed
from tests.support.fleet import Fleet, children, kill_machine, tree
from tests.support.history import (
    ENDED,
    History,
    Rules,
    changes,
    ended_entries,
    faults,
    told,
)
from tests.support.proxy import Proxy
from tests.support.scripts import Running
from tests.support.storm import Storm
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_s3 import S3Client

NESTED, SINGLE = 10, 4
"""How many items of each kind: so few that there is soon nothing to do but to take over."""

SECONDS = (0, 0, 0.1, 0.3, 0.5, 2.5)
"""How long tasks take; one in six takes longer than a lease."""

FAILING = 0.15
"""The share of tasks that fail."""

STORM = 0.4
"""The share of requests that are treated badly."""

WORKERS = 3
"""How many run at once."""

BLOWS = 8

IMPORTER = "import-items-generic.py"

LEASE = 2
FLAGS = ("-n", "3", "--lease", f"{LEASE}", "--grace", "1", "--max-attempts", "1000")
STAYING = ("--idle-timeout", "600")

OPERATORS = (
    ("requeue", "failed"),
    ("requeue", "done"),
    ("requeue", "locked"),
    ("requeue", "locked", "--force"),
    ("remove", "locked", "--force"),
    ("remove", "done"),
)
"""What an operator does, with a third of the items."""

SHOWN = 3
"""How many items with faults have their histories told."""


@dataclass(frozen=True)
class Servers:
    """Where a round takes place: clients that no storm is between, and what stands before both."""

    streams: DynamoDBStreamsClient
    s3: S3Client
    database: Proxy
    store: Proxy


class Round:
    """One round.

    Args:
        fleet: Its workers; a table that keeps its history.
        servers: DynamoDB and S3.
        seed: Of all that is drawn.
        late_writes: Whether writes come late, too; see `Storm`.
    """

    def __init__(self, fleet: Fleet, servers: Servers, seed: int, *, late_writes: bool) -> None:
        self._fleet = fleet
        self._servers = servers
        self._draw = random.Random(seed)
        self._witness = Witness(fleet.folder / "witness")
        self._storms = [Storm(seed, STORM, late_writes=late_writes), Storm(seed + 1000, STORM)]
        self._workers: list[Running] = []
        self._others: list[Running] = []
        self._frozen: list[tuple[float, list[psutil.Process]]] = []
        self._names = [f"T{number}" for number in range(NESTED + SINGLE)]
        self._imports: list[Sequence[str]] = []
        self._done: list[str] = [f"seed {seed}"]

    def play(self) -> list[str]:
        """Play it, and return what happened that must not."""
        self._servers.database.behaviour, self._servers.store.behaviour = self._storms
        self._import()
        self._keep_working()
        eventually(self._witness.attempts, 60)
        for _ in range(BLOWS):
            self._wait_for_starts(self._draw.randint(0, 6), 1)
            self._strike()
            self._thaw(time.monotonic())
            self._keep_working()
        self._fleet.guard = None
        last = self._fleet.start("-i", "4", *FLAGS, *STAYING)
        self._calm()
        self._finish(last)
        return self._faults()

    # In the storm

    def _import(self) -> None:
        """Two import at once."""
        lines = [",".join(f"{self._task()}" for _ in range(3)) for _ in range(NESTED)]
        nested = [f"{self._witness.script}|{line}" for line in lines]
        single = [f"{self._witness.script} {self._task()}" for _ in range(SINGLE)]
        self._import_file("nested.txt", self._names[:NESTED], nested, "-n", ",")
        self._import_file("single.txt", self._names[NESTED:], single)

    def _task(self) -> str:
        """A task's seconds and exit code."""
        return f"{self._draw.choice(SECONDS)} {int(self._draw.random() < FAILING)}"

    def _import_file(self, name: str, ids: list[str], lines: list[str], *flags: str) -> None:
        table, file = self._fleet.table.name, self._fleet.folder / name
        each = zip(ids, lines, strict=True)
        file.write_text("".join(f"{task_id}|{table}|{line}\n" for task_id, line in each))
        command = (IMPORTER, "-t", table, "-d", str(file), "-s", "|", *flags)
        self._imports.append(command)
        self._start(*command)

    def _start(self, *command: str) -> None:
        self._others.append(self._fleet.scripts.start(*command, env=self._fleet.environment))

    def _keep_working(self) -> None:
        living = [worker for worker in self._workers if worker.process.poll() is None]
        for _ in range(WORKERS - len(living)):
            self._workers.append(self._fleet.start("-i", "2", *FLAGS, *STAYING))

    def _wait_for_starts(self, number: int, seconds: float) -> None:
        """Wait until that many more tasks were started, or for that long."""
        until = time.monotonic() + seconds
        wanted = len(self._witness.attempts()) + number
        eventually(lambda: len(self._witness.attempts()) >= wanted or time.monotonic() > until, 60)

    def _strike(self) -> None:
        living = [worker for worker in self._workers if worker.process.poll() is None]
        blow = self._draw.choice([*BLOW, self._freeze, self._freeze, self._operate, self._operate])
        if living or blow == self._operate:
            self._done.append(blow.__name__.strip("_"))
            blow(self._draw.choice(living), self._draw)

    def _freeze(self, worker: Running, draw: random.Random) -> None:
        """Suspend a worker, or one of its processes, for longer than the lease or not."""
        chosen = tree(worker) if draw.random() < 0.5 else children(worker)[:1]
        for process in chosen:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        self._frozen.append((time.monotonic() + draw.uniform(0.3, 2 * LEASE), chosen))

    def _thaw(self, now: float) -> None:
        for due, processes in self._frozen:
            if now >= due:
                for process in processes:
                    with suppress(psutil.NoSuchProcess):
                        process.resume()
        self._frozen = [each for each in self._frozen if now < each[0]]

    def _operate(self, _worker: Running, draw: random.Random) -> None:
        """Somebody looks, changes items or imports again."""
        table = ("-t", self._fleet.table.name)
        chance = draw.random()
        if chance < 0.15:
            self._start("pyanamo.py", "status", *table, "--output", "json")
        elif chance < 0.3:
            self._start(*draw.choice(self._imports))
        else:
            command, state, *force = draw.choice(OPERATORS)
            names = draw.sample(self._names, len(self._names) // 3)
            self._start("pyanamo.py", command, *table, "--state", state, *names, *force, "--yes")

    # Afterwards

    def _calm(self) -> None:
        """End the faults, and whoever is at work; what is on its way arrives."""
        for storm in self._storms:
            storm.calm()
        self._thaw(float("inf"))
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.signal(signal.SIGTERM)
        for running in (*self._others, *self._workers):
            running.wait()
        for storm in self._storms:
            storm.settle()

    def _finish(self, last: Running) -> None:
        """Have the last worker finish what is left."""
        if len(self._items()) < NESTED + SINGLE:
            # Removed, or an importer gave up
            for command in self._imports:
                imported = self._fleet.scripts.run(*command)
                assert imported.returncode == 0, imported.stderr
        eventually(lambda: all(item["ItemState"] in ENDED for item in self._items()), 120)
        last.signal(signal.SIGTERM)
        last.wait()
        # Tasks and worker processes whose parent was killed
        eventually(lambda: not self._fleet.scripts.alive(), 60)

    def _items(self) -> list[dict[str, Any]]:
        return self._fleet.table.items()

    def _faults(self) -> list[str]:
        database = self._storms[0]
        rules = Rules(operator=True, requeued=database.requeued, claimed=database.claimed)
        history = changes(self._fleet.table, self._servers.streams)
        attempts = self._witness.attempts()
        items = self._items()
        found = [
            *faults(history, self._witness.starts(), rules),
            *side_by_side(attempts, history, rules),
            *unwitnessed(attempts, history),
            *bad_logs(items, self._read),
            *unfinished(items),
        ]
        return found and [*found, *self._told(found, history)]

    def _read(self, address: str) -> bytes | None:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        with suppress(self._servers.s3.exceptions.NoSuchKey):
            return self._servers.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return None

    def _told(self, found: Sequence[str], history: History) -> list[str]:
        """What happened, for whoever reads of a fault."""
        story = [", ".join(self._done), *(str(dict(storm.treated)) for storm in self._storms)]
        names = {fault.split(":")[0] for fault in found}
        shown = [item_id for item_id in history if f"item {item_id}" in names][:SHOWN]
        for item_id in shown:
            story += [f"history of item {item_id}:", *told(history[item_id])]
        return story


def unfinished(items: Sequence[dict[str, Any]]) -> list[str]:
    """Items that the last worker did not end as their tasks ended."""
    found = []
    for item in items:
        entries = ended_entries(item).values()
        failed = any(entry["Status"] != RAN[0] for entry in entries)
        if item["ItemState"] != ("failed" if failed else "done"):
            found.append(f"item {item['itemID']}: is {item['ItemState']} in the end")
        if any(entry["Status"] not in RAN for entry in entries):
            found.append(f"item {item['itemID']}: {[entry['Status'] for entry in entries]}")
    return found


def kill_one_process(worker: Running, draw: random.Random) -> None:
    """SIGKILL for one of the -i processes; the worker goes on."""
    if processes := children(worker):
        with suppress(psutil.NoSuchProcess):
            draw.choice(processes).kill()


def kill_the_parent(worker: Running, _draw: random.Random) -> None:
    """SIGKILL for the parent alone; its processes notice."""
    worker.signal(signal.SIGKILL)
    worker.process.wait()


def kill_everything(worker: Running, _draw: random.Random) -> None:
    """SIGKILL for the worker with all it started."""
    kill_machine(worker)


def terminate(worker: Running, _draw: random.Random) -> None:
    """SIGTERM for the worker."""
    worker.signal(signal.SIGTERM)


BLOW: list[Callable[[Running, random.Random], None]] = [
    kill_one_process,
    kill_the_parent,
    kill_everything,
    terminate,
]
