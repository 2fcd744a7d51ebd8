"""Many workers that claim and do nothing else: threads with the real claimer and table.

Not guaranteed: that claims per second say anything of DynamoDB; the threads and the local engine
share one machine. Conflicts, pages and shares do not depend on its speed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import boto3
from botocore.config import Config

from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.worker.claimer import Claimer
from anamo.worker.in_flight_claims import InFlightClaims

LEASE = 3600


@dataclass
class Crowd:
    """What a crowd of workers did.

    claims: itemIDs that each worker claimed. conflicts: claims lost to others. reads: requests that
    looked for work, up to the last claim of each worker. slowest: most seconds one claim took.
    """

    claims: list[list[int]] = field(default_factory=list)
    conflicts: int = 0
    reads: int = 0
    seconds: float = 0.0
    slowest: float = 0.0

    @property
    def claimed(self) -> int:
        """How many items they claimed."""
        return sum(map(len, self.claims))

    @property
    def conflict_share(self) -> float:
        """Claims lost, as a share of all claims that were tried."""
        return self.conflicts / max(self.claimed + self.conflicts, 1)

    @property
    def reads_per_claim(self) -> float:
        """Requests that looked for work, for each claim that was won."""
        return self.reads / max(self.claimed, 1)

    def shares(self) -> tuple[int, float, int]:
        """The fewest, the median and the most claims of one worker."""
        counts = [len(claims) for claims in self.claims]
        return min(counts), median(counts), max(counts)


def crowd_client(endpoint: str, workers: int) -> Any:
    """A client that keeps a connection for each of many threads."""
    patient = Config(
        max_pool_connections=workers,
        connect_timeout=60,
        read_timeout=120,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return boto3.client("dynamodb", endpoint_url=endpoint, config=patient)


def crowd(client: Any, name: str, workers: int, most: int, seed: int = 1) -> Crowd:
    """Have that many workers claim up to `most` items all together, each as fast as it can."""
    result = Crowd(claims=[[] for _ in range(workers)])
    counting = threading.Lock()
    left = most

    def take() -> bool:
        nonlocal left
        with counting:
            left -= 1
            return left >= 0

    def work(number: int) -> None:
        table = WorkflowTable(client, name)
        in_flight = InFlightClaims(lambda message: None, ())
        claimer = Claimer(
            table, Holder(f"i-{number}", LEASE), in_flight, random.Random(seed + number)
        )
        reads, slowest = 0, 0.0
        while take():
            began = time.monotonic()
            item = claimer.claim()
            while item is None and claimer.listed and claimer.lag.pause:
                time.sleep(claimer.lag.pause)
                item = claimer.claim()
            if item is None:
                break
            slowest = max(slowest, time.monotonic() - began)
            result.claims[number].append(int(item.item_id))
            reads = table.meter.consumed.requests - len(result.claims[number]) - claimer.conflicts
        with counting:
            result.conflicts += claimer.conflicts
            result.reads += reads
            result.slowest = max(result.slowest, slowest)

    result.seconds = _all_at_once([lambda number=number: work(number) for number in range(workers)])  # type: ignore[misc]
    return result


def _all_at_once(jobs: Sequence[Callable[[], None]]) -> float:
    """Run each job in a thread; the seconds from the common start to the last end. Raises the
    first error of a job.
    """
    start = threading.Barrier(len(jobs) + 1)
    errors: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        start.wait()
        try:
            job()
        except BaseException as error:  # noqa: BLE001  # raised again where it is seen
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.monotonic() - began
