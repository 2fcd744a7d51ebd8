"""What a table of DynamoDB takes, by simulation: python -m benchmarks.simulate [FLAGS].

Prints a row of a Markdown table for each number of workers and run time of a task, after two runs:
one is cut off in the steady state of a large table, which gives the figures of an item; the other
works a small table through to its end. The figures for all items are an extrapolation: the second
run, and the other items as in the steady state.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from anamo.aws.table_admin import workflow_indexes
from anamo.cli import arguments as types
from anamo.core.text import format_duration
from anamo.operator.plan.price import WRITE_PRICE, Price
from benchmarks.simulate.partitions import Limits
from benchmarks.simulate.run import (
    TABLE_ITEMS,
    Estimate,
    simulate,
    steady_work,
    throttled_requests,
    work_to_the_end,
)

COLUMNS = (
    "workers",
    "task",
    "items a second",
    "lost claims an item",
    "throttled requests an item",
    "throttled most",
    "write units an item",
    "read units an item",
    "items to the end",
    "lost claims an item to the end",
    "throttled requests to the end",
    "throttled most to the end",
    "idle tail",
    "time for all",
    "throttled requests for all",
    "USD for all",
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    add = made.add_argument
    number = types.whole_number(1)
    add("--workers", type=number, nargs="+", default=[1_000, 10_000], help="default: %(default)s")
    add("--task-time", type=types.positive_duration, nargs="+", default=[1.0, 10.0, 60.0, 600.0],
        help="default: %(default)s")  # fmt: skip
    add("--table", type=number, default=TABLE_ITEMS,
        help="items of the table of the steady state; default: %(default)s")  # fmt: skip
    add("--steady", type=number,
        help="items that are done when that run is cut off; default: what shows the steady "
        "state")  # fmt: skip
    add("--items", type=number,
        help="items of the run to the end, twice as many as workers or more; default: two a "
        "worker, or 20 s at the ceiling")  # fmt: skip
    add("--of", type=number, default=10_000_000, help="items that they stand for")
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
        made.error(f"--items {given.items}: {2 * max(given.workers)} or more show the end of a run")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---:|' * len(COLUMNS)}", flush=True)
    for workers in given.workers:
        for seconds in given.task_time:
            began = time.monotonic()
            estimate = _simulate(given, workers, seconds)
            print(f"| {' | '.join(_cells(given, estimate))} |", flush=True)
            print(f"{time.monotonic() - began:.0f} s of real time", file=sys.stderr)
    return 0


def _simulate(given: argparse.Namespace, workers: int, seconds: float) -> Estimate:
    limits = Limits(
        burst=given.burst, split_after=given.split_after, lag=given.lag, lost=given.lost
    )
    indexes = [index.wide if given.wide else index for index in workflow_indexes()]
    to_the_end = work_to_the_end(workers, seconds, given.items, given.seed, given.lines)
    steady = steady_work(to_the_end, given.steady, given.table)
    return Estimate(simulate(steady, indexes, limits), simulate(to_the_end, indexes, limits))


def _cells(given: argparse.Namespace, estimate: Estimate) -> Iterator[str]:
    steady, end = estimate.steady, estimate.end
    work = end.work
    yield f"{work.workers:,}"
    yield f"{work.task_seconds:,g} s"
    yield f"{steady.rate:,.1f}"
    yield f"{steady.an_item(lambda mark: mark.refused):.3f}"
    yield f"{steady.an_item(throttled_requests):.2f}"
    yield _most(steady.throttled)
    yield f"{steady.an_item(lambda mark: mark.writes):.2f}"
    yield f"{steady.an_item(lambda mark: mark.reads):.2f}"
    yield f"{work.items:,}"
    yield f"{end.meter.refused.total() / work.items:.2f}"
    yield f"{end.meter.throttled.total():,}"
    yield _most(end.meter.throttled)
    yield format_duration(end.idle)
    yield format_duration(estimate.seconds(given.of))
    yield f"{estimate.throttled(given.of):,.0f}"
    yield f"{estimate.dollars(given.of, Price(given.price)):,.2f}"


def _most(throttled: Counter[str]) -> str:
    """Where most requests were throttled, each with its share."""
    if not (total := throttled.total()):
        return "nothing"
    return ", ".join(f"{name} {count / total:.0%}" for name, count in throttled.most_common(2))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
