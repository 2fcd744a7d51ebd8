"""`pyanamo.py resume --after`: let samples go on that earlier steps have done.

Guaranteed: an item is resumed only if every item of its task id was done, in each of the earlier
steps, when their tables were read, and each has at least one. Tables are read themselves, not their
indexes: what an index has not caught up with cannot let a sample through. Not guaranteed: that a
sample waits for items that are imported into an earlier step later on.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from anamo.aws import session
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.aws.table_reads import Part, Projection
from anamo.core.item import State
from anamo.core.text import count
from anamo.operator.change import Change, ChangeRequest, ProgressBar
from anamo.operator.table_scan import consistent_scan

StatesByTask = Mapping[str, Counter[str]]
"""How many items a task id has in each state."""


class Prerequisites:
    """Resumes the held items of tables whose task ids are done in earlier steps.

    Args:
        requests: What to resume, a request for each table.
        earlier: Names of the tables of the earlier steps.
        say: Prints a message.
        progress_bar: Shows how far the change of a table is.
    """

    def __init__(
        self,
        requests: Sequence[ChangeRequest],
        earlier: Sequence[str],
        say: Callable[[str], object],
        progress_bar: ProgressBar,
    ) -> None:
        self._requests = requests
        self._say = say
        self._progress_bar = progress_bar
        self._retry = OperatorRetry(say)
        client = session.dynamodb_client(requests[0].region)
        self._retry.where = session.where(client)
        self._tables = {each.table: WorkflowTable(client, each.table) for each in requests}
        self._earlier = [WorkflowTable(client, name) for name in earlier]

    def resume(self) -> int:
        """Resume what may go on, and print how many items that were and what the others wait for.

        Returns:
            How many items are still held, because they wait.

        Raises:
            UsageError: A name is unknown.
            AwsError: A request failed.
        """
        held = [request for request in self._requests if self._holds_any(request.table)]
        for request in self._requests:
            if request not in held:
                print(f"{request.table}: no item is held")
        if not held:
            return 0
        steps = {table.name: self._states(table) for table in self._earlier}
        return sum(self._resume(request, steps) for request in held)

    def _holds_any(self, table: str) -> bool:
        part = Part(State.HELD.value)
        return bool(self._retry(lambda: self._tables[table].page(part, Projection.STEP)).records)

    def _states(self, table: WorkflowTable) -> StatesByTask:
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for record in consistent_scan(table, self._retry):
            found[record.item.task_id][record.state] += 1
        return found

    def _resume(self, request: ChangeRequest, steps: Mapping[str, StatesByTask]) -> int:
        waiting: dict[str, Counter[str]] = {name: Counter() for name in steps}
        waits = 0

        def may_go_on(task_id: str) -> bool:
            nonlocal waits
            missing = {
                name: reason for name, states in steps.items() if (reason := _why(states, task_id))
            }
            for name, reason in missing.items():
                waiting[name][reason] += 1
            waits += bool(missing)
            return not missing

        chosen = replace(request, chosen=lambda record: may_go_on(record.item.task_id))
        Change(chosen, self._say, self._progress_bar).run()
        if waits:
            print(f"{request.table}: {count(waits, 'item')} still held, waiting for")
        for name, reasons in waiting.items():
            if reasons:
                listed = ", ".join(f"{n:,} {reason}" for reason, n in sorted(reasons.items()))
                print(f"  {name}: {listed}")
        return waits


def _why(states: StatesByTask, task_id: str) -> str:
    """Why a task id is not through a step: the state that most needs attention; "" if it is."""
    found = states.get(task_id)
    if not found:
        return "not imported"
    if set(found) == {State.DONE.value}:
        return ""
    order = ("failed", "held", "todo", "locked")
    return next((state for state in order if found[state]), "in another state")
