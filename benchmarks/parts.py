"""The parts of the benchmark: each yields lines of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from anamo.core.item import nested_item
from benchmarks import meter
from benchmarks.bench import ROOT, Bench, nested, singles
from benchmarks.claiming import crowd, crowd_client
from benchmarks.measure import Contender, Result, Sample, alternate
from benchmarks.memory import have_smaps, memory
from benchmarks.peers import Peers
from tests.support import workflow
from tests.support.table import Table

XARGS, POOL, DATABASE = "xargs -P2", "Python pool", "database floor"
PYANAMO = "**PyAnamo**"
TASKS_EACH = 50
STATUS_FLAGS = (
    "",
    " --output json",
    " --by-task --output tsv",
    " --state failed",
    " --html report.html",
)
SHARES = {"done": 0.6, "failed": 0.02, "locked": 0.01}
"""Share of items in each state of the table that is queried; the rest is todo."""
IMPORTER, WORKER = str(ROOT / "import-items-generic.py"), str(ROOT / "pyanamo.py")


@dataclass
class Size:
    """How much is measured."""

    singles: int = 3_000
    nested: int = 100
    lines: int = 50_000
    small: int = 1_000
    large: int = 50_000
    crowd: int = 1_000
    rounds: int = 3
    peers: bool = True


def _floors(bench: Bench, tasks: int) -> list[Contender]:
    pool = ["-m", "benchmarks.floor", "pool", str(tasks)]
    xargs = f"seq {tasks} | xargs -P2 -n1 true"
    return [
        Contender(XARGS, tasks, lambda: bench.run("bash", "-c", xargs)),
        Contender(POOL, tasks, lambda: bench.python(*pool)),
    ]


def _database_floor(bench: Bench, tasks: int) -> Contender:
    return bench.contender(
        DATABASE,
        tasks,
        singles(tasks),
        lambda table: bench.python("-m", "benchmarks.floor", "database", table),
    )


def single_items(bench: Bench, size: Size) -> Iterator[str]:
    """(a) Single items beside floors and peers."""
    tasks = size.singles
    peers = Peers(bench)
    contenders = [
        *_floors(bench, tasks),
        _database_floor(bench, tasks),
        bench.contender(
            f"{PYANAMO} -i 2", tasks, singles(tasks), lambda table: bench.work(table, "-i", "2")
        ),
        *(peers.contenders(tasks) if size.peers else ()),
    ]
    results = alternate(contenders, size.rounds)
    yield f"### (a) {tasks:,} single tasks `true`, two at a time, start-up included\n"
    yield from _table(results.values(), results[DATABASE])
    yield from (f"\nNot measured: {line}" for line in peers.missing)


def nested_items(bench: Bench, size: Size) -> Iterator[str]:
    """(b) Nested items beside the floors."""
    tasks = size.nested * TASKS_EACH
    items = nested(size.nested, TASKS_EACH)
    contenders = [
        *_floors(bench, tasks),
        bench.contender(
            f"{PYANAMO} -i 2 -n 2",
            tasks,
            items,
            lambda table: bench.work(table, "-i", "2", "-n", "2"),
        ),
        *(Peers(bench).joblog(tasks) if size.peers else ()),
    ]
    results = alternate(contenders, size.rounds)
    yield f"### (b) {size.nested} items of {TASKS_EACH} nested tasks `true`\n"
    yield from _table(results.values(), results[POOL])


def _table(results: Iterable[Result], base: Result) -> Iterator[str]:
    yield f"| | ms per task | x {base.name} | CPU ms per task | rounds, s |"
    yield "|---|---:|---:|---:|---|"
    for result in results:
        walls = ", ".join(f"{wall:.2f}" for wall in result.walls)
        yield (
            f"| {result.name} | {result.per_task:.2f} | {result.wall / base.wall:.2f} "
            f"| {result.processor_per_task:.2f} | {walls} |"
        )


def example(bench: Bench, size: Size) -> Iterator[str]:
    """(c) The example of the README: 16 items of 3 nested tasks."""
    items = [nested_item(f"Task-{i}", [f"seq {i}", "seq 2", "seq 3"]) for i in range(1, 17)]
    contenders = [
        bench.contender("one process", 48, items, bench.work),
        bench.contender(
            "-i 2 -n 4", 48, items, lambda table: bench.work(table, "-i", "2", "-n", "4")
        ),
        bench.contender("an empty table", 1, [], bench.work),
        Contender("--help", 1, lambda: bench.python(WORKER, "--help")),
    ]
    results = alternate(contenders, max(size.rounds, 3))
    yield "### (c) The example, 16 x 3 tasks, start-up and the last look included\n"
    yield "| | s | CPU s |"
    yield "|---|---:|---:|"
    for result in results.values():
        yield f"| {result.name} | {result.wall:.2f} | {result.processor:.2f} |"


def imports(bench: Bench, size: Size) -> Iterator[str]:
    """(d) Imports beside conditional PutItem from 16 threads."""
    file = bench.folder / "import.txt"

    def write(table: str) -> str:
        lines = (f"Sample{number}|{table}|align --fast|{number}\n" for number in range(size.lines))
        file.write_text("".join(lines))
        return str(file)

    def importer(table: str) -> Sample:
        command = [IMPORTER, "-t", table, "-d", write(table), "-s", "|", "-r", "us-east-1"]
        return bench.python(*command)

    def puts(table: str) -> Sample:
        return bench.python("-m", "benchmarks.floor", "puts", table, write(table))

    def twice(table: str) -> Sample:
        importer(table)
        return importer(table)

    contenders = [
        bench.contender("PutItem with a condition, 16 threads", size.lines, [], puts),
        bench.contender(f"{PYANAMO} import", size.lines, [], importer),
        bench.contender(f"{PYANAMO} second import", size.lines, [], twice),
    ]
    results = alternate(contenders, size.rounds)
    base = results["PutItem with a condition, 16 threads"]
    yield f"### (d) Import of {size.lines:,} lines\n"
    yield "| | items per second | x | CPU ms per item | rounds, s |"
    yield "|---|---:|---:|---:|---|"
    for result in results.values():
        walls = ", ".join(f"{wall:.1f}" for wall in result.walls)
        yield (
            f"| {result.name} | {result.tasks / result.wall:,.0f} | {base.wall / result.wall:.2f} "
            f"| {result.processor_per_task:.2f} | {walls} |"
        )


def status(bench: Bench, size: Size) -> Iterator[str]:
    """(e) Asking a large table how far it is."""
    yield f"### (e) `status` over {size.large:,} items in the middle of a run\n"
    yield "| items | flags | s | CPU s | read units | rounds, s |"
    yield "|---|---|---:|---:|---:|---|"
    for tasks in (0, 3):
        with bench.table() as name:
            items = workflow.run_of(size.large, tasks, SHARES)
            workflow.put_all(bench.client, Table(name, bench.client), items)
            kind = f"{tasks} nested tasks" if tasks else "single"
            for line in _status_of(bench, size, name):
                yield f"| {kind} | {line}"


def _status_of(bench: Bench, size: Size, table: str) -> Iterator[str]:
    units: dict[str, str] = {}

    def ask(flags: str) -> Sample:
        sample = bench.python(
            WORKER, "status", "-v", "-t", table, "-r", "us-east-1", *flags.split()
        )
        found = re.search(r"([0-9,.]+) read units", sample.output)
        units[flags] = found[1] if found else ""
        return sample

    for result in alternate(
        [Contender(flags, size.large, partial(ask, flags)) for flags in STATUS_FLAGS], size.rounds
    ).values():
        walls = ", ".join(f"{wall:.1f}" for wall in result.walls)
        yield (
            f"`status{result.name}` | {result.wall:.2f} | {result.processor:.2f} "
            f"| {units[result.name]} | {walls} |"
        )


def memory_by_processes(bench: Bench, size: Size) -> Iterator[str]:
    """(f) Memory of 1, 4 and 16 processes."""
    yield "### (f) Memory in mid-run, proportional set size, all processes of the worker\n"
    if not have_smaps():
        yield "Not measured: this system has no /proc/PID/smaps_rollup"
        return
    counts = (1, 4, 16)
    taken = {
        count: sorted(memory(bench, count) for _ in range(size.rounds))[size.rounds // 2]
        for count in counts
    }
    yield "| -i | MB | MB for each further process |"
    yield "|---:|---:|---:|"
    for count in counts:
        more = f"{(taken[count] - taken[1]) / (count - 1):.1f}" if count > 1 else ""
        yield f"| {count} | {taken[count]:.1f} | {more} |"


def claims(bench: Bench, size: Size) -> Iterator[str]:
    """(g) What finding and claiming takes, by workers and by size of the table."""
    client = crowd_client(bench.environment["AWS_ENDPOINT_URL_DYNAMODB"], 16)
    yield "### (g) Reads and conflicts per claim\n"
    yield "| workers | items | claims | reads per claim | lost claims | claims per second |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for workers in (1, 4, 16):
        for items in (size.small, size.large):
            for most in (size.small // 2, size.small):
                with bench.table(singles(items)) as table:
                    done = crowd(client, table, workers, most)
                yield (
                    f"| {workers} | {items:,} | {done.claimed:,} | {done.reads_per_claim:.3f} "
                    f"| {done.conflict_share:.1%} | {done.claimed / done.seconds:,.0f} |"
                )


def requests(bench: Bench, size: Size) -> Iterator[str]:
    """(h) Requests and units, counted between the worker and both servers."""
    count = size.small
    many = f"item of {TASKS_EACH} nested tasks"
    one, two = ("-i", "2"), ("-i", "2", "-n", "2")
    cases = [
        ("single item", singles(count), one),
        ("item of 3 nested tasks", nested(count // 4, 3), one),
        (many, nested(20, TASKS_EACH), two),
        (f"{many} of 0.2 s", nested(4, TASKS_EACH, "sleep 0.2"), two),
        (f"{many} of 1 s", nested(2, TASKS_EACH, "sleep 1"), two),
    ]
    yield "### (h) Requests and units for each item\n"
    yield from meter.HEAD
    for name, items, flags in cases:
        yield meter.row(bench, name, items, flags)


def load(bench: Bench, size: Size) -> Iterator[str]:
    """The load test: a thousand workers on one table."""
    workers, items = size.crowd, 20 * size.crowd
    client = crowd_client(bench.environment["AWS_ENDPOINT_URL_DYNAMODB"], workers)
    with bench.table(singles(items)) as table:
        done = crowd(client, table, workers, items)
    fewest, middle, most = done.shares()
    yield f"### {workers:,} workers claim {items:,} items of one table\n"
    yield "| claims per second | lost claims | reads per claim | claims a worker | slowest claim |"
    yield "|---:|---:|---:|---|---:|"
    yield (
        f"| {done.claimed / done.seconds:,.0f} | {done.conflict_share:.1%} "
        f"| {done.reads_per_claim:.3f} | {fewest} to {most}, median {middle:.0f} "
        f"| {done.slowest:.1f} s |"
    )
    once = len({item for each in done.claims for item in each}) == done.claimed == items
    yield f"\nEvery item claimed once: {'yes' if once else '**no**'}"
