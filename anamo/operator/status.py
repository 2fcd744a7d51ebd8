"""`pyanamo.py status`: the progress of a workflow, in one of several forms."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from anamo.aws.retry import UNATTENDED_SECONDS, OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Projection
from anamo.core.errors import AccessDenied, AwsError, TableMissing, TableUnusable
from anamo.core.item import State
from anamo.core.record import Record
from anamo.core.text import count
from anamo.operator import listing, output, sample, steps, summary
from anamo.operator.check import Gate, Verdict
from anamo.operator.counts import TableCounts, count_table
from anamo.operator.failures import Failures
from anamo.operator.hints import Hints
from anamo.operator.selection import (
    ByName,
    check_names,
    check_state,
    each_once,
    items_in_states,
    named_items,
)
from anamo.operator.steps import Samples
from anamo.operator.target import Words, find_target
from anamo.operator.watch import watch_counts

WIDE = (
    "table %s: its indexes hold whole items (%s): each KB of an item is billed up to 7 more times "
    "when its state changes and 3 more with a heartbeat or a result, and status reads all of it; a "
    "table made with --create-table avoids that (docs/cost.md)"
)
"""With all four: when an item ends, its entries in three are deleted and inserted anew, and one is
inserted in the fourth; a heartbeat or a result changes those in three where they are."""

logger = logging.getLogger(__name__)


class Status:
    """Shows tables on stdout. Every method raises UsageError or AwsError.

    Args:
        words: Tables, in the order of the workflow's steps, and names of samples.
        form: `table`, `json` or `tsv`.
        hints: Makes the suggested command lines.
        say: Prints a message.
        samples: Whether words may be names of samples; if not, all are tables.

    Attributes:
        complete: Whether all of the tables could be read; a message names each that could not.
    """

    def __init__(
        self,
        words: Words,
        form: str,
        hints: Hints,
        say: Callable[[str], object],
        *,
        samples: bool = True,
    ) -> None:
        self._form = form
        self._say = say
        self._retry = OperatorRetry(say)
        self._hints = hints
        self._named: Mapping[str, ByName] = {}
        no_samples: set[str] = set()
        target = find_target(words, self._retry, samples=samples)
        if target.tables and target.names:
            named = named_items(target, Projection.WHOLE, self._retry)
            found = any(records for each in named.values() for records in each.values())
            if not found and set(target.names) == set(target.doubtful):
                # Nor are they samples: the tables that exist are shown
                no_samples = set(target.names)
                target = find_target(words, self._retry, samples=False)
            else:
                check_names(target, named)
                self._named = named
        self._target = target
        self._tables = target.tables
        self.complete = not target.faults
        if not target.tables:
            target.check()
        for name, fault in target.faults.items():
            say(f"{fault}{_beside(fault, samples=samples, looked_up=name in no_samples)}")
        for table in target.tables:
            self._note_wide_indexes(table)

    def summary(self) -> None:
        """Print the samples that were named; without names, a line for each step. In the form
        `table`, the steps are followed by why tasks failed and how many samples are done.
        """
        if self._named:
            named = {table: self._named[table.name] for table in self._tables}
            sample.print_samples(named, self._target.names, self._form, self._hints)
        elif self._form == "table":
            samples = Samples(len(self._tables))
            found = [self._step(k, table, samples) for k, table in enumerate(self._tables)]
            summary.print_steps(found, self._hints)
            self._print_samples(samples)
        elif self._form == "json":
            output.print_json([summary.counts_object(each) for each in self._counts()])
        else:
            rows = [summary.counts_row(each) for each in self._counts()]
            output.print_tsv([*rows[0]], [[*row.values()] for row in rows])

    def _step(
        self, number: int, table: WorkflowTable, samples: Samples
    ) -> tuple[TableCounts, Failures]:
        """The counts and the failures of a step.

        Args:
            number: The step's position.
            table: Its table.
            samples: Gets the state of each of its items.
        """
        failures = Failures()

        def note(record: Record) -> None:
            failures.add(record)
            samples.note(number, record.item.task_id, record.state)

        return count_table(table, self._retry, note), failures

    def _print_samples(self, samples: Samples) -> None:
        """Print how many samples are done."""
        sentence = samples.sentence(all_steps=self.complete)
        if sentence:
            output.print_rich(f"\n{sentence}")

    def _counts(self, *, pace: bool = False) -> list[TableCounts]:
        return [count_table(table, self._retry, pace=pace) for table in self._tables]

    def _note_wide_indexes(self, table: WorkflowTable) -> None:
        """Say with -v that indexes hold whole items, as those of earlier versions do, and what that
        costs. Not everybody who may read the table may describe it.
        """
        if not logger.isEnabledFor(logging.INFO):
            return
        with suppress(AccessDenied):
            indexes = self._retry(table.indexes)
            wide = sorted(index.name for index in indexes if index.projected is None)
            if wide:
                logger.info(WIDE, table.name, ", ".join(wide))

    def by_task(self, where: Sequence[str]) -> None:
        """Print a line for each task id, with a column for each step.

        Args:
            where: Conditions that a task id must meet, such as "Align=done,Call=todo".
        """
        tables = [table.name for table in self._tables]
        conditions = steps.parse_conditions(where, tables) if where else []
        matrix = steps.matrix_of(self._records(None, Projection.STEP))
        found = steps.matching(matrix, conditions)
        steps.print_matrix(found, tables, self._form)
        if conditions:
            said = " and ".join("=".join(each) for each in conditions)
            number = f"{len(found):,} of {count(len(matrix), 'sample')}: {said}"
            if self._form == "table":
                print(number)
            else:
                self._say(number)
        elif self._form == "table":
            self._print_samples(steps.matrix_samples(found, tables))

    def _records(self, state: str | None, projection: Projection) -> Iterator[tuple[str, Record]]:
        """The items, each with its table's name.

        Args:
            state: Items in this state only; None for any. Of samples that were named, all items.
            projection: How much of each item to read; named samples were read whole.
        """
        for table in self._tables:
            records: Iterable[Record]
            if self._named:
                records = (record for _, record in each_once(self._named[table.name]))
            else:
                states = [state] if state else self._retry(table.states_present)
                records = items_in_states(table, states, projection, self._retry)
            yield from ((table.name, record) for record in records)

    def items(self, state: str) -> None:
        """Print the items in a state; in the form `table`, also why tasks failed."""
        check_state(self._tables, state, self._retry)
        items: list[dict[str, Any]] = []
        failures = {table.name: Failures() for table in self._tables}
        projection = Projection.WHOLE if state == State.FAILED else Projection.LISTED
        for table, record in self._records(state, projection):
            if record.state == state:
                items.append(listing.listed_item(table, record))
                failures[table].add(record)
        if items or self._form != "table":
            listing.print_items(items, self._form)
        if not items:
            self._say(f"no item is {state}")
        if self._form == "table" and state == State.FAILED:
            for name, found in failures.items():
                summary.print_failures(found, name, self._hints)

    def check(self, idle_limit: float | None) -> Verdict:
        """Print a line for each step, and say whether all are done.

        Args:
            idle_limit: Wait until they are, or until no worker has held an item for so many
                seconds; None to check once.
        """
        self._target.check()
        gate = Gate(self._tables, self._retry, self._say)
        return gate.check() if idle_limit is None else gate.wait(idle_limit)

    def report(self, path: str, seconds: float | None) -> None:
        """Write the HTML report about all steps to a file; with `seconds`, again at that interval
        until no item is todo or locked.
        """
        # Imported here: the other forms do not need the template library
        from anamo.operator.html import report_file

        given = (path, self._tables, self._hints, self._retry)
        write = partial(report_file.write_report, *given, all_steps=self.complete)
        if seconds is not None:
            self._retry.fault_seconds = UNATTENDED_SECONDS
            report_file.watch_report(write, seconds, self._say)
        else:
            self._say(str(write()))

    def watch(self, seconds: float) -> None:
        """Show the steps every `seconds`, in place, until no item is todo or locked."""
        self._retry.fault_seconds = UNATTENDED_SECONDS
        watch_counts(lambda: self._counts(pace=True), seconds)


def _beside(fault: AwsError, *, samples: bool, looked_up: bool) -> str:
    """What a word that cannot be read as a table is not, either; "" where that does not matter.

    Args:
        fault: Why it cannot be read as a table.
        samples: Whether words may be names of samples.
        looked_up: Whether it was looked for among the samples.
    """
    if not isinstance(fault, (TableMissing, TableUnusable)):
        return ""
    if looked_up:
        return ", and no item of the tables before it has that taskID or itemID"
    return "" if samples else "; --check, --html and --watch take tables only, no samples"
