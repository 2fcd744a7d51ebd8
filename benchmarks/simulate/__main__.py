"""What a table of DynamoDB takes, by simulation: python -m benchmarks.simulate [FLAGS].

Prints a row of a Markdown table for each number of workers and run time of a task.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

from anamo.aws.table_admin import workflow_indexes
from anamo.cli import arguments as types
from anamo.core.text import format_duration
from anamo.operator.plan.price import WRITE_PRICE, Price
from benchmarks.simulate.partitions import Limits
from benchmarks.simulate.run import Result, simulate, work_for

COLUMNS = (
    "workers",
    "task",
    "items simulated",
    "items a second",
    "lost claims an item",
    "throttled requests an item",
    "write units an item",
    "read units an item",
    "time for all",
    "idle tail",
    "USD for all",
    "throttled most",
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    add = made.add_argument
    number = types.whole_number(1)
    add("--workers", type=number, nargs="+", default=[1_000, 10_000], help="default: %(default)s")
    add("--task-time", type=types.positive_duration, nargs="+", default=[1.0, 10.0, 60.0, 600.0],
        help="default: %(default)s")  # fmt: skip
    add("--items", type=number,
        help="items simulated, twice as many as workers or more; default: what shows the steady "
        "state")  # fmt: skip
    add("--of", type=number, default=10_000_000, help="items that it stands for")
    add("--wide", action="store_true", help="indexes that hold whole items")
    add("--burst", type=float, default=1.0, help="seconds of unused units saved, up to 300")
    add("--split-after", type=types.duration, help="of heat; default: never")
    add("--lag", type=float, default=0.1, help="mean seconds of the indexes")
    add("--lost", type=float, default=0.0, help="share of replies that are lost")
    add("--price", type=float, default=WRITE_PRICE, help="USD for a million write units")
    add("--lines", type=int, default=0, help="tasks print up to so many lines of output")
    add("--seed", type=int, default=1)
    return made


def main(words: Sequence[str]) -> int:
    """Simulate what is asked for."""
    made = parser()
    given = made.parse_args(words)
    if given.items is not None and given.items < 2 * max(given.workers):
        made.error(f"--items {given.items}: {2 * max(given.workers)} or more show a steady state")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---:|' * len(COLUMNS)}", flush=True)
    for workers in given.workers:
        for seconds in given.task_time:
            began = time.monotonic()
            result = _simulate(given, workers, seconds)
            print(f"| {' | '.join(_cells(given, result))} |", flush=True)
            print(f"{time.monotonic() - began:.0f} s of real time", file=sys.stderr)
    return 0


def _simulate(given: argparse.Namespace, workers: int, seconds: float) -> Result:
    limits = Limits(
        burst=given.burst, split_after=given.split_after, lag=given.lag, lost=given.lost
    )
    indexes = [index.wide if given.wide else index for index in workflow_indexes()]
    work = work_for(workers, seconds, given.items, given.seed, given.lines)
    return simulate(work, indexes, limits)


def _cells(given: argparse.Namespace, result: Result) -> Iterator[str]:
    work = result.work
    yield f"{work.workers:,}"
    yield f"{work.task_seconds:,g} s"
    yield f"{work.items:,}"
    yield f"{result.rate:,.1f}"
    yield f"{result.an_item(lambda mark: mark.refused):.2f}"
    yield f"{result.an_item(lambda mark: mark.throttled):.2f}"
    yield f"{result.an_item(lambda mark: mark.writes):.2f}"
    yield f"{result.an_item(lambda mark: mark.reads):.2f}"
    yield format_duration(result.seconds(given.of))
    yield format_duration(result.idle)
    yield f"{result.dollars(given.of, Price(given.price)):,.2f}"
    yield ", ".join(name for name, _ in result.meter.throttled.most_common(2)) or "nothing"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
