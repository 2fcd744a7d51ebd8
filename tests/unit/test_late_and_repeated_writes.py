"""Writes that arrive late, and writes whose reply is lost, on DynamoDB Local."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from anamo.aws.session import dynamodb_client as our_client
from anamo.aws.table import WorkflowTable
from anamo.aws.update import GROUP_LIMIT, STATUS_LIMIT
from anamo.core.codec import decode, encode
from anamo.core.errors import TransientError
from anamo.core.item import State, nested_item, new_values
from anamo.core.record import Record
from tests.support.environment import REGION
from tests.support.proxy import Forward, Proxy, Reply, Request, dropping_reply, on
from tests.support.table import Table, plain
from tests.support.transitions import (
    AGAIN,
    ALLOWED,
    ATTEMPTS,
    HOLDER,
    ITEM,
    LAST,
    MINE,
    MY_ITEM,
    OTHERS,
    RESULTS,
    attributes,
    bring_to,
    entry,
)

# Writes that arrive late


def test_an_older_renewal_leaves_the_lease_and_the_claim_is_not_lost(shared: Table) -> None:
    before, _ = bring_to(shared, "locked by me")
    assert WorkflowTable(shared.client, shared.name).renew(ITEM.item_id, MINE, HOLDER)
    assert attributes(shared) == before, "its lease ended later than the renewal's"


def test_an_older_record_leaves_the_results_and_the_claim_is_not_lost(shared: Table) -> None:
    bring_to(shared, "locked by me")
    table = WorkflowTable(shared.client, shared.name)
    assert table.record(MY_ITEM, RESULTS, 1)
    assert table.record(MY_ITEM, {"Task_1": entry()}, 2)
    before = attributes(shared)
    assert table.record(MY_ITEM, RESULTS, 1)
    assert attributes(shared) == before


def test_the_lockid_of_an_item_leads_from_claim_to_claim(shared: Table) -> None:
    _, seen = bring_to(shared, "released")
    table = WorkflowTable(shared.client, shared.name)
    first = table.claim(seen, "first", HOLDER)
    assert first
    assert table.release(first, {}, 0)
    assert table.claim(seen, "first", HOLDER) is None, "it had its turn"
    assert table.claim(seen, "second", HOLDER) is None, "the index is behind"
    assert table.claim(replace(seen, lock_id="first"), "second", HOLDER)


def test_a_holder_does_not_take_a_requeue_in_part_for_its_own_end(shared: Table) -> None:
    """Both make the item failed."""
    bring_to(shared, "locked by me")
    seen = Record.from_values(decode(attributes(shared) or {}))
    table = WorkflowTable(shared.client, shared.name)
    assert isinstance(table.requeue_part(seen, ["Task_1"], force=True), Record)
    assert not table.finish(MY_ITEM, State.FAILED, LAST, 2)


# Lost replies


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], dynamodb: str) -> Proxy:
    return make_proxy(dynamodb)


@pytest.fixture
def unlucky(
    proxy: Proxy, shared: Table, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkflowTable]:
    """The table through a client whose first write loses its reply."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", proxy.url)
    client = our_client(REGION)
    proxy.behaviour = on("UpdateItem", dropping_reply, first=1)
    yield WorkflowTable(client, shared.name)
    client.close()


@pytest.mark.parametrize(
    ("attempt", "state"),
    [each for each in ALLOWED if each[0] not in {"release", "give back", "retry"}],
)
def test_a_write_whose_reply_was_lost_is_known_as_already_applied(
    shared: Table, proxy: Proxy, unlucky: WorkflowTable, attempt: str, state: str
) -> None:
    proxy.behaviour = on(
        "TransactWriteItems" if attempt == "import" else "UpdateItem", dropping_reply, first=1
    )
    _, seen = bring_to(shared, state)
    assert ATTEMPTS[attempt][1](unlucky, seen)
    claims = attempt.startswith(("claim", "take over"))
    assert len(proxy.requests) == 2 + claims, "the SDK sends it again; a claim is renewed as well"
    after = plain({"M": attributes(shared)})
    assert after["ItemState"] in {target.value for target in ATTEMPTS[attempt][0].targets}
    if claims:
        assert after["Attempts"] == seen.attempts + 1, "it is counted once"


@pytest.mark.parametrize("attempt", ["release", "retry"])
def test_a_release_whose_reply_was_lost_is_known_as_already_applied(
    shared: Table, unlucky: WorkflowTable, attempt: str
) -> None:
    bring_to(shared, "locked by me")
    assert ATTEMPTS[attempt][1](unlucky, MY_ITEM)
    after = plain({"M": attributes(shared)})
    assert (after["ItemState"], after["lockID"], after["Attempts"]) == ("todo", MINE, 1)


