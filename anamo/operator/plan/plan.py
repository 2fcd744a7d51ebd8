"""The command: reads what is to be done from a table, or takes it from the command line."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from anamo.aws import session
from anamo.aws.indexes import workflow_indexes
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.capacity import Index
from anamo.core.codec import SMALLEST_ID
from anamo.core.errors import AccessDenied
from anamo.core.item import Item, nested_item, new_values, single_item
from anamo.core.item_size import size_of
from anamo.core.text import count, format_duration, printable
from anamo.operator.counts import count_table
from anamo.operator.plan.forecast import FIRST_WRITES, OVERHEAD_SECONDS, Forecast, Plan, forecast
from anamo.operator.plan.item_life import TABLE
from anamo.operator.plan.price import PUT_PRICE, READ_SHARE, Price

SAMPLE = 25
"""Todo items that are read of a table; the one of median size stands for all."""

SCRIPT = "align --threads 2 --reference genome.fa reads_{:03}.fq.gz --output sorted_{:03}.bam"
"""A command line of usual length."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The command line.

    Attributes:
        table: The table; it is asked unless the number of items is given.
        region: The AWS region; None for the configured one.
        workers: Worker processes, all together.
        task_seconds: Run time of one task.
        items: Items to be imported; None for those that the table holds and that are not done.
        nested: Nested tasks of each of these items; 1 for single items.
        at_once: Nested tasks of an item that run at once.
        price: USD for a million write units.
        wide: Whether the table's indexes hold whole items, where it is not asked.
    """

    table: str
    region: str | None
    workers: int
    task_seconds: float
    items: int | None
    nested: int
    at_once: int
    price: float
    wide: bool


def print_plan(request: PlanRequest, say: Callable[[str], object]) -> None:
    """Print what the table takes. Raises AwsError."""
    if request.items is None:
        plan, indexes = _from_table(request, OperatorRetry(say), say)
    else:
        plan, indexes = _from_command_line(request, request.items)
    if plan.items == 0:
        print(f"{printable(request.table)}: nothing left to do")
        return
    found = forecast(plan, indexes, Price(request.price))
    for line in (
        *_head(request, plan, found),
        "",
        *_bill(plan, found),
        "",
        *_assumptions(request, plan, found),
    ):
        print(line)


def _from_command_line(request: PlanRequest, items: int) -> tuple[Plan, Sequence[Index]]:
    if request.nested == 1:
        typical = single_item("Sample000001", SCRIPT.format(1, 1))
    else:
        scripts = [SCRIPT.format(number, number) for number in range(request.nested)]
        typical = nested_item("Sample000001", scripts)
    indexes = workflow_indexes()
    if request.wide:
        indexes = [index.wide for index in indexes]
    return _plan(request, items, typical), indexes


def _from_table(
    request: PlanRequest, retry: OperatorRetry, say: Callable[[str], object]
) -> tuple[Plan, Sequence[Index]]:
    client = session.dynamodb_client(request.region)
    retry.where = session.where(client)
    table = WorkflowTable(client, request.table)
    indexes = _indexes(table, retry, say)
    left = count_table(table, retry).left
    ids = [item.item_id for item in retry(lambda: table.todo(SMALLEST_ID, SAMPLE))]
    seen = [record.item for record in retry(lambda: table.read(ids, Projection.WHOLE))]
    seen.sort(key=lambda item: size_of(new_values(item)))
    typical = seen[len(seen) // 2] if seen else single_item("Sample000001", SCRIPT.format(1, 1))
    return _plan(request, left, typical), indexes


def _indexes(
    table: WorkflowTable, retry: OperatorRetry, say: Callable[[str], object]
) -> Sequence[Index]:
    """The workflow's indexes of a table, as the table has them if it may be asked."""
    known = workflow_indexes()
    try:
        there = {index.name: index for index in retry(table.indexes)}
    except AccessDenied:
        # Operators of earlier versions were not given dynamodb:DescribeTable
        say(f"table {table.name}: its indexes cannot be asked for, and are taken for narrow ones")
        return known
    return [there.get(index.name, index) for index in known]


