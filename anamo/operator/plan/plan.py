"""The command: reads what is to be done from a table, or takes it from the command line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anamo.aws import session
from anamo.aws.pages import Part
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_admin import workflow_indexes
from anamo.aws.table_reads import Projection
from anamo.core.capacity import Index
from anamo.core.errors import AccessDenied, AwsError, TableMissing, UsageError
from anamo.core.item import Item, NestedTask, State, nested_item, new_values, single_item
from anamo.core.item_size import ITEM_LIMIT, SMALLEST_TAIL, fitting_tasks, size_of, tail_limit
from anamo.core.text import count, printable
from anamo.operator.counts import count_table
from anamo.operator.plan.forecast import Plan, forecast
from anamo.operator.plan.lines import Basis, plan_lines
from anamo.operator.plan.price import Price

SAMPLE = 25
"""Items in a state that are read of a table; all are taken to be like the one of median size."""

TASK_ID = "Sample000001"

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
    """Print what the table takes.

    Raises:
        AwsError: The table cannot be read.
        UsageError: An item of so many nested tasks is too large for DynamoDB.
    """
    if request.items is None:
        try:
            plan, indexes, basis = _from_table(request, OperatorRetry(say))
        except TableMissing as missing:
            # Advice of its own: who plans may not have a table yet
            raise AwsError(
                f"{missing}: check -t and -r, or plan without a table with --items N"
            ) from missing
    else:
        plan, indexes, basis = _from_command_line(request, request.items)
    if plan.items == 0:
        print(f"{printable(request.table)}: nothing left to do")
        return
    found = forecast(plan, indexes, Price(request.price))
    print(*plan_lines(request.table, plan, found, basis), sep="\n")


def _from_command_line(request: PlanRequest, items: int) -> tuple[Plan, Sequence[Index], Basis]:
    typical = _usual_item(request.nested)
    if request.nested > 1:
        _check_size(typical, request)
    indexes = workflow_indexes()
    if request.wide:
        indexes = [index.wide for index in indexes]
    said = f"{'wide' if request.wide else 'narrow'} indexes"
    return _plan(request, items, typical), indexes, Basis("", said)


def _usual_item(tasks: int) -> Item:
    """An item with command lines of usual length, of no more nested tasks than could ever fit."""
    if tasks == 1:
        return single_item(TASK_ID, SCRIPT.format(1, 1))
    numbers = range(min(tasks, ITEM_LIMIT // len(SCRIPT)))
    return nested_item(TASK_ID, [SCRIPT.format(number, number) for number in numbers])


def _check_size(item: Item, request: PlanRequest) -> None:
    """Refuse what the importer refuses."""
    if tail_limit(item, request.table) < SMALLEST_TAIL:
        fit = fitting_tasks(item, request.table)
        raise UsageError(
            f"{request.nested:,} nested tasks with their logs do not fit in DynamoDB's 400 KB: the "
            f"importer would refuse them; {count(fit, 'task')} fit, if their commands have "
            f"{len(item.scripts[0])} characters"
        )


def _from_table(request: PlanRequest, retry: OperatorRetry) -> tuple[Plan, Sequence[Index], Basis]:
    client = session.dynamodb_client(request.region)
    retry.where = session.where(client)
    table = WorkflowTable(client, request.table)
    indexes, said = _indexes(table, retry)
    counts = count_table(table, retry)
    left = counts.left + counts.items[State.HELD]
    seen = _sample(table, retry) if left else []
    seen.sort(key=lambda item: size_of(new_values(item)))
    typical = seen[len(seen) // 2] if seen else _usual_item(1)
    basis = Basis(_likeness(len(seen)), said, counts.items[State.HELD])
    return _plan(request, left, typical), indexes, basis


def _likeness(read: int) -> str:
    """What all items are taken to be like, where so many were read."""
    if not read:
        return "no item could be read: every item is taken to be a usual single one"
    which = "the one" if read == 1 else f"the median of the {read:,}"
    return f"every item is taken to be like {which} that {'was' if read == 1 else 'were'} read"


def _sample(table: WorkflowTable, retry: OperatorRetry) -> list[Item]:
    """Some items that are not done, as if they were new."""
    return [
        item
        for state in (State.TODO, State.LOCKED, State.HELD)
        for item in _sample_of(table, Part(state.value), retry)
    ]


def _sample_of(table: WorkflowTable, part: Part, retry: OperatorRetry) -> list[Item]:
    page = retry(lambda: table.page(part, Projection.STEP, SAMPLE))
    ids = [record.item.item_id for record in page.records]
    records = table.read(ids, Projection.WHOLE, consistent=False, retry=retry)
    return [_as_new(record.item) for record in records]


def _as_new(item: Item) -> Item:
    """The item as it was imported."""
    nested = tuple(NestedTask(task.name, task.script) for task in item.nested)
    return Item(item.item_id, item.task_id, item.script, nested)


def _indexes(table: WorkflowTable, retry: OperatorRetry) -> tuple[Sequence[Index], str]:
    """The workflow's indexes of a table, as the table has them if it may be asked; and what is
    assumed of them.
    """
    known = workflow_indexes()
    try:
        there = {index.name: index for index in retry(table.indexes)}
    except AccessDenied:
        return known, "narrow indexes, since dynamodb:DescribeTable is denied"
    found = [there.pop(index.name, index) for index in known]
    without = f", without {', '.join(sorted(there))}" if there else ""
    return found, f"indexes as the table has them{without}"


def _plan(request: PlanRequest, items: int, typical: Item) -> Plan:
    return Plan(
        items=items,
        typical=typical,
        workers=request.workers,
        task_seconds=request.task_seconds,
        at_once=request.at_once,
        imported=request.items is None,
    )
