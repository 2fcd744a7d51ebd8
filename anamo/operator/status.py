"""`pyanamo.py status`: the progress of the workflow, in one of several forms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from anamo.aws import session
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.item import State
from anamo.operator import listing, output, steps, summary
from anamo.operator.check import Gate, Verdict
from anamo.operator.counts import TableCounts, count_table
from anamo.operator.failures import Failures
from anamo.operator.hints import Hints
from anamo.operator.selection import check_state, items_in_state
from anamo.operator.summary import StepSummary
from anamo.operator.watch import watch_counts


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Which tables to show, and how.

    Attributes:
        tables: Names of the tables, in the order of the workflow's steps.
        region: The AWS region; None for the configured one.
        form: `table`, `json` or `tsv`.
        program: How the operator starts the program; suggested command lines begin with it.
    """

    tables: Sequence[str]
    region: str | None
    form: str
    program: str = "python pyanamo.py"


class Status:
    """Shows tables on stdout. Every method raises UsageError or AwsError."""

    def __init__(self, request: StatusRequest, say: Callable[[str], object]) -> None:
        client = session.dynamodb_client(request.region)
        self._form = request.form
        self._say = say
        self._tables = [WorkflowTable(client, name) for name in request.tables]
        self._retry = OperatorRetry(say)
        self._retry.where = session.where(client)
        self._hints = Hints(request.program, request.region)

    def summary(self) -> None:
        """A line for each step; in the form `table`, also why tasks failed."""
        if self._form == "table":
            summary.print_steps([self._step(table) for table in self._tables], self._hints)
        elif self._form == "json":
            output.print_json([summary.counts_object(each) for each in self._counts()])
        else:
            rows = [summary.counts_row(each) for each in self._counts()]
            output.print_tsv([*rows[0]], [[*row.values()] for row in rows])

    def _step(self, table: WorkflowTable) -> StepSummary:
        failures = Failures()
        return StepSummary(count_table(table, self._retry, failures.add), failures)

    def _counts(self) -> list[TableCounts]:
        return [count_table(table, self._retry) for table in self._tables]

    def by_task(self) -> None:
        """A line for each task id, a column for each step."""
        matrix = steps.read_matrix(self._tables, self._retry)
        steps.print_matrix(matrix, [table.name for table in self._tables], self._form)

    def items(self, state: str) -> None:
        """The items in a state; in the form `table`, also why tasks failed."""
        for table in self._tables:
            check_state(table, state, self._retry)
        items: list[dict[str, Any]] = []
        failures = {table.name: Failures() for table in self._tables}
        for table in self._tables:
            for record in items_in_state(table, state, Projection.WHOLE, self._retry):
                items.append(listing.item_object(table.name, record))
                failures[table.name].add(record)
        listing.print_items(items, self._form)
        if self._form == "table" and state == State.FAILED:
            for name, found in failures.items():
                summary.print_failures(found, name, self._hints)

    def check(self, patience: float | None) -> Verdict:
        """Print a line for each step and say whether all are done; with `patience`, in seconds,
        wait until they are or nobody has worked on them for that long.
        """
        gate = Gate(self._tables, self._retry, self._say)
        return gate.check() if patience is None else gate.wait(patience)

    def report(self, path: str, seconds: float | None) -> None:
        """Write the HTML report about all steps to a file; with `seconds`, write it anew so often
        until no item is todo or locked.
        """
        # Imported here: the other forms do not need the template library
        from anamo.operator.html import report_file

        write = partial(report_file.write_report, path, self._tables, self._hints, self._retry)
        if seconds is not None:
            report_file.watch_report(write, seconds, self._say)
        else:
            self._say(str(write()))

    def watch(self, seconds: float) -> None:
        """Show the steps every `seconds`, in place, until no item is todo or locked."""
        watch_counts(self._counts, seconds)
