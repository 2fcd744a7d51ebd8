"""The log entry: what the table keeps of a task's end, and where the task's whole log is."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from anamo.core.codec import Values, number, text, texts, whole
from anamo.core.item import Item
from anamo.core.text import count

NOTE_LIMIT = 100
"""Bytes of an entry's `S3_Note`."""

PREFIX_LIMIT = 64
"""Bytes of the log prefix once it is percent-encoded."""

NESTED_PART_LIMIT = 100
"""Bytes of a nested task's name in a log key, likewise. Where another tool gave a longer name, a
digest stands for the rest, since the names of an item may differ only there."""

MOST_PREFIXES = 8
"""The most `S3_Prefixes` of an item. A claim that would add another writes whole addresses: an item
that is given back again and again must not grow."""

TASK_PART_LIMIT = 200
"""Bytes of a task id in a log key once it is percent-encoded; a longer one is cut, since itemID
and lockID alone make the key unique and S3 allows keys of 1,024 bytes."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What the table keeps of one task's end.

    Attributes:
        status: "Execution Successful", "Execution Failed: exit 3" and the like.
        stdout: The end of the standard output.
        stderr: The end of the standard error.
        exit_code: As a shell has it: 128 and the signal's number for a task that a signal killed.
        seconds: Run time.
        max_rss_mb: Peak memory in 10^6 bytes.
        s3: The log object's s3:// address.
        s3_range: First and last byte of the task's gzip member in that object.
        tags: The lines that the task printed after `PyAnamo:` and a tab.
        s3_note: Why the object was not in S3 yet when this was written, and where the log was kept.
        lines: Lines of output, which only the item's Log_Length holds.
    """

    status: str
    stdout: str
    stderr: str
    exit_code: int
    seconds: float
    max_rss_mb: float
    s3: str
    s3_range: str
    tags: tuple[str, ...] = ()
    s3_note: str = ""
    lines: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether the task ended well."""
        return self.status == SUCCESSFUL

    def to_values(self) -> dict[str, Any]:
        """The entry as the table holds it: without what is empty, since each write of an item is
        billed by all that the item holds.
        """
        values: dict[str, Any] = {
            "Status": self.status,
            "Exit_Code": self.exit_code,
            "Seconds": Decimal(f"{self.seconds:.3f}"),
            "Max_RSS_MB": Decimal(f"{self.max_rss_mb:.1f}"),
        }
        further = {
            "stdout": self.stdout,
            "stderr": self.stderr,
            "S3": self.s3,
            "S3_Range": self.s3_range,
            "Tags": list(self.tags),
            "S3_Note": self.s3_note,
        }
        return values | {name: value for name, value in further.items() if value}

    @classmethod
    def from_values(cls, values: Values, prefixes: Sequence[str] = ()) -> "LogEntry":
        """The entry that a table holds. What another tool left out, or wrote in another form,
        counts as empty.

        Args:
            values: The entry.
            prefixes: The item's `S3_Prefixes`.
        """
        return cls(
            status=text(values, "Status"),
            stdout=text(values, "stdout"),
            stderr=text(values, "stderr"),
            exit_code=whole(values, "Exit_Code"),
            seconds=number(values, "Seconds") or 0.0,
            max_rss_mb=number(values, "Max_RSS_MB") or 0.0,
            s3=whole_address(text(values, "S3"), prefixes),
            s3_range=text(values, "S3_Range"),
            tags=texts(values, "Tags"),
            s3_note=text(values, "S3_Note"),
        )


SUCCESSFUL = "Execution Successful"

FAILED = "Execution Failed: "
"""What the status of a task that failed begins with; its cause follows."""

SO_FAR = "so-far"
"""Takes the place of the lockID in the key of output so far; IAM policies name it."""


def abandoned_entry(claims: int, host_errors: int = 0, host_error: str = "") -> LogEntry:
    """The entry of a task of an item that no worker could finish.

    Args:
        claims: How many claims of the item ended without an outcome.
        host_errors: How many of them ended in a host error; in the others, workers died.
        host_error: The last of these.
    """
    lost = claims - host_errors
    reasons = []
    if host_errors:
        reasons.append(
            f"{host_errors} of {count(claims, 'claim')} ended in a host error: {host_error}"
        )
    if lost > 0:
        reasons.append(f"{count(lost, 'worker')} died while holding it; does it use up the memory?")
    what = "abandoned after" if lost > 0 else "host errors in"
    return LogEntry(
        status=f"{FAILED}{what} {count(claims, 'claim')}",
        stdout="",
        stderr="\n".join(reasons),
        exit_code=137 if lost > 0 else 1,
        seconds=0.0,
        max_rss_mb=0.0,
        s3="",
        s3_range="",
    )


def log_key(prefix: str, table: str, item: Item, lock_id: str, first: str | None) -> str:
    """The key of a log object: PREFIX/TABLE/taskID/itemID-lockID[-Task_k].log.gz.

    A lockID belongs to one attempt and a nested task ends once in it, so no key is written by two
    attempts.

    Args:
        prefix: The folders before it, not encoded; may be empty.
        table: The table's name.
        item: The item whose log it is.
        lock_id: The claim under which the tasks ran.
        first: The name of the first nested task in the object, None for a single item.
    """
    task = quote(item.task_id, safe="")[:TASK_PART_LIMIT]
    # A cut may leave half of an escape, and a part of dots alone means another folder to some tools
    task = task.removesuffix("%") if task[-2:-1] != "%" else task[:-2]
    task = task.replace(".", "%2E") if task in (".", "..") else task
    nested = f"-{_nested_part(first)}" if first else ""
    return f"{log_folder(prefix, table)}{task}/{item.item_id}-{lock_id}{nested}.log.gz"


def log_folder(prefix: str, table: str) -> str:
    """What the keys of a table's logs begin with, as far as the last slash.

    Args:
        prefix: The prefix of all logs.
        table: The table's name or ARN.
    """
    return "/".join([*encoded_prefix(prefix), quote(table), ""])


def split_address(address: str, lock_id: str) -> tuple[str, str]:
    """What a nested task's log address shares with the others of its claim, and the rest; both
    empty where it is not an address of that claim.
    """
    head, mark, rest = address.rpartition(f"-{lock_id}-")
    return (head + mark, rest) if mark else ("", "")


def whole_address(written: str, prefixes: Sequence[str]) -> str:
    """The s3:// address that an entry's `S3` stands for.

    Args:
        written: The entry's `S3`: `1:Task_7.log.gz` is the second prefix and what follows the
            colon. Earlier versions wrote the whole address.
        prefixes: The item's `S3_Prefixes`.
    """
    number, _, rest = written.partition(":")
    if number in map(str, range(len(prefixes))):
        return prefixes[int(number)] + rest
    return written


def so_far_key(prefix: str, table: str, item: Item) -> str:
    """The key of the output so far of an item's tasks. It is the same for each claim, so that the
    next one replaces what a worker that died has left, and the end of the item deletes it.
    """
    return log_key(prefix, table, item, SO_FAR, None)


def _nested_part(name: str) -> str:
    encoded = quote(name, safe="")
    if len(encoded) <= NESTED_PART_LIMIT:
        return encoded
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{encoded[: NESTED_PART_LIMIT - len(digest) - 1].partition('%')[0]}-{digest}"


def encoded_prefix(prefix: str) -> list[str]:
    """The prefix's folders, percent-encoded; none for an empty prefix."""
    return [quote(part, safe="") for part in prefix.split("/") if part]
