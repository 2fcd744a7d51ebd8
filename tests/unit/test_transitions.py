"""Every transition does what it says, from the state it says, and from no other writes anything.

DynamoDB itself decides, so this runs on DynamoDB Local.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from anamo.aws.table import WorkflowTable
from anamo.core import transitions
from anamo.core.codec import decode
from anamo.core.record import Record
from anamo.core.transitions import HELD_BY_ME, TRANSITIONS, Transition
from tests.support.table import Table
from tests.support.transitions import (
    AGAIN,
    ALLOWED,
    APPLIED,
    ATTEMPTS,
    FORBIDDEN,
    LEGAL,
    STATES,
    attributes,
    bring_to,
    part_of,
)


def test_every_transition_is_attempted() -> None:
    worked = {transition for transition, _ in ATTEMPTS.values()}
    operated = {transition for transition, *_ in OPERATIONS.values()}
    assert worked == set(LEGAL)
    assert worked | operated == set(TRANSITIONS)
    assert not worked & operated


FREE = {state for state in STATES if state.startswith(("done", "failed"))}
NO_LIVE_LEASE = {state for state in STATES if "ended" in state or "without" in state}
LOCKED = {state for state in STATES if "locked" in state}
OPERATIONS: Mapping[str, tuple[Transition, Callable[[WorkflowTable, Record], object], set[str]]] = {
    "requeue": (
        transitions.REQUEUE,
        lambda table, seen: table.requeue(seen, AGAIN, force=False),
        FREE | NO_LIVE_LEASE,
    ),
    "requeue --force": (
        transitions.REQUEUE_LOCKED,
        lambda table, seen: table.requeue(seen, AGAIN, force=True),
        LOCKED,
    ),
    "requeue in part": (
        transitions.REQUEUE_PART,
        lambda table, seen: part_of(table.requeue_part(seen, ["Task_1"], force=False)),
        FREE | NO_LIVE_LEASE,
    ),
    "requeue in part --force": (
        transitions.REQUEUE_LOCKED_PART,
        lambda table, seen: part_of(table.requeue_part(seen, ["Task_1"], force=True)),
        LOCKED,
    ),
    "hold": (
        transitions.HOLD,
        lambda table, seen: table.hold(seen),
        LEGAL[transitions.CLAIM],
    ),
    "resume": (transitions.RESUME, lambda table, seen: table.resume(seen), {"held"}),
    "remove": (
        transitions.REMOVE,
        lambda table, seen: table.remove(seen, force=False),
        FREE | NO_LIVE_LEASE | LEGAL[transitions.CLAIM] | {"held"},
    ),
    "remove in part": (
        transitions.REMOVE_PART,
        lambda table, seen: table.remove_part(seen, ["Task_1"]),
        {state for state in STATES if state.startswith("failed")},
    ),
    "remove --force": (
        transitions.REMOVE_LOCKED,
        lambda table, seen: table.remove(seen, force=True),
        LOCKED,
    ),
}


@pytest.mark.parametrize("state", [state for state in STATES if state != "absent"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_operator_may_change_what_nobody_holds(
    shared: Table, operation: str, state: str
) -> None:
    transition, change, legal = OPERATIONS[operation]
    before, _ = bring_to(shared, state)
    assert before
    table = WorkflowTable(shared.client, shared.name)
    seen = Record.from_values(decode(before))
    if seen.item.state not in {source.value for source in transition.sources}:
        with pytest.raises(ValueError, match="does not begin in"):
            change(table, seen)
        assert attributes(shared) == before
    elif state not in legal:
        assert change(table, seen) is not None
        assert attributes(shared) == before
    else:
        assert change(table, seen) is None
        after = attributes(shared)
        assert (after["ItemState"]["S"] if after else "") in (
            {target.value for target in transition.targets} or {""}
        )


@pytest.mark.parametrize(("attempt", "state"), ALLOWED)
def test_a_transition_leads_from_its_source_to_its_targets(
    shared: Table, attempt: str, state: str
) -> None:
    before, seen = bring_to(shared, state)
    transition, move = ATTEMPTS[attempt]
    assert move(WorkflowTable(shared.client, shared.name), seen)
    after = attributes(shared)
    assert after is not None
    assert before is None or before["ItemState"]["S"] in transition.sources
    assert (before is None) == (not transition.sources)
    assert after["ItemState"]["S"] in {target.value for target in transition.targets}
    if before:
        assert after["Comment"] == before["Comment"]


@pytest.mark.parametrize(("attempt", "state"), FORBIDDEN)
def test_from_any_other_state_nothing_is_written(shared: Table, attempt: str, state: str) -> None:
    before, seen = bring_to(shared, state)
    said = ATTEMPTS[attempt][1](WorkflowTable(shared.client, shared.name), seen)
    assert bool(said) is ((attempt, state) in APPLIED)
    assert attributes(shared) == before


@pytest.mark.parametrize("attempt", ["import", "claim", "take over", "finish as done", "release"])
def test_that_test_can_fail(shared: Table, monkeypatch: pytest.MonkeyPatch, attempt: str) -> None:
    transition, move = ATTEMPTS[attempt]
    always = replace(transition, condition=f"{transition.condition} OR attribute_exists(itemID)")
    monkeypatch.setattr(transitions, transition.name.upper().replace(" ", "_"), always)
    before, seen = bring_to(shared, "done under another")
    assert move(WorkflowTable(shared.client, shared.name), seen)
    assert attributes(shared) != before


def test_only_the_holder_may_settle() -> None:
    for transition in TRANSITIONS:
        fenced = transition.condition.startswith(HELD_BY_ME)
        takes = {"claim", "take over", "take over from an earlier attempt"}
        others = {"import", *takes, *OPERATIONS}
        assert fenced is not (transition.name in others), transition.name
