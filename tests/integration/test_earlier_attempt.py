"""What an earlier attempt of a job holds is found however many items others hold."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from anamo.aws.retry import RetryPolicy
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.errors import AccessDenied
from anamo.worker.earlier_attempt import left_by_earlier_attempt
from tests.support import workflow
from tests.support.table import workflow_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LEASE_ENDS = 1 << 40


@pytest.mark.parametrize("kind", ["narrow", "wide"])
@pytest.mark.parametrize("denied", [False, True])
def test_it_is_found_by_its_instance_or_among_all_that_are_locked(
    kind: str, denied: bool, dynamodb_client: DynamoDBClient
) -> None:
    items = [
        workflow.item(f"T{number}", "locked", Lease_Expires=LEASE_ENDS) for number in range(2500)
    ]
    holders = {7: "job-7", 1200: "job-7", 2400: "job-7", 8: "job-70", 9: "job"}
    for number, job in holders.items():
        items[number] |= {"InstanceID": job, "lockID": f"{number:030x}.1"}
    # This attempt's own
    items[10] |= {"InstanceID": "job-7", "lockID": f"{10:030x}.2"}
    items[11] |= {"InstanceID": "job-7", "ItemState": "done"}
    with workflow_table(dynamodb_client, wide=kind == "wide") as made:
        workflow.put_all(dynamodb_client, made, items)
        table = WorkflowTable(dynamodb_client, made.name)
        if denied:
            table.locked_by = Mock(side_effect=AccessDenied())  # type: ignore[method-assign]
        found = left_by_earlier_attempt([table], Holder("job-7", 600, 2), RetryPolicy())
    assert {item.task_id for item in found[made.name]} == {"T7", "T1200", "T2400"}
    assert {item.lease_expires for item in found[made.name]} == {LEASE_ENDS}
    assert (table.meter.consumed.read_units < 10) is not denied


def test_a_first_attempt_asks_for_nothing() -> None:
    table = Mock(spec=WorkflowTable)
    assert left_by_earlier_attempt([table], Holder("job-7", 600, 1), RetryPolicy()) == {}
    assert table.mock_calls == []
