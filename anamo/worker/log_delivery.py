"""Uploads complete logs to S3.

Guaranteed: a log that S3 refuses is kept in a named file, whose path is in its log entries and
stays valid until S3 has taken the log, also after the process has ended. Not guaranteed: that the
entries' note is removed when the log is delivered; that the log is still in S3 or on disk if
somebody else deletes the file.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from anamo import __version__
from anamo.aws.log_store import LogStore, Packed
from anamo.aws.retry import RetryPolicy
from anamo.core.errors import AnamoError, AwsError, HostError, TransientError
from anamo.core.log_entry import NOTE_LIMIT, LogEntry, log_key
from anamo.worker.claim import Claim
from anamo.worker.control import Control
from anamo.worker.log_packer import Ended, pack
from anamo.worker.task_process import Outcome

LOG_SECONDS = 120.0
"""How long a log is offered to S3 before its outcome is recorded without it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogOrigin:
    """Where logs come from, for their keys and headers.

    Attributes:
        prefix: What the S3 keys begin with.
        host: Name of this host.
        host_metadata: Further names and values for the headers.
    """

    prefix: str
    host: str
    host_metadata: Mapping[str, str]

    def header(self, claim: Claim, name: str, script: str, started: str) -> dict[str, str]:
        """What the header of a task's log can say as soon as the task runs, in order."""
        item = claim.item
        return {
            "table": claim.table.name,
            "taskID": item.task_id,
            "itemID": str(item.item_id),
            **({"nested task": name} if name else {}),
            "command": script,
            "instance": item.instance_id,
            "host": self.host,
            **self.host_metadata,
            "lockID": item.lock_id,
            "attempt": str(item.attempts),
            "started": started,
        }


class LogDelivery:
    """Packs logs, puts them in S3, keeps those that S3 refuses and offers them again.

    Attributes:
        refused: Whether S3 has refused the log that is being stored: it may have to be kept.
        lost_logs: The paths of kept logs that somebody deleted before S3 took them.
    """

    def __init__(self, logs: LogStore, origin: LogOrigin, control: Control) -> None:
        self._logs = logs
        self._origin = origin
        self._control = control
        # For the main thread, which notices signals while it waits
        self._retries = RetryPolicy(control.sleep)
        self._kept: dict[Path, Packed] = {}
        self._directory: Path | None = None
        self.refused = False
        self.lost_logs: list[str] = []

    def store(
        self, claim: Claim, outcomes: Mapping[str, Outcome], retries: RetryPolicy
    ) -> dict[str, LogEntry]:
        """Put the logs of tasks in S3 as one object, or keep it. For the recorder's thread.

        Args:
            claim: Whose tasks they are.
            outcomes: How they ended, by name.
            retries: How to wait between attempts.

        Returns:
            Their log entries by name.

        Raises:
            OSError: There is no space for the object.
        """
        item, origin = claim.item, self._origin
        first = next(iter(outcomes))
        key = log_key(origin.prefix, claim.table.name, item, item.lock_id, first or None)
        ended = [
            Ended(outcome, self._header(claim, name, outcome)) for name, outcome in outcomes.items()
        ]
        with pack(key, self._logs.address(key), ended, claim.tail) as packed:
            entries = packed.entries
            try:
                put = partial(self._logs.put, packed)
                retries.retry(put, LOG_SECONDS, lambda: self._control.out_of_time, self._note)
            except AwsError as fault:
                entries = self._keep(packed, fault)
            finally:
                self.refused = False
        return dict(zip(outcomes, entries, strict=True))

    def _note(self, fault: TransientError) -> None:
        self.refused = True
        logger.warning("logs: %s; trying again", fault)

    def _header(self, claim: Claim, name: str, outcome: Outcome) -> dict[str, str]:
        return {
            "PyAnamo": __version__,
            **self._origin.header(claim, name, outcome.script, outcome.started),
            "ended": outcome.ended,
            "seconds": f"{outcome.seconds:.3f}",
            "peak memory": f"{outcome.max_rss_mb:.1f} MB",
            "status": outcome.status,
            "exit code": str(outcome.exit_code),
        }

    def _keep(self, packed: Packed, fault: AwsError) -> tuple[LogEntry, ...]:
        """Copy the object to a named file; its entries with a note that says where."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="pyanamo-"))
        path = self._directory / packed.key.rpartition("/")[2]
        if isinstance(packed.body, bytes):
            path.write_bytes(packed.body)
        else:
            shutil.copyfile(packed.body, path)
        self._kept[path] = replace(packed, body=path)
        logger.warning("log kept in %s: %s", path, fault)
        note = f"{type(fault).__name__}; kept at {self._origin.host}:{path}"
        note = note.encode()[:NOTE_LIMIT].decode("utf-8", "ignore")
        return tuple(replace(entry, s3_note=note) for entry in packed.entries)

    @property
    def has_kept_logs(self) -> bool:
        """Whether there are logs that S3 has not taken yet."""
        return bool(self._kept)

    def deliver(self, seconds: float, stop: Callable[[], bool]) -> None:
        """Offer the kept logs to S3 again. For the main thread.

        Args:
            seconds: How long each is retried.
            stop: Whether to give up early.

        Raises:
            AwsError: Why S3 does not take one, unless `stop()` is true.
            HostError: One cannot be read.
        """
        while kept := list(self._kept.items()):
            path, packed = kept[0]
            try:
                self._retries.retry(partial(self._logs.put, packed), seconds, stop)
            except TransientError:
                if stop():
                    return
                raise
            except FileNotFoundError:
                # Something that cleans up old temporary files, perhaps
                self.lost_logs.append(str(path))
            except OSError as error:
                raise HostError(f"the log kept in {path} cannot be read: {error}") from error
            del self._kept[path]
            path.unlink(missing_ok=True)

    def offer(self) -> None:
        """Offer the kept logs a last time, unless the process must end. For any thread."""
        with suppress(AnamoError, OSError):
            if not self._control.out_of_time:
                self.deliver(0, lambda: True)

    def close(self) -> tuple[str, ...]:
        """The paths of the logs that S3 has not taken."""
        kept = tuple(map(str, list(self._kept)))
        if self._directory and not kept:
            shutil.rmtree(self._directory, ignore_errors=True)
        return kept
