"""What `plan` prints. Guaranteed: no line is longer than WIDTH columns."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from anamo.core.capacity import PARTITION_WRITES
from anamo.core.pacing import BRIEF_SECONDS, LINGER_SECONDS
from anamo.core.text import count, format_duration, printable
from anamo.operator.plan.forecast import (
    DOUBLING_SECONDS,
    FIRST_WRITES,
    OVERHEAD_SECONDS,
    PROCESSES,
    Forecast,
    Limit,
    Plan,
)
from anamo.operator.plan.item_life import TABLE
from anamo.operator.plan.price import PUT_PRICE, READ_SHARE

WIDTH = 60

LARGEST = 10**15
"""From here on, numbers are written with a power of ten."""

FEW_HOURS = 10
"""Below, worker hours have a decimal."""

INDENT = " " * 10

PERIODS = (("a second", 1), ("a minute", 60), ("an hour", 3_600), ("a day", 86_400))


@dataclass(frozen=True, slots=True)
class Basis:
    """What a plan rests on, in words.

    Attributes:
        typical: Which item all are taken to be like; empty where the command line says what it is.
        indexes: What is assumed of the indexes.
        held: How many of the items are held.
    """

    typical: str
    indexes: str
    held: int = 0


def plan_lines(table: str, plan: Plan, found: Forecast, basis: Basis) -> Iterator[str]:
    """The lines of a plan."""
    yield from _title(table, plan)
    yield ""
    yield from _speed(plan, found)
    yield from _workers(plan, found)
    if not plan.imported:
        yield from _import(found)
    yield ""
    yield from _bill(plan, found)
    yield ""
    yield "Assumed:"
    for text in _assumptions(plan, found, basis):
        yield from textwrap.wrap(text, WIDTH, initial_indent="- ", subsequent_indent="  ")


def _title(table: str, plan: Plan) -> Iterator[str]:
    """The table's name, cut if it is too long, and what is to be done."""
    each = f"{count(plan.typical.tasks, 'task')}{'' if plan.items == 1 else ' each'}"
    what = f"{count(plan.items, 'item')} to {'do' if plan.imported else 'import'}, {each}"
    name = printable(table)
    if len(name) + len(what) + 2 <= WIDTH:
        yield f"{name}: {what}"
    else:
        yield f"{name}:" if len(name) < WIDTH else f"{name[: WIDTH - 2]}…:"
        yield what


def _speed(plan: Plan, found: Forecast) -> Iterator[str]:
    lowest, beyond = found.limits[0], found.beyond
    yield f"takes     {_duration(found.seconds)}"
    yield f"{INDENT}{count(plan.workers, 'worker')}, {_plain(plan.task_seconds)} s a task"
    yield f"rate      {_rate(found.rate)}"
    yield f"ceiling   {_rate(lowest.rate)} in one table,"
    yield from _limited_by(lowest)
    if lowest.splits:
        yield f"{INDENT}{_rate(beyond.rate)} if DynamoDB splits it,"
        yield from _limited_by(beyond)


def _limited_by(limit: Limit) -> list[str]:
    index, state = limit.place
    what = f"the partition of {state} items in {index}"
    if limit.place == TABLE:
        what = f"a new table's {FIRST_WRITES:,} write units a second, which double every half hour"
    text = f"limited by {what}"
    return textwrap.wrap(text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)


