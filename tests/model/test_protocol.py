"""Every history within some bounds keeps the promises; without any one guard, one does not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from anamo.core import transitions
from anamo.core.transitions import HELD_BY_ME
from tests.model.explore import Bounds, explore
from tests.model.protocol import GONE, Protocol
from tests.support import sabotage
from tests.support.table import Table

if TYPE_CHECKING:
    pass

REQUEUE = ("requeue", "requeue --force")
REMOVE = ("remove", "remove --force", "import")

QUICK = {
    "two workers, each twice": Bounds(claims=2, faults=1, until=2),
    "two faults": Bounds(workers=1, faults=2, until=3, renewals=2),
    "three tasks": Bounds(workers=1, tasks=3, faults=2, until=2),
    "tasks that fail": Bounds(faults=1, failures=1, until=2),
    "requeued": Bounds(faults=1, until=2, commands=REQUEUE),
    "removed": Bounds(faults=1, until=2, commands=REMOVE, renewals=0),
    "three workers": Bounds(workers=3, faults=0, until=4),
}
LONG = {
    "two workers, each twice": Bounds(claims=2, faults=1, until=3),
    "two faults": Bounds(faults=2, until=3, renewals=2),
    "three tasks": Bounds(tasks=3, faults=2, until=2),
    "tasks that fail": Bounds(claims=2, faults=1, failures=1, until=2),
    "requeued": Bounds(claims=2, faults=1, until=2, commands=REQUEUE, renewals=0),
    "removed": Bounds(faults=1, until=3, commands=REMOVE),
    "three workers": Bounds(workers=3, faults=1, until=4),
}


def hold(bounds: Bounds) -> None:
    """Explore all that is within bounds."""
    found = explore(bounds)
    assert found.broken == "", "\n".join(found.history)
    assert found.complete
    print(f"{found.states:,} states, the farthest after {found.depth} steps")


@pytest.mark.parametrize("bounds", QUICK.values(), ids=QUICK)
def test_in_every_history_within_bounds_the_promises_hold(bounds: Bounds) -> None:
    hold(bounds)


@pytest.mark.long
@pytest.mark.parametrize("bounds", LONG.values(), ids=LONG)
def test_in_every_history_within_wider_bounds_the_promises_hold(bounds: Bounds) -> None:
    hold(bounds)


# Each guard taken away


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what `sabotage` takes away."""
    for name, value in vars(transitions).items():
        if isinstance(value, transitions.Transition):
            monkeypatch.setattr(transitions, name, value)


CLAIMS = Bounds(claims=2, faults=1, until=2)
RENEWALS = Bounds(workers=1, faults=1, until=3, renewals=2)
RECORDS = Bounds(workers=1, tasks=3, faults=1, until=0)
FAILURES = Bounds(faults=1, failures=1, until=2)
REQUEUED = Bounds(faults=1, until=2, commands=REQUEUE)
REMOVED = Bounds(faults=1, until=2, commands=REMOVE)
LOCK = "(lockID = :lock OR attribute_not_exists(lockID))"
COUNT = "(Ended_Tasks = :ended OR attribute_not_exists(Ended_Tasks))"
FOLLOWS = "(lockID = :seen OR NOT attribute_type(lockID, :string))"
ENDED = "NOT #TaskScript.#t0.#Status IN (:done, :failed)"
AS_SEEN = ("ItemState = :seen", LOCK, COUNT)
MEANWHILE = (
    "an operator changed what had changed meanwhile|requeue.* led from todo to todo"
    "|Ended_Tasks is not the number of ended tasks"
)

GUARDS = [
    ("IMPORT", "attribute_not_exists(itemID)", REMOVED, "an import over an item"),
    ("CLAIM", transitions.CLAIM.condition, CLAIMS, "claim led from|lockID changed"),
    ("CLAIM", FOLLOWS, CLAIMS, "lockID changed, or not|a claim that had ended came back"),
    ("TAKE_OVER", "Lease_Expires < :epoch", CLAIMS, "taken while its lease went on"),
    ("RENEW", HELD_BY_ME, CLAIMS, "a lease without a holder|two workers hold the item"),
    ("RECORD", HELD_BY_ME, CLAIMS, "a write of another claim than the holder's"),
    ("FINISH", HELD_BY_ME, CLAIMS, "a write of another claim than the holder's"),
    ("RELEASE", HELD_BY_ME, CLAIMS, "an attempt that is not counted"),
    ("RETRY", HELD_BY_ME, FAILURES, "an attempt that is not counted"),
    ("RENEW", "NOT Lease_Expires > :expires", RENEWALS, "a lease moved back"),
    ("RECORD", ENDED, RECORDS, "Ended_Tasks is not the number of ended tasks"),
    *(("REQUEUE", clause, REQUEUED, MEANWHILE) for clause in AS_SEEN),
    *(("REQUEUE_LOCKED", clause, REQUEUED, MEANWHILE) for clause in AS_SEEN),
    *(("REMOVE", clause, REMOVED, MEANWHILE) for clause in AS_SEEN),
    *(("REMOVE_LOCKED", clause, REMOVED, MEANWHILE) for clause in AS_SEEN),
    ("REQUEUE", "Lease_Expires < :epoch", REQUEUED, "taken while its lease went on"),
    ("REMOVE", "Lease_Expires < :epoch", REMOVED, "taken while its lease went on"),
]
"""A clause of a transition, bounds within which it is missed, and the promise that is broken."""


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("name", "clause", "bounds", "promise"), GUARDS)
def test_without_a_guard_some_history_breaks_a_promise(
    name: str, clause: str, bounds: Bounds, promise: str
) -> None:
    sabotage.weaken(name, clause)
    found = explore(bounds)
    print(f"{name} without {clause}:", *found.history, sep="\n  ")
    assert re.match(promise, found.broken), found.broken
    assert len(found.history) <= 10, "it is a short one"


# The small DynamoDB


def test_the_small_dynamodb_answers_as_dynamodb_does(shared: Table) -> None:
    """What it made of requests in the explorations, DynamoDB Local makes of them, too."""
    for bounds in (FAILURES, REQUEUED, REMOVED):
        protocol = Protocol()
        explore(bounds, 3_000, protocol)
        effects = list(protocol.effects.items())
        kinds = {(protocol.sent[request].kind, reply.applied) for (request, _), reply in effects}
        assert len(kinds) >= 10
        for (request, image), reply in effects[:: max(1, len(effects) // 150)]:
            sent = protocol.sent[request]
            before, after = (
                None if number == GONE else dict(protocol.images[number])
                for number in (image, reply.image)
            )
            applied = executed(shared, before, sent.operation, dict(sent.request))
            assert (applied, raw(shared)) == (reply.applied, after), sent


def executed(table: Table, before: dict[str, Any] | None, operation: str, request: Any) -> bool:
    """Bring the item to a state, and send a request: whether it was applied."""
    for there in raw_all(table):
        table.client.delete_item(TableName=table.name, Key={"itemID": there["itemID"]})
    if before is not None:
        table.client.put_item(TableName=table.name, Item=before)
    try:
        getattr(table.client, operation)(**{**request, "TableName": table.name})
    except table.client.exceptions.ConditionalCheckFailedException:
        return False
    return True


def raw_all(table: Table) -> list[Any]:
    """The items as DynamoDB has them."""
    return list(table.client.scan(TableName=table.name, ConsistentRead=True)["Items"])


def raw(table: Table) -> Any:
    """The only item, if there is one."""
    return next(iter(raw_all(table)), None)
