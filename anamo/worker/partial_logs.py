"""Uploads the partial output of long tasks to S3.

Guaranteed: a thread of its own does it, so neither the heartbeat nor the recorder ever waits for
it. An item has one such object, under a key that does not depend on the claim: each claim replaces
it, and the end of the item deletes it, also what a worker that died had left. Without the
permission to delete, none is put.

Not guaranteed: that none is left where a worker that was suspended in the middle of an upload
continues after another has ended its item, or where S3 does not respond when the item ends.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic

from anamo.aws.log_store import LogStore, Packed
from anamo.core.errors import AccessDenied, AwsError, HostError
from anamo.core.log_entry import so_far_key
from anamo.worker.claim import Claim
from anamo.worker.host import start_thread
from anamo.worker.log_delivery import LogOrigin
from anamo.worker.log_packer import gzip_member
from anamo.worker.task_process import TaskProcess, utc_now

STREAM_LIMIT = 256 * 1024
"""Bytes of the end of each stream that are put: so an upload takes a moment, however much a task
prints."""

CHECKS = 4
"""How many times in an interval to check whether something is due."""

CLOSE_SECONDS = 10.0
"""How long the end of the process waits for an upload whose object is to be deleted."""

logger = logging.getLogger(__name__)

Sizes = Mapping[str, tuple[int, int]]
"""Bytes of stdout and stderr by task."""


class PartialLogs:
    """Uploads the partial output of running tasks to S3, and deletes it.

    Args:
        logs: Where it goes.
        origin: Where it comes from.
        interval: Seconds from one object of an item to the next, and the age from which a task
            counts as long; None puts none.
        claims: Returns the claims held now; called in a thread of its own, as is `news`.
        news: Called when the table should learn the address of an object.
    """

    def __init__(
        self,
        logs: LogStore,
        origin: LogOrigin,
        interval: float | None,
        claims: Callable[[], Iterable[Claim]],
        news: Callable[[], object],
    ) -> None:
        self._logs = logs
        self._origin = origin
        self._claims = claims
        self._news = news
        self._ended = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        # The claim whose object is on its way, and whether it is to be deleted afterwards
        self._putting: Claim | None = None
        self._unwanted = False
        self._put: dict[Claim, tuple[float, Sizes]] = {}
        self._may_delete = False
        if interval is not None:
            try:
                start_thread("partial logs", lambda: self._run(interval))
            except HostError as fault:
                logger.warning("%s; partial output is not uploaded", fault)

    def drop(self, claim: Claim) -> None:
        """Delete the object of an item that is about to end, if it has one; one that is being
        uploaded is deleted once it is complete. For any thread.
        """
        key = self._key(claim)
        with self._lock:
            claim.ending = True
            if self._putting is claim:
                self._unwanted = True
                return
        if claim.so_far or claim.item.log_so_far == self._logs.address(key):
            self._delete(key)

    def close(self) -> None:
        """Put nothing more; wait for an upload whose object is to be deleted."""
        self._ended.set()
        if self._unwanted:
            self._idle.wait(CLOSE_SECONDS)

    def _key(self, claim: Claim) -> str:
        return so_far_key(self._origin.prefix, claim.table.name, claim.item)

    def _delete(self, key: str) -> None:
        try:
            self._logs.delete(key)
        except (AwsError, OSError) as fault:
            logger.warning("the partial output in %s is left behind: %s", key, fault)

    # For its thread

    def _run(self, interval: float) -> None:
        while not self._ended.wait(interval / CHECKS):
            claims = [claim for claim in self._claims() if not claim.lost]
            self._put = {claim: put for claim, put in self._put.items() if claim in claims}
            for claim in claims:
                try:
                    if self._due(claim, interval) and not self._offer(claim, interval):
                        return
                except (AwsError, OSError) as fault:
                    logger.info("partial output of item %d: %s", claim.item.item_id, fault)
                except Exception:
                    # The tasks continue, and their whole logs come when they end
                    logger.debug("partial logs", exc_info=True)

    def _due(self, claim: Claim, interval: float) -> bool:
        last, _ = self._put.get(claim, (claim.began, {}))
        return monotonic() >= last + interval

    def _offer(self, claim: Claim, interval: float) -> bool:
        """Upload what is new of a claim; False if this worker may not delete it again."""
        running = claim.running.copy().items()
        long = {name: task for name, task in running if task.age >= interval}
        sizes, body = self._pack(claim, long)
        _, before = self._put.get(claim, (0.0, {}))
        if sizes == before or not any(map(any, sizes.values())):
            return True
        key = self._key(claim)
        if not self._may_delete:
            try:
                self._logs.delete(key)
            except AccessDenied as denied:
                logger.warning(
                    "partial output is not uploaded to S3, since it could not be deleted "
                    "afterwards: %s; see aws/iam/worker.json, or pass --partial-logs off",
                    denied,
                    extra={"once": True},
                )
                return False
            self._may_delete = True
        self._upload(claim, Packed(key, body, ()))
        self._put[claim] = monotonic(), sizes
        return True

    def _upload(self, claim: Claim, packed: Packed) -> None:
        with self._lock:
            if claim.lost or claim.ending:
                return
            self._putting, self._unwanted = claim, False
            self._idle.clear()
        try:
            self._logs.put(packed)
            first = not claim.so_far
            claim.so_far = self._logs.address(packed.key)
            if first and claim.item.log_so_far != claim.so_far:
                self._news()
        finally:
            with self._lock:
                self._putting, unwanted = None, self._unwanted
            if unwanted:
                self._delete(packed.key)
            self._idle.set()

    def _pack(self, claim: Claim, tasks: Mapping[str, TaskProcess]) -> tuple[Sizes, bytes]:
        """Sizes of the output of tasks that run, and a gzip member for each, as in whole logs."""
        sizes: dict[str, tuple[int, int]] = {}
        members: list[bytes] = []
        for name, task in tasks.items():
            with task.output() as output:
                if output is None:
                    continue
                stdout, stderr = (os.fstat(descriptor).st_size for descriptor in output)
                sizes[name] = stdout, stderr
                header = self._origin.header(claim, name, task.script, task.started)
                header |= {
                    "output until": utc_now(),
                    "seconds": f"{task.age:.0f}",
                    "status": "running",
                }
                streams = []
                for stream, descriptor, size in zip(
                    ("stdout", "stderr"), output, sizes[name], strict=True
                ):
                    begin = max(size - STREAM_LIMIT, 0)
                    header[f"{stream} begins at byte"] = str(begin)
                    # What the task empties meanwhile is missing: read before its size is written
                    content = os.pread(descriptor, size - begin, begin)
                    streams.append((stream, len(content), [content]))
                members += gzip_member(header, streams)
        return sizes, b"".join(members)
