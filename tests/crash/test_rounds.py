"""Random rounds: everything that may go wrong, at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Fleet
from tests.support.proxy import Proxy
from tests.support.rounds import Round, Servers

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_s3 import S3Client

QUICK = range(2)
LONG = range(2, 40)

Play = Callable[[int], list[str]]


@pytest.fixture
def play(
    fleet: Fleet,
    database: Proxy,
    store: Proxy,
    streams: DynamoDBStreamsClient,
    s3_client: S3Client,
) -> Play:
    """Play the round of a seed."""
    servers = Servers(streams, s3_client, database, store)
    return lambda seed: Round(fleet, servers, seed, late_writes=True).play()


@pytest.mark.parametrize(
    "seed", [*QUICK, *(pytest.param(seed, marks=pytest.mark.long) for seed in LONG)]
)
def test_whatever_happens_at_once_the_promises_hold(seed: int, play: Play) -> None:
    found = play(seed)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        (
            "claim_condition",
            "before its lease ended|went from (done|failed) to locked|attempts after",
        ),
        ("fence", "went from|shorter lease|fewer ended tasks|did not hold|left (done|failed)"),
    ],
)
def test_without_a_guard_a_round_finds_it(guard: str, said: str, play: Play, fleet: Fleet) -> None:
    # What happens at once differs with the load, and not every round meets the fault
    for seed in range(12):
        # A round puts the guard back before its end
        fleet.guard = guard
        found = play(seed)
        if any(re.search(said, fault) for fault in found):
            break
    assert any(re.search(said, fault) for fault in found), found
    # Whoever repeats it needs the seed, and what happened
    assert any(line.startswith(f"seed {seed}, ") for line in found)
    assert any(line.startswith("history of item ") for line in found)
