"""Measures, and prints a report in Markdown on stdout; progress is on stderr."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import parts
from benchmarks.bench import ROOT, Bench, bench
from benchmarks.parts import Size
from benchmarks.servers import Missing

PARTS: dict[str, Callable[..., Iterator[str]]] = {
    "a": parts.single_items,
    "b": parts.nested_items,
    "c": parts.example,
    "d": parts.imports,
    "e": parts.status,
    "f": parts.memory_by_processes,
    "g": parts.claims,
    "h": parts.requests,
    "load": parts.load,
}

QUICK = Size(singles=300, nested=20, lines=5_000, small=300, large=5_000, crowd=200, rounds=1)


def main() -> int:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.sh", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="parts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="of which the median is taken; at least 3")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, one round")
    parser.add_argument("--no-peers", action="store_true", help="floors and PyAnamo only")
    parser.add_argument("--wide", action="store_true", help="all again on wide indexes")
    given = parser.parse_args()
    # As an exception, so that what was started is ended, and the folder removed
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    size = QUICK if given.quick else Size()
    size.rounds = given.rounds or size.rounds
    size.peers = not given.no_peers
    with tempfile.TemporaryDirectory(prefix="anamo-bench-") as folder:
        try:
            with bench(ROOT / ".bench", Path(folder)) as rig:
                print(_machine(size), flush=True)
                _report(rig, given.only.split(","), size)
                if given.wide:
                    print("## On indexes that hold whole items\n", flush=True)
                    # Peers and floors that need no table are not measured twice
                    _report(
                        replace(rig, wide=True), given.only.split(","), replace(size, peers=False)
                    )
        except Missing as missing:
            print(f"benchmarks/run.sh: {missing}", file=sys.stderr)
            return 1
    return 0


def _report(rig: Bench, names: Sequence[str], size: Size) -> None:
    for name in names:
        print(f"part {name}", file=sys.stderr)
        for line in PARTS[name](rig, size):
            print(line, flush=True)
        print(flush=True)


def _machine(size: Size) -> str:
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}, load {load:.1f} at the beginning; medians of {size.rounds} "
        "rounds, alternating; x is a ratio\n"
    )


if __name__ == "__main__":
    sys.exit(main())