def _workers(plan: Plan, found: Forecast) -> Iterator[str]:
    """How many help: no more than items, and no more than reach the ceiling."""
    helpful = min(found.helpful, plan.items)
    said = "1 helps" if helpful == 1 else f"up to {helpful:,} help"
    idle = plan.workers - helpful
    yield f"workers   {said}{f'; {idle:,} would idle' if idle > 0 else ''}"
    wanted = min(plan.workers, plan.items)
    if wanted > found.helpful:
        if found.limits[0].place == TABLE:
            yield f"{INDENT}until the table has grown;"
        tables = -(-wanted // found.helpful)
        all_of_them = "all of them" if wanted == plan.workers else f"{wanted:,} of them"
        yield f"{INDENT}{tables:,} tables would keep {all_of_them} busy"


def _import(found: Forecast) -> Iterator[str]:
    seconds = found.import_seconds
    yield f"import    {f'at least {_duration(seconds)}' if seconds >= 1 else 'less than a second'},"
    yield f"{INDENT}{_rate(found.import_limit.rate)} at most"


def _bill(plan: Plan, found: Forecast) -> Iterator[str]:
    """What is billed, in columns."""
    price = found.price
    hours = min(plan.workers, plan.items) * found.seconds / 3600
    rows = [
        ("write units", _large(found.write_units), price.of(found.write_units, 0, 0)),
        ("read units", _large(found.read_units), price.of(0, found.read_units, 0)),
        ("log objects", _large(found.puts), price.of(0, 0, found.puts)),
        ("total", "", found.dollars),
    ]
    worked = _figure(hours, 1 if hours < FEW_HOURS else 0)
    width = max(17, *(len(number) for _, number, _ in rows), len(worked))
    dollars_width = max(14, 2 + max(len(_figure(dollars, 2)) for *_, dollars in rows))
    for name, number, dollars in rows:
        yield f"{name:<13}{number:>{width}}{_figure(dollars, 2):>{dollars_width}} USD"
    yield f"{'worker hours':<13}{worked:>{width}}   at your machines' price"


def _assumptions(plan: Plan, found: Forecast, basis: Basis) -> Iterator[str]:
    life, price = found.life, found.price.writes
    writes = [*life.running, *([] if plan.imported else [life.imported])]
    yield (
        f"{sum(write.total for write in writes):,} write units an item of {life.bytes / 1024:.1f} "
        f"KB at its end, in {len(writes)} writes; a renewal takes {life.renewed.total:,}, three a "
        f"lease of {plan.lease} s"
    )
    if basis.typical:
        yield basis.typical
    scripts = plan.typical.scripts
    yield f"a command line has {round(sum(map(len, scripts)) / len(scripts)):,} characters"
    if plan.imported:
        yield "items that are locked begin anew"
    if basis.held:
        are = "item is held, and is" if basis.held == 1 else "items are held, and are"
        yield f"{basis.held:,} {are} counted as if resumed now"
    yield from _recording(plan, found)
    yield "all tasks succeed and print little; run times differ around the one given"
    yield f"{OVERHEAD_SECONDS:g} s an item beside its tasks"
    yield (
        "no claim is lost to another worker; a query of candidates serves "
        f"{count(round(found.claims_a_page), 'claim')}"
    )
    yield (
        f"{PROCESSES} workers a machine (-i {PROCESSES}), one of which reads up to 4 MB of the "
        "table at its end; machines that get no item are left out"
    )
    yield (
        f"a partition takes {PARTITION_WRITES:,} write units a second; items in one state are one "
        "partition of each index, which is not split; no units were saved before"
    )
    yield (
        f"the table is new and takes {FIRST_WRITES:,} write units a second, twice that after each "
        f"{DOUBLING_SECONDS / 60:.0f} min that need more"
    )
    yield basis.indexes
    yield (
        f"{_plain(price)} USD a million write units on demand, {_plain(price * READ_SHARE)} a "
        f"million read units, {_plain(PUT_PRICE)} a million objects (us-east-1, since November "
        "2024: --price)"
    )
    if not plan.imported:
        yield "units of indexes are not doubled by transactions"


def _recording(plan: Plan, found: Forecast) -> Iterator[str]:
    """How results are written."""
    if not plan.typical.is_nested:
        yield "a log object an item"
        return
    at_once = min(plan.at_once, plan.typical.tasks)
    yield f"{at_once:,} of an item's nested tasks at once (-n)"
    if found.group > 1:
        yield f"{found.group} results, which end together, share a write and a log object"
    elif plan.task_seconds >= BRIEF_SECONDS:
        yield (
            "a write and a log object for each result: tasks this long seldom end within "
            f"{LINGER_SECONDS:g} s of each other"
        )
    else:
        yield "a write and a log object for each result"


def _rate(rate: float) -> str:
    """Items a second, minute, hour or day: the first of them that gives at least one."""
    for period, seconds in PERIODS:
        items = rate * seconds
        if items >= 1:
            return f"{items:,.{0 if items >= 10 else 1}f} items {period}"
    return "less than one item a day"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return format_duration(seconds)


def _figure(number: float, digits: int) -> str:
    """A number that is 0 only if nothing is there."""
    least = 10.0**-digits
    return f"less than {least:g}" if 0 < number < least else _large(number, digits)


def _large(number: float, digits: int = 0) -> str:
    """A number in at most 19 columns, and its decimals."""
    return f"{number:,.{digits}f}" if number < LARGEST - 1 else f"{number:.2e}".replace("e+", "e")


def _plain(number: float) -> str:
    """A number without a power of ten."""
    return f"{number:,.6f}".rstrip("0").rstrip(".")
