"""Claims that a process reports to its parent."""

from __future__ import annotations

from multiprocessing import Pipe

import pytest

from anamo.core.codec import ItemId
from anamo.worker.in_flight_claims import InFlightClaims, ReportedClaims


def lock_ids(reported: ReportedClaims) -> dict[ItemId, str]:
    return {claim.item_id: claim.lock_id for claim in reported.all()}


@pytest.mark.parametrize("item_id", [0, 1, -7, 1 << 53, 10**38 - 1])
def test_any_item_id_is_noted_until_it_is_dropped(item_id: int) -> None:
    reported = ReportedClaims()
    claims = InFlightClaims(reported.note, ())
    claims.add("Testing", item_id, "a" * 32)
    claims.add("Testing", 7, "b" * 32)
    assert lock_ids(reported) == {item_id: "a" * 32, 7: "b" * 32}
    claims.drop("a" * 32)
    claims.drop("a" * 32)
    assert lock_ids(reported) == {7: "b" * 32}
    assert len(reported) == 1


def test_a_process_may_hold_any_number_of_claims() -> None:
    reported = ReportedClaims()
    claims = InFlightClaims(reported.note, ())
    for number in range(100):
        claims.add("Testing", number, f"{number:032}")
    assert len(reported) == 100


def test_a_new_claim_of_an_item_outlives_the_end_of_the_old_one() -> None:
    reported = ReportedClaims()
    claims = InFlightClaims(reported.note, ())
    claims.add("Testing", 7, "a" * 32)
    claims.add("Testing", 7, "b" * 32)
    claims.drop("a" * 32)
    assert lock_ids(reported) == {7: "b" * 32}


def test_a_claim_is_in_the_pipe_when_add_returns() -> None:
    parent, child = Pipe()
    reported = ReportedClaims()
    with parent, child:
        InFlightClaims(child.send, ()).add("Testing", 7, "a" * 32)
        assert parent.poll()
        reported.note(parent.recv())
    assert lock_ids(reported) == {7: "a" * 32}


def test_items_of_two_tables_may_have_the_same_id() -> None:
    reported = ReportedClaims()
    claims = InFlightClaims(reported.note, ())
    claims.add("Align", 7, "a" * 32)
    claims.add("Call", 7, "b" * 32)
    claims.drop("a" * 32)
    assert [(claim.table, claim.lock_id) for claim in reported.all()] == [("Call", "b" * 32)]
