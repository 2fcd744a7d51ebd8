"""What a worker did, as metrics for CloudWatch or Prometheus; written by its parent process.

Guaranteed: each claim that ended is counted once, by the worker that held it, so that the metrics
of all workers add up to what their tables say; no work waits for whoever reads them, or stops
because they cannot be written. Not guaranteed: that what a process did for its last claim is
counted if it is killed.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol

from anamo.core.item import State
from anamo.worker.messages import Finished, ItemEnded

SECONDS = 60.0
"""Between two writes: CloudWatch keeps a value a minute, and Prometheus asks as often or less."""

NAMESPACE = "PyAnamo"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Measured:
    """What was done on a table since the worker began.

    Attributes:
        items_done: Claims whose items are done.
        items_failed: Claims whose items have failed.
        tasks_done: Tasks that succeeded.
        tasks_failed: Tasks that failed and are not retried.
        throttles: Requests that DynamoDB throttled; each attempt counts.
        seconds: How long all claims took that ended, each from its beginning.
    """

    items_done: int = 0
    items_failed: int = 0
    tasks_done: int = 0
    tasks_failed: int = 0
    throttles: int = 0
    seconds: float = 0.0

    def add(self, ended: ItemEnded) -> None:
        """Count a claim that ended."""
        self.items_done += ended.state == State.DONE
        self.items_failed += ended.state == State.FAILED
        self.tasks_done += ended.done
        self.tasks_failed += len(ended.failures) if not ended.retried else 0
        self.throttles += ended.throttles
        self.seconds += ended.seconds

    def since(self, before: "Measured") -> "Measured":
        """What has come since."""
        names = [each.name for each in fields(self)]
        return Measured(*(getattr(self, name) - getattr(before, name) for name in names))


ByTable = Mapping[str, Measured]


class Sink(Protocol):
    """Where metrics go."""

    def write(self, measured: ByTable) -> object:
        """Write what was done so far.

        Raises:
            OSError: It cannot be written.
        """


class Metrics:
    """Counts what worker processes send, and writes it every SECONDS.

    Args:
        tables: The tables' names.
        sinks: Where to write it; without any, nothing happens.
    """

    def __init__(self, tables: Sequence[str] = (), sinks: Sequence[Sink] = ()) -> None:
        self._measured = {table: Measured() for table in tables}
        self._sinks = sinks
        self._due = time.monotonic() + SECONDS
        self._warned = False

    def begin(self) -> None:
        """Write that nothing was done yet.

        Raises:
            OSError: It cannot be written.
        """
        for sink in self._sinks:
            sink.write(self._measured)

    def note(self, message: ItemEnded | Finished) -> None:
        """Count what a process sends."""
        if isinstance(message, ItemEnded):
            self._of(message.table).add(message)
        else:
            for table, throttles in message.throttles.items():
                self._of(table).throttles += throttles

    def _of(self, table: str) -> Measured:
        return self._measured.setdefault(table, Measured())

    def write_when_due(self) -> None:
        """Write what was done, unless that was written a short while ago."""
        if self._sinks and time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write what was done so far. If that fails, work continues all the same."""
        self._due = time.monotonic() + SECONDS
        for sink in self._sinks:
            try:
                sink.write(self._measured)
            except OSError as error:
                if not self._warned:
                    logger.warning("metrics cannot be written: %s", error)
                self._warned = True


EMF = {
    "items_done": ("ItemsDone", "Count"),
    "items_failed": ("ItemsFailed", "Count"),
    "tasks_done": ("TasksDone", "Count"),
    "tasks_failed": ("TasksFailed", "Count"),
    "throttles": ("Throttles", "Count"),
    "seconds": ("ItemSeconds", "Seconds"),
}
"""Names and units of the metrics in CloudWatch, by the fields of Measured."""


class EmbeddedMetrics:
    """CloudWatch's embedded metric format: a line of JSON for each table on which anything was
    done since the last one. CloudWatch Logs makes metrics of such lines on its own.

    Args:
        print_line: Prints a line as it is: nothing may stand before or after the JSON.
        now: The time in epoch seconds.
    """

    def __init__(
        self, print_line: Callable[[str], object], now: Callable[[], float] = time.time
    ) -> None:
        self._print_line = print_line
        self._now = now
        self._written: dict[str, Measured] = {}

    def write(self, measured: ByTable) -> None:
        """Print the lines."""
        for table, total in measured.items():
            new = total.since(self._written.get(table, Measured()))
            if new != Measured():
                self._written[table] = replace(total)
                # As with messages, work continues if nobody reads them
                with suppress(OSError):
                    self._print_line(json.dumps(self._event(table, new)))

    def _event(self, table: str, new: Measured) -> dict[str, object]:
        metrics = [{"Name": name, "Unit": unit} for name, unit in EMF.values()]
        directive = {"Namespace": NAMESPACE, "Dimensions": [["Table"]], "Metrics": metrics}
        return {
            "_aws": {"Timestamp": int(self._now() * 1000), "CloudWatchMetrics": [directive]},
            "Table": table,
            **{name: round(getattr(new, field), 3) for field, (name, _) in EMF.items()},
        }


PROMETHEUS = {
    "pyanamo_items_total": (
        "Items that ended.",
        {"items_done": 'state="done"', "items_failed": 'state="failed"'},
    ),
    "pyanamo_tasks_total": (
        "Tasks that ended and are not retried.",
        {"tasks_done": 'state="done"', "tasks_failed": 'state="failed"'},
    ),
    "pyanamo_throttled_requests_total": ("Requests that DynamoDB throttled.", {"throttles": ""}),
    "pyanamo_item_seconds_total": ("Seconds that claims of items took.", {"seconds": ""}),
}
"""Help of the metrics in Prometheus, and the fields of Measured that each has, by their labels."""


class PrometheusFile:
    """Prometheus's text format in a file for node_exporter's textfile collector: counters since the
    worker began. A reader finds either the old file or the new one, whole.

    Args:
        path: The file. Its name without ".prom" is the label `worker`, since no two files that a
            collector reads may have the same metric with the same labels.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, measured: ByTable) -> None:
        """Replace the file."""
        # Not named *.prom, which the collector would read
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            draft.write_text(self._text(measured), encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            # By the name that the user gave it
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        finally:
            with suppress(OSError):
                draft.unlink()

    def _text(self, measured: ByTable) -> str:
        worker = _quoted(self._path.stem)
        lines = []
        for name, (what, sources) in PROMETHEUS.items():
            lines += [f"# HELP {name} {what}", f"# TYPE {name} counter"]
            for table, total in measured.items():
                for field, label in sources.items():
                    labels = [f"table={_quoted(table)}", f"worker={worker}", *filter(None, [label])]
                    value = round(getattr(total, field), 3)
                    lines.append(f"{name}{{{','.join(labels)}}} {value}")
        return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'
