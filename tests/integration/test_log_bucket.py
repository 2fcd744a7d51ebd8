"""A bucket that takes no logs is found out before anything is claimed, not after a long task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anamo.aws.log_store import PROBE
from tests.support.fleet import Fleet
from tests.support.proxy import Proxy, failing, on
from tests.support.table import Table

DENIED = failing(
    "AccessDenied", 403, "User: … is not authorized to perform: kms:GenerateDataKey on resource: …"
)
"""What S3 answers where the use of the bucket's KMS key is not allowed."""


@pytest.mark.parametrize("guard", [None, "probe"])
def test_without_the_use_of_the_buckets_key_nothing_is_claimed(
    fleet: Fleet, store: Proxy, guard: str | None
) -> None:
    """Without the probe, the task runs, and its log does not get to S3."""
    fleet.guard = guard
    store.behaviour = DENIED
    fleet.add([f"{fleet.ledger.script}|0"])
    ended = fleet.start("-i", "2").wait()
    assert ended.returncode == 3, ended.stderr
    assert fleet.table.states() == {"done" if guard else "todo": 1}
    assert len(fleet.ledger.starts()) == bool(guard)
    assert ("log kept in" in ended.stderr) is bool(guard)
    needed = "a worker needs kms:GenerateDataKey and kms:Decrypt on the bucket's KMS key"
    assert (needed in ended.stderr) == (guard is None)


def test_a_worker_on_two_tables_tries_the_folder_of_each(
    fleet: Fleet, store: Proxy, make_table: Callable[[], Table]
) -> None:
    other = make_table()
    probed = f"PUT /{fleet.bucket}/PyAnamo/{other.name}/{PROBE}"
    store.behaviour = on(probed, failing("AccessDenied", 403))
    fleet.add([f"{fleet.ledger.script}|0"])
    ended = fleet.start("-t", other.name).wait()
    assert ended.returncode == 3, ended.stderr
    assert f"s3:PutObject on s3://{fleet.bucket}/PyAnamo/{other.name}/*" in ended.stderr
    assert fleet.table.states() == {"todo": 1}


def test_a_worker_writes_one_probe_however_many_processes_it_has(
    fleet: Fleet, store: Proxy
) -> None:
    ended = fleet.start("-i", "3", "-k", "Logs of mine").wait()
    assert ended.returncode == 0, ended.stderr
    folder = f"/{fleet.bucket}/Logs%2520of%2520mine/{fleet.table.name}"
    assert list(store.operations) == [f"PUT {folder}/{PROBE}"]
    assert store.operations.total() == 1
