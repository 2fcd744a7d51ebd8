"""Claims that a process reports to its parent."""

from __future__ import annotations

from multiprocessing import Pipe

import pytest

from anamo.worker.in_flight_claims import InFlightClaims, ReportedClaims


@pytest.mark.parametrize("item_id", [0, 1, -7, 1 << 53, 10**38 - 1])
def test_any_item_id_is_noted_until_it_is_dropped(item_id: int) -> None:
    reported = ReportedClaims()
    claims = InFlightClaims(reported.note, {})
    claims.add(item_id, "a" * 32)
    claims.add(7, "b" * 32)
    assert reported.lock_ids() == {item_id: "a" * 32, 7: "b" * 32}
    claims.drop("a" * 32)
    claims.drop("a" * 32)
    assert reported.lock_ids() == {7: "b" * 32}
    assert len(reported) == 1


def test_a_process_may_hold_any_number_of_claims() -> None:
    reported = ReportedClaims()
    claims = InFlightClaims(reported.note, {})
    for number in range(100):
        claims.add(number, f"{number:032}")
    assert len(reported) == 100


def test_a_new_claim_of_an_item_outlives_the_end_of_the_old_one() -> None:
    reported = ReportedClaims()
    claims = InFlightClaims(reported.note, {})
    claims.add(7, "a" * 32)
    claims.add(7, "b" * 32)
    claims.drop("a" * 32)
    assert reported.lock_ids() == {7: "b" * 32}


def test_a_claim_is_in_the_pipe_when_add_returns() -> None:
    parent, child = Pipe()
    reported = ReportedClaims()
    with parent, child:
        InFlightClaims(child.send, {}).add(7, "a" * 32)
        assert parent.poll()
        reported.note(parent.recv())
    assert reported.lock_ids() == {7: "a" * 32}
