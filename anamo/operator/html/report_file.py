"""Writes the report's file, once or at intervals, each time from the tables."""

import errno
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.core.errors import UsageError
from anamo.core.record import Record
from anamo.core.text import format_duration
from anamo.operator.counts import count_table
from anamo.operator.hints import Hints
from anamo.operator.html import item_row
from anamo.operator.html.render import render
from anamo.operator.html.step_data import StepData
from anamo.operator.watch import PAUSE_FACTOR


@dataclass(frozen=True, slots=True)
class Written:
    """A report that was written.

    Attributes:
        path: Its file.
        size: In bytes.
        left: How many items are todo or locked.
    """

    path: str
    size: int
    left: int

    def __str__(self) -> str:
        """What to tell the operator."""
        size = f"{self.size / 1e6:.1f} MB" if self.size >= 1e5 else f"{self.size / 1e3:.0f} kB"
        return f"wrote {self.path} ({size})"


def write_report(
    path: str,
    tables: Sequence[WorkflowTable],
    hints: Hints,
    retry: OperatorRetry,
    seconds: float | None = None,
    *,
    all_steps: bool = True,
) -> Written:
    """Read the tables and write a report about them.

    Args:
        path: The file; if there is one, it is replaced.
        tables: The tables, in the order of the workflow's steps.
        hints: Makes the suggested command lines.
        retry: Sends the requests.
        seconds: Have the browser reload it at this interval until no item is todo or locked.
        all_steps: Whether the tables are all that were asked for.

    Raises:
        UsageError: The file cannot be written.
        AwsError: A request failed.
    """
    kinds = list(item_row.KINDS)
    steps = [_read_step(table, kinds, retry) for table in tables]
    left = sum(step.counts.left for step in steps)
    now, refresh = tables[0].clock.now(), seconds if left else None
    report = render(steps, hints, now, refresh, all_steps=all_steps).encode()
    try:
        _replace(Path(path), report)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return Written(path, len(report), left)


def watch_report(
    write: Callable[[float], Written],
    seconds: float,
    say: Callable[[str], object],
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Write a report at intervals, until no item is todo or locked.

    Args:
        write: Writes a report that a browser reloads after a number of seconds.
        seconds: From the start of one report to the next; longer if reading takes long.
        say: Tells the operator.
        sleep: Waits for some seconds.
    """
    interval, first = max(float(math.ceil(seconds)), 1.0), True
    while True:
        began = time.monotonic()
        written = write(interval)
        if not written.left:
            say(f"{written}; nothing is left to do")
            return
        if first:
            say(f"{written}; rewritten every {format_duration(seconds)}")
        took = time.monotonic() - began
        first, pause = False, max(seconds - took, PAUSE_FACTOR * took)
        interval = max(float(math.ceil(took + pause)), 1.0)
        sleep(pause)


def _replace(target: Path, content: bytes) -> None:
    """Replace the file in one step: a browser that reloads it meanwhile gets the old report or the
    new one.

    In a folder that others may write to, nobody can lead the writes elsewhere by a link: the part
    is opened with O_EXCL, under a name that cannot be guessed. Until it is whole, it is the user's
    alone; then it has the permissions of any other new file.
    """
    if not is_replaceable(target):
        raise OSError(errno.EINVAL, "it is not a regular file")
    with NamedTemporaryFile(dir=target.parent, prefix=".pyanamo-", delete=False) as part:
        try:
            part.write(content)
            part.flush()
            os.fchmod(part.fileno(), 0o666 & ~_umask())
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink()
            raise


def is_replaceable(target: Path) -> bool:
    """Whether a report may take the place of what is there: not of a pipe or a device, nor of a
    name in /dev such as /dev/stdout, whatever that leads to. Of a folder, the system says so.
    """
    if target.parent == Path("/dev"):
        return False
    return not target.exists() or target.is_file() or target.is_dir()


def _umask() -> int:
    """The process's umask, which can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _read_step(table: WorkflowTable, kinds: list[str], retry: OperatorRetry) -> StepData:
    step = StepData(table.name, kinds)

    def note(record: Record) -> None:
        step.add(record, table.clock.surely_past())

    step.counts = count_table(table, retry, note, whole=True)
    return step
