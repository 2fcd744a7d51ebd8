"""Whatever workers, an operator and the clock do to a table, the promises hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from anamo.aws import table_writes
from anamo.aws.table import WorkflowTable
from anamo.core import transitions
from tests.model.table_machine import TableMachine
from tests.model.table_steps import SETTLING, Met
from tests.support import sabotage
from tests.support.table import Table

if TYPE_CHECKING:
    pass


QUICK = settings(
    max_examples=16,
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=True,
    # Not shrunk, which takes minutes: whoever wants the shortest history adds Phase.shrink
    phases=(Phase.generate,),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=150, stateful_step_count=60, derandomize=False, print_blob=True)
CONTROL = settings(QUICK, max_examples=100)


def run(table: Table, how: settings) -> Met:
    """Let them act, and tell what was tried: the step, by whom, whether it was allowed."""
    met: Met = Counter()

    class Machine(TableMachine):
        def __init__(self) -> None:
            super().__init__(table, met)

    run_state_machine_as_test(Machine, settings=how)
    return met


WORTH_TRYING = {
    *product(("claim", "take over"), ("worker",), (True, False)),
    *product(SETTLING, ("holder",), (True,)),
    *product(SETTLING, ("loser", "stranger"), (False,)),
    *product(("import", "requeue", "remove"), ("operator",), (True, False)),
    *product(("renew", "record"), ("latecomer",), (False,)),
    ("copy", "latecomer", False),
}


def test_whatever_workers_an_operator_and_the_clock_do_the_promises_hold(shared: Table) -> None:
    met = run(shared, QUICK)
    assert set(met) >= WORTH_TRYING, "each transition by those who may and those who may not"


@pytest.mark.long
def test_in_many_more_histories_the_promises_hold_too(shared: Table) -> None:
    run(shared, LONG)


# Each guard taken away


def no_import_condition() -> None:
    """Let an import write over what is there."""
    anyway = f"{transitions.IMPORT.condition} OR attribute_exists(itemID)"
    transitions.IMPORT = replace(transitions.IMPORT, condition=anyway)


def no_seen_lock() -> None:
    """Let an item be taken over from another holder than the one that was seen."""
    anybody = (
        "ItemState = :locked AND (lockID = :seen OR attribute_exists(lockID))"
        " AND Lease_Expires < :epoch"
    )
    transitions.TAKE_OVER = replace(transitions.TAKE_OVER, condition=anybody)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what `sabotage` takes away."""
    for name, value in vars(transitions).items():
        if isinstance(value, transitions.Transition):
            monkeypatch.setattr(transitions, name, value)
    monkeypatch.setattr(table_writes, "already_applied", table_writes.already_applied)
    monkeypatch.setattr(WorkflowTable, "leases", WorkflowTable.leases)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("sabotaging", "found"),
    [
        (sabotage.no_fence, "(renew|record|finish|release|retry) (by another|made)"),
        (sabotage.no_claim_condition, "two workers hold one item|claim made"),
        (sabotage.no_lease, "two workers hold one item|take over while a lease goes on"),
        (sabotage.no_recognition, "[a-z ]+ has another answer"),
        (sabotage.no_succession, "copy made|claim .*"),
        (no_import_condition, "import made"),
        (no_seen_lock, "take over is not allowed, and yet changed"),
    ],
)
def test_without_a_guard_a_promise_is_broken(
    shared: Table, sabotaging: Callable[[], None], found: str
) -> None:
    sabotaging()
    with pytest.raises(AssertionError, match=rf"\A({found})"):
        run(shared, CONTROL)
