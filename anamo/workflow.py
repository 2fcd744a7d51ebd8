"""PyAnamo in a notebook or in another tool's script: what the commands do, as methods.

    from anamo.workflow import Workflow

    workflow = Workflow("Align", "Call", region="us-east-1")
    workflow.import_tasks("tasks.txt", separator="|", nested=",")
    workflow.counts()["Align"].items["done"]
    [task.taskID for task in workflow.tasks(state="failed")]
    workflow.requeue(state="failed")

Guaranteed: nothing is printed and nothing is asked; messages go to the logger `anamo`. Errors are
subclasses of `AnamoError`; after a UsageError, nothing was changed. Not guaranteed: that threads
may share a Workflow, or that it outlives a fork.

May import: importer, operator, aws and core.
"""

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from anamo.aws.retry import OperatorRetry
from anamo.core.errors import AnamoError, AwsError, UsageError
from anamo.core.item import State
from anamo.core.log_entry import LogEntry
from anamo.core.record import Record
from anamo.core.task import Task
from anamo.importer import task_file
from anamo.importer.importer import ImportOptions, ImportTotals, import_all
from anamo.operator import tasks
from anamo.operator.change import Action, Change, ChangeRequest
from anamo.operator.counts import TableCounts, count_table
from anamo.operator.nested_choice import FAILED_ONES, NestedChoice
from anamo.operator.target import Target, Words, find_target

__all__ = [
    "AnamoError",
    "AwsError",
    "ImportTotals",
    "LogEntry",
    "Record",
    "Requeued",
    "TableCounts",
    "Task",
    "UsageError",
    "Workflow",
]

logger = logging.getLogger(__name__)

# Without it, Python prints warnings where nobody has asked for them
logging.getLogger("anamo").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Requeued:
    """What became of a requeue.

    Attributes:
        items: How many items are todo again, by table.
        left: What was left as it is, and why: a message for each of the first 20 items, how many
            more there are, and which names a table lacks.
    """

    items: Mapping[str, int]
    left: tuple[str, ...]


class Workflow:
    """The tables of a workflow, in the order of its steps.

    Args:
        tables: Their names.
        region: The AWS region; None for the configured one.

    Every method sends requests, and raises AwsError where AWS refuses or cannot be reached.
    """

    def __init__(self, *tables: str, region: str | None = None) -> None:
        self.tables = tables
        self._region = region
        self._retry = OperatorRetry(logger.info)

    @cached_property
    def _found(self) -> Target:
        """The tables, once all of them have been found to exist."""
        words = Words([[name] for name in self.tables], [], self._region)
        found = find_target(words, self._retry, samples=False)
        found.check()
        return found

    def _target(self, names: tuple[str | int, ...]) -> Target:
        # An itemID may be given as the number that a task has
        return Target(self._found.tables, [*dict.fromkeys(map(str, names))], {}, {})

    # Import

    def import_tasks(
        self,
        source: str | Path | Iterable[str],
        separator: str,
        nested: str | None = None,
        *,
        create: bool = False,
        hold: bool = False,
        replace: bool = False,
    ) -> dict[str, ImportTotals]:
        """Import a task file, as `import-items-generic.py` does.

        Args:
            source: The file's path; or its lines, such as "Sample7|Align|bash align.sh|S7.fq".
            separator: Separator of fields.
            nested: Separator of nested arguments; None where each line is one task.
            create: Make tables that are missing.
            hold: Add items as held.
            replace: Remove items that have the task id of a line and another command.

        Returns:
            What became of the items of each table.

        Raises:
            UsageError: The file cannot be read, or is standard input; or a line is bad. Nothing
                was written.
        """
        if not separator or nested == "":
            raise UsageError("a separator is empty")
        layout = task_file.Layout(separator, nested)
        if isinstance(source, (str, Path)):
            if str(source) == "-":
                # In a notebook it would wait for ever
                raise UsageError("standard input is not read here: give a file's path, or lines")
            found = task_file.read(str(source), layout, self.tables)
        else:
            text = "".join(line.removesuffix("\n") + "\n" for line in source)
            lines = io.BytesIO(text.encode("utf-8", "surrogatepass"))
            found = task_file.parse("line", lines, layout, self.tables)
        for warning in found.warnings:
            logger.warning("%s", warning)
        state = State.HELD if hold else State.TODO
        options = ImportOptions(self._region, create, replace, state)
        return dict(import_all(found, options, logger.info, _no_progress_bar))

    # Reading

    def counts(self) -> dict[str, TableCounts]:
        """How many items and tasks of each table are in each state."""
        return {
            table.name: count_table(table, self._retry, pace=True) for table in self._found.tables
        }

    def records(self, *names: str | int, state: str | None = None) -> Iterator[tuple[str, Record]]:
        """The items, each with the name of its table; in no particular order within a table.

        Args:
            names: Task ids or itemIDs; none for all items.
            state: Items in this state only.

        Raises:
            UsageError: A name or the state is unknown.
        """
        return tasks.records(self._target(names), state, self._retry, logger.info)

    def tasks(self, *names: str | int, state: str | None = None) -> Iterator[Task]:
        """The tasks of these items, ready for `pandas.DataFrame`; as `records`."""
        return tasks.tasks(self._target(names), state, self._retry, logger.info)

    # Changes

    def requeue(
        self,
        *names: str | int,
        state: str | None = None,
        nested: str = FAILED_ONES,
        force: bool = False,
    ) -> Requeued:
        """Requeue items.

        Args:
            names: Task ids or itemIDs; none for all items in `state`.
            state: Items in this state only; None, which needs names, for any.
            nested: Which nested tasks run again: "failed", "all", or one by name or argument.
            force: Also items that workers hold; those stop their tasks and write nothing more.

        Raises:
            UsageError: A name or the state is unknown, or there is neither; nothing was changed.
        """
        left: list[str] = []
        request = ChangeRequest(
            Action.REQUEUE, state, NestedChoice(nested), force=force, confirmed=True
        )
        target = self._target(names)
        result = Change(request, target, self._retry, left.append, _no_progress_bar).run()
        return Requeued(result.changed, tuple(left))


def _no_progress_bar(*_: object) -> AbstractContextManager[Callable[[int], object]]:
    """Stands in for a progress bar, which would print."""
    return nullcontext(lambda items: None)
