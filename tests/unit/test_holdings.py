"""Claims noted in shared memory."""

from __future__ import annotations

import pytest

from anamo.worker.holdings import Holdings


@pytest.mark.parametrize("item_id", [0, 1, -7, 1 << 53, 10**38 - 1])
def test_any_item_id_is_noted_until_it_is_dropped(item_id: int) -> None:
    holdings = Holdings({})
    holdings.add(item_id, "a" * 32)
    holdings.add(7, "b" * 32)
    assert holdings.read() == {item_id: "a" * 32, 7: "b" * 32}
    holdings.drop("a" * 32)
    assert holdings.read() == {7: "b" * 32}