def _plan(request: PlanRequest, items: int, typical: Item) -> Plan:
    return Plan(
        items=items,
        typical=typical,
        workers=request.workers,
        task_seconds=request.task_seconds,
        at_once=request.at_once,
        imported=request.items is None,
    )


def _head(request: PlanRequest, plan: Plan, found: Forecast) -> Iterator[str]:
    """Time, rate and ceiling; no line is longer than 60 columns but for the table's name."""
    tasks = plan.typical.tasks
    each = f"{count(tasks, 'task')}{'' if plan.items == 1 else ' each'}"
    what = "to do" if plan.imported else "to import"
    lowest = found.limits[0]
    yield f"{printable(request.table)}: {count(plan.items, 'item')} {what}, {each}"
    yield ""
    yield f"takes     {format_duration(found.seconds)}"
    yield f"          {count(plan.workers, 'worker')}, {plan.task_seconds:,g} s a task"
    yield f"rate      {_number(found.rate)} items a second"
    yield f"ceiling   {_number(lowest.rate)} items a second in one table:"
    yield f"          {_place(lowest.place)}"
    if lowest.splits:
        rest = next((limit for limit in found.limits if not limit.splits), None)
        beyond = f"{_number(rest.rate)} items a second" if rest else "no certain rate"
        yield f"          up to {beyond}, if DynamoDB splits it"
    if plan.items <= found.helpful:
        yield f"workers   up to {plan.items:,} help, one for each item"
    elif plan.workers > found.helpful:
        yield f"workers   {found.helpful:,} help, {plan.workers - found.helpful:,} wait;"
        tables = math.ceil(plan.workers / found.helpful)
        yield f"          {tables} tables would keep all of them busy"
    else:
        yield f"workers   up to {found.helpful:,} help"
    if not plan.imported:
        limit = found.import_limit
        yield f"import    {format_duration(plan.items / limit.rate)} at least,"
        yield f"          {_number(limit.rate)} items a second at most"


def _place(place: tuple[str, str]) -> str:
    return f"what a new table takes ({FIRST_WRITES:,} units)" if place == TABLE else " ".join(place)


def _bill(plan: Plan, found: Forecast) -> Iterator[str]:
    price = found.price
    rows = (
        ("write units", found.write_units, price.of(found.write_units, 0, 0)),
        ("read units", found.read_units, price.of(0, found.read_units, 0)),
        ("log objects", found.puts, price.of(0, 0, found.puts)),
    )
    for name, number, dollars in rows:
        yield f"{name:<13}{number:>17,.0f}{dollars:>14,.2f} USD"
    yield f"{'together':<30}{found.dollars:>14,.2f} USD"
    hours = min(plan.workers, plan.items) * found.seconds / 3600
    yield f"{'worker hours':<13}{hours:>17,.0f}   at your machines' price"


def _assumptions(request: PlanRequest, plan: Plan, found: Forecast) -> Iterator[str]:
    writes = [*found.life.running, *([] if plan.imported else [found.life.imported])]
    each = sum(write.total for write in writes)
    yield "Assumed:"
    yield f"- {each:,} write units an item of {found.life.bytes / 1024:.1f} KB at its end,"
    yield f"  in {len(writes)} writes; a renewal takes {found.life.renewed.total}, three a lease of"
    yield f"  {plan.lease} s"
    if plan.typical.is_nested:
        yield f"- {plan.at_once} of an item's nested tasks at once (-n)"
    yield "- all tasks succeed, print little, and take as long"
    yield f"- {OVERHEAD_SECONDS:g} s an item beside its tasks"
    yield "- a partition takes 1,000 write units a second; items"
    yield "  in one state are one partition of each index"
    yield f"- {request.price:g} USD a million write units on demand,"
    yield f"  {request.price * READ_SHARE:g} a million read units, {PUT_PRICE:g} a million"
    yield "  objects (us-east-1, since November 2024: --price)"
    if not plan.imported:
        yield "- units of indexes are not doubled by transactions"


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