def test_a_lost_reply_is_not_taken_for_a_write_of_somebody_else(
    shared: Table, proxy: Proxy, unlucky: WorkflowTable
) -> None:
    """Between the two attempts another worker has taken the item over."""
    bring_to(shared, "locked by me")

    def overtaken(_request: Request, _forward: Forward) -> None:
        bring_to(shared, "locked by another")

    proxy.behaviour = on("UpdateItem", overtaken, first=1)
    assert not unlucky.finish(MY_ITEM, State.DONE, LAST, 2)
    assert plain({"M": attributes(shared)})["lockID"] == OTHERS


@pytest.mark.parametrize("attempt", ["release", "give back", "retry"])
def test_another_holders_release_is_not_taken_for_ones_own(shared: Table, attempt: str) -> None:
    """Both leave a todo item; the lockID tells whose it was."""
    results = {name: each.to_values() for name, each in LAST.items()}
    image = encode({**new_values(ITEM), "Log": results, "lockID": OTHERS})
    shared.client.put_item(TableName=shared.name, Item=image)
    assert not ATTEMPTS[attempt][1](WorkflowTable(shared.client, shared.name), MY_ITEM)


def test_a_holders_release_is_not_taken_for_a_requeue(shared: Table) -> None:
    """It leaves a todo item too, but failed tasks as they are."""
    bring_to(shared, "locked by another, lease ended")
    seen = Record.from_values(decode(attributes(shared) or {}))
    table = WorkflowTable(shared.client, shared.name)
    again = table.take_over(seen.item, MINE, HOLDER)
    assert again
    assert table.release(again, {"Task_1": LAST["Task_1"]}, 1)
    lost = table.requeue(seen, AGAIN, force=False)
    assert lost
    assert lost.current
    assert lost.current.task_states()["failed"] == 1


def test_a_claim_whose_reply_was_lost_begins_with_a_whole_lease(shared: Table) -> None:
    """The lease that the lost reply told of may have been spent on reaching DynamoDB again."""
    bring_to(shared, "todo")
    table = WorkflowTable(shared.client, shared.name)
    assert table.claim(ITEM, "new", replace(HOLDER, lease=1))
    spent = int(plain({"M": attributes(shared)})["Lease_Expires"])
    assert table.claim(ITEM, "new", HOLDER)
    assert int(plain({"M": attributes(shared)})["Lease_Expires"]) >= spent + 500


def test_a_claim_whose_reply_was_lost_is_lost_where_another_worker_renewed_in_its_place(
    shared: Table, proxy: Proxy, unlucky: WorkflowTable
) -> None:
    """Between the second attempt and the renewal another worker has taken the item over."""
    bring_to(shared, "todo")

    def overtaken(request: Request, forward: Forward) -> Reply | None:
        if b"Lease_Expires > :expires" in request.body:
            bring_to(shared, "locked by another")
        return forward(request)

    proxy.behaviour = overtaken
    first = WorkflowTable(shared.client, shared.name)
    assert first.claim(ITEM, "new", replace(HOLDER, lease=1))
    assert unlucky.claim(ITEM, "new", HOLDER) is None
    assert plain({"M": attributes(shared)})["lockID"] == OTHERS


def test_a_retry_in_parts_whose_last_reply_was_lost_is_known_as_already_applied(
    shared: Table,
) -> None:
    many = nested_item("Task-1", ["false"] * (STATUS_LIMIT + GROUP_LIMIT))
    many = replace(many, item_id=ITEM.item_id)
    values = {**new_values(many), "lockID": MINE, "ItemState": "locked", "Attempts": 1}
    shared.client.put_item(TableName=shared.name, Item=encode(values))
    table = WorkflowTable(shared.client, shared.name)
    mine = replace(many, state="locked", lock_id=MINE)
    again = [task.name for task in many.nested]
    assert table.retry(mine, {}, 0, again)
    before = attributes(shared)
    assert table.retry(mine, {}, 0, again)
    assert attributes(shared) == before
    assert not table.retry(replace(mine, lock_id=OTHERS), {}, 0, again)


def test_two_lost_replies_are_a_fault_to_be_tried_again(
    shared: Table, proxy: Proxy, unlucky: WorkflowTable
) -> None:
    proxy.behaviour = on("UpdateItem", dropping_reply, first=2)
    bring_to(shared, "todo")
    with pytest.raises(TransientError):
        unlucky.claim(ITEM, "new", HOLDER)
    item = unlucky.claim(ITEM, "new", HOLDER)
    assert item is not None
    assert (item.lock_id, item.attempts) == ("new", 1)
