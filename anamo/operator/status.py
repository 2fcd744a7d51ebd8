"""`pyanamo.py status`: how far the workflow is, in one of its forms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anamo.aws import session
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.item import State
from anamo.operator import counts, listing, output, selection, steps, summary, watch
from anamo.operator.failures import Failures
from anamo.operator.summary import Step


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """tables: names in the order of the steps. form: table, json or tsv."""

    tables: Sequence[str]
    region: str | None
    form: str


class Status:
    """Shows the tables; everything raises UsageError or what a request of `table` raises."""

    def __init__(self, request: StatusRequest, say: Callable[[str], object]) -> None:
        client = session.dynamodb_client(request.region)
        self._request = request
        self._say = say
        self._tables = [WorkflowTable(client, name) for name in request.tables]
        self._patience = OperatorRetry(say)

    def summary(self) -> None:
        """A line a step; for people why tasks failed as well."""
        if self._request.form == "table":
            summary.show([self._step(table) for table in self._tables], self._request.region)
            return
        counted = [counts.count_table(table, self._patience) for table in self._tables]
        if self._request.form == "json":
            output.as_json([summary.as_object(each) for each in counted])
        else:
            output.as_tsv(summary.HEADINGS, map(summary.as_row, counted))

    def _step(self, table: WorkflowTable) -> Step:
        failures = Failures()
        return Step(counts.count_table(table, self._patience, failures.add), failures)

    def by_task(self) -> None:
        """A line a task id."""
        matrix = steps.read(self._tables, self._patience)
        steps.show(matrix, self._request.tables, self._request.form)

    def items(self, state: str) -> None:
        """The items in a state; for people why they failed as well."""
        for table in self._tables:
            selection.check_state(table, state, self._patience)
        items: list[dict[str, Any]] = []
        failures: dict[str, Failures] = {}
        for table in self._tables:
            failures[table.name] = Failures()
            for record in selection.in_state(table, state, Projection.WHOLE, self._patience):
                items.append(listing.as_object(table.name, record))
                failures[table.name].add(record)
        listing.show(items, self._request.form)
        if self._request.form == "table" and state == State.FAILED:
            for name, found in failures.items():
                summary.show_failures(found, name, self._request.region)

    def page(self, path: str) -> None:
        """The page about all steps, as a file."""
        # Here and not above: the other forms need no template library
        from anamo.operator.html.render import write

        size = write(path, self._tables, self._request.region, self._patience)
        self._say(f"wrote {path} ({size / 1e6:.1f} MB)")

    def watch(self, seconds: float) -> None:
        """The steps in place, until nothing is left to do."""
        watch.watch(
            lambda: [counts.count_table(table, self._patience) for table in self._tables], seconds
        )
