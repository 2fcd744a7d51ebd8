"""The log entry: what the table keeps of a task's end, where its whole log is, and how much room
that takes.

Guaranteed: an item for which `tail_limit` gives at least SMALLEST_TAIL stays within DynamoDB's
item limit whatever its tasks print, as long as the log prefix keeps to PREFIX_LIMIT.
"""

from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from anamo.core.item import (
    ITEM_LIMIT,
    Attribute,
    Attributes,
    Item,
    new_attributes,
    size_of,
    text_size,
    value_size,
)

STREAM_TAIL = 2048
"""Most bytes of one stream of a task's output that stand in its item; the whole is in S3."""

ALL_TAILS = 200_000
"""Most bytes of output in one item, so that half of it is left for everything else."""

SMALLEST_TAIL = 64
"""Bytes each stream must have room for, or the importer refuses the line: less tells nothing."""

NOTE_LIMIT = 100
"""Bytes of an entry's `S3_Note`."""

PREFIX_LIMIT = 64
"""Bytes of the log prefix once it is percent-encoded."""

TASK_PART_LIMIT = 200
"""Bytes of a task id in a log key once it is percent-encoded; a longer one is cut, since itemID
and lockID alone make the key unique and S3 allows keys of 1,024 bytes."""

CLAIM_ROOM = 2_500
"""Bytes for what claims and their end write beside the log: lockID, InstanceID (up to 1,024
bytes), dates, lease, counters."""

BUCKET_LIMIT = 63
"""Bytes of a bucket's name."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What the table keeps of one task's end.

    status: "Execution Successful", "Execution Failed: exit 3" and the like.
    stdout, stderr: the tails. seconds: run time. max_rss_mb: peak memory in 10^6 bytes.
    s3: the log object's s3:// address; s3_range: first and last byte of the task's gzip member.
    s3_note: why the object was not in S3 yet when this was written, and where the log was kept.
    lines: lines of output, which only the item's Log_Length holds.
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

    def to_attribute(self) -> Attribute:
        """The entry as a DynamoDB map."""
        values: dict[str, Attribute] = {
            "Status": {"S": self.status},
            "stdout": {"S": self.stdout},
            "stderr": {"S": self.stderr},
            "Exit_Code": {"N": str(self.exit_code)},
            "Seconds": {"N": f"{self.seconds:.3f}"},
            "Max_RSS_MB": {"N": f"{self.max_rss_mb:.1f}"},
            "S3": {"S": self.s3},
            "S3_Range": {"S": self.s3_range},
        }
        if self.tags:
            values["Tags"] = {"L": [{"S": tag} for tag in self.tags]}
        if self.s3_note:
            values["S3_Note"] = {"S": self.s3_note}
        return {"M": values}

    @classmethod
    def from_attribute(cls, attribute: Attribute) -> "LogEntry":
        """The entry a DynamoDB map holds. What another tool left out, or wrote in another form,
        counts as empty.
        """
        values: Attributes = attribute.get("M", {})

        def text(name: str) -> str:
            return str(values.get(name, {}).get("S", ""))

        def number(name: str) -> float:
            return float(values.get(name, {}).get("N", "0"))

        return cls(
            status=text("Status"),
            stdout=text("stdout"),
            stderr=text("stderr"),
            exit_code=int(number("Exit_Code")),
            seconds=number("Seconds"),
            max_rss_mb=number("Max_RSS_MB"),
            s3=text("S3"),
            s3_range=text("S3_Range"),
            tags=tuple(str(tag.get("S", "")) for tag in values.get("Tags", {}).get("L", [])),
            s3_note=text("S3_Note"),
        )


SUCCESSFUL = "Execution Successful"


def abandoned_entry(claims: int) -> LogEntry:
    """The entry of a task whose workers died while they ran it, that many times."""
    return LogEntry(
        status=f"Execution Failed: abandoned after {claims} claims",
        stdout="",
        stderr=f"{claims} workers were lost while they held this item; does it use up the memory?",
        exit_code=137,
        seconds=0.0,
        max_rss_mb=0.0,
        s3="",
        s3_range="",
    )


def log_key(prefix: str, table: str, item: Item, lock_id: str, first: str | None) -> str:
    """The key of a log object: PREFIX/TABLE/taskID/itemID-lockID[-Task_k].log.gz.

    first: the name of the first nested task in the object, None for a single item. A lockID
    belongs to one attempt and a nested task ends once in it, so no key is written by two attempts.
    """
    task = quote(item.task_id, safe="")[:TASK_PART_LIMIT]
    # A cut may leave half of an escape, and a part of dots alone means another folder to some tools
    task = task.removesuffix("%") if task[-2:-1] != "%" else task[:-2]
    task = task.replace(".", "%2E") if task in (".", "..") else task
    nested = f"-{quote(first, safe='')}" if first else ""
    return "/".join(
        [*encoded_prefix(prefix), quote(table), task, f"{item.item_id}-{lock_id}{nested}.log.gz"]
    )


def encoded_prefix(prefix: str) -> list[str]:
    """The prefix's folders, percent-encoded; none for an empty prefix."""
    return [quote(part, safe="") for part in prefix.split("/") if part]


def tail_limit(item: Item, table: str) -> int:
    """Bytes that each of a task's streams (stdout, stderr, tags) may take in the item so that all
    of its entries fit; below SMALLEST_TAIL, even negative, where the item is too large.
    """
    fixed = size_of(new_attributes(item)) + CLAIM_ROOM + item.tasks * _entry_room(item, table)
    share = (ITEM_LIMIT - fixed) // (3 * item.tasks)
    return min(STREAM_TAIL, ALL_TAILS // (3 * item.tasks), share)


def _entry_room(item: Item, table: str) -> int:
    """Bytes of the largest entry of the item beside its streams."""
    last = f"Task_{item.tasks}" if item.is_nested else None
    key = log_key("p" * PREFIX_LIMIT, table, item, "l" * 32, last)
    return _largest_entry() + text_size(key) + text_size(last or "") + 1


@cache
def _largest_entry() -> int:
    """Bytes of the largest entry beside its streams and the key of its log."""
    largest = LogEntry(
        status="Execution Failed: killed by signal 64",
        stdout="",
        stderr="",
        exit_code=255,
        seconds=99_999_999.999,
        max_rss_mb=9_999_999.9,
        s3=f"s3://{'b' * BUCKET_LIMIT}/",
        s3_range="999999999999-9999999999999",
        tags=("",),
        s3_note="n" * NOTE_LIMIT,
    )
    return value_size(largest.to_attribute())
