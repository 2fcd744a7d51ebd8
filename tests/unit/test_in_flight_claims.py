"""Claims of a process, as its parent knows them."""

from __future__ import annotations

from multiprocessing import Pipe

import pytest

from anamo.core.codec import ItemId
from anamo.worker.in_flight_claims import ClaimsOfProcess, InFlightClaims
from anamo.worker.messages import ItemEnded


def lock_ids(known: ClaimsOfProcess) -> dict[ItemId, str]:
    return {claim.item_id: claim.lock_id for claim in known.all()}


@pytest.mark.parametrize("item_id", [0, 1, -7, 1 << 53, 10**38 - 1])
def test_any_item_id_is_noted_until_the_claim_turns_out_not_to_be_won(item_id: int) -> None:
    known = ClaimsOfProcess()
    claims = InFlightClaims(known.note, ())
    claims.add("Testing", item_id, "a" * 32)
    claims.add("Testing", 7, "b" * 32)
    assert lock_ids(known) == {item_id: "a" * 32, 7: "b" * 32}
    claims.not_won("a" * 32)
    claims.not_won("a" * 32)
    assert lock_ids(known) == {7: "b" * 32}
    assert len(known) == 1


def test_the_end_of_an_item_ends_its_claim_and_no_other() -> None:
    known = ClaimsOfProcess()
    claims = InFlightClaims(known.note, ())
    for lock_id in ("a", "b"):
        claims.add("Testing", 7, lock_id * 32)
        claims.won(lock_id * 32, "Task")
    known.note(ItemEnded("Testing", 7, "Task", "a" * 32, "done", 1, (), 1, 1, 0.5))
    assert lock_ids(known) == {7: "b" * 32}
    assert len(known.runs()) == 1


def test_a_process_may_hold_any_number_of_claims() -> None:
    known = ClaimsOfProcess()
    claims = InFlightClaims(known.note, ())
    for number in range(100):
        claims.add("Testing", number, f"{number:032}")
    assert len(known) == 100


def test_a_new_claim_of_an_item_outlives_the_end_of_the_old_one() -> None:
    known = ClaimsOfProcess()
    claims = InFlightClaims(known.note, ())
    claims.add("Testing", 7, "a" * 32)
    claims.add("Testing", 7, "b" * 32)
    claims.not_won("a" * 32)
    assert lock_ids(known) == {7: "b" * 32}


def test_a_claim_is_in_the_pipe_when_add_returns() -> None:
    parent, child = Pipe()
    known = ClaimsOfProcess()
    with parent, child:
        InFlightClaims(child.send, ()).add("Testing", 7, "a" * 32)
        assert parent.poll()
        known.note(parent.recv())
    assert lock_ids(known) == {7: "a" * 32}


def test_items_of_two_tables_may_have_the_same_id() -> None:
    known = ClaimsOfProcess()
    claims = InFlightClaims(known.note, ())
    claims.add("Align", 7, "a" * 32)
    claims.add("Call", 7, "b" * 32)
    claims.not_won("a" * 32)
    assert [(claim.table, claim.lock_id) for claim in known.all()] == [("Call", "b" * 32)]
