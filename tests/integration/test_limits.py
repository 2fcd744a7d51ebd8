"""Limits: wall time, time-outs, failures in a row, and the notice of a Spot machine's end."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support import workflow
from tests.support.fleet import Fleet
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.waiting import eventually


def test_past_the_wall_time_what_runs_ends_and_the_rest_goes_back(fleet: Fleet) -> None:
    fleet.add([f"{fleet.ledger.script}|10,0,0"] * 2, "-n", ",")
    # Long enough for a worker to start on a busy machine, and shorter than its first task
    ended = fleet.start("-w", "6s").wait()
    assert ended.returncode == 75, ended.stderr
    assert "the wall time is over; no further task is started" in ended.stderr
    assert len(fleet.ledger.starts()) == 1
    assert fleet.table.states() == {"todo": 2}
    begun = next(item for item in fleet.table.items() if "Ended_Tasks" in item)
    assert begun["TaskScript"]["Task_0"]["Status"] == "done"
    assert begun["Attempts"] == 0


def test_a_task_past_its_timeout_is_stopped_and_fails(fleet: Fleet) -> None:
    fleet.add(["sleep 600", "true"])
    ended = fleet.start("--timeout", "1", "--grace", "1").wait()
    assert ended.returncode == 1, ended.stderr
    assert fleet.table.states() == {"done": 1, "failed": 1}
    (late,) = [item for item in fleet.table.items() if item["ItemState"] == "failed"]
    assert late["Log"]["Status"] == "Execution Failed: timed out"


def test_a_task_that_exits_well_when_timed_out_has_failed(fleet: Fleet) -> None:
    fleet.add(["bash -c 'trap \"exit 0\" TERM; sleep 600 & wait'"])
    assert fleet.start("--timeout", "1").wait().returncode == 1
    assert fleet.table.items()[0]["Log"]["Status"] == "Execution Failed: timed out"


def test_after_so_many_failures_in_a_row_nothing_more_is_begun(fleet: Fleet) -> None:
    fleet.add(["false"] * 40)
    ended = fleet.start("--max-failures", "3", "-i", "2").wait()
    assert ended.returncode == 75
    assert "in a row failed (--max-failures); no further task is started" in ended.stderr
    states = fleet.table.states()
    # Those under way when the third one failed still end
    assert 3 <= states["failed"] <= 20
    assert states["todo"] == 40 - states["failed"]


def test_a_success_between_failures_starts_the_count_again(fleet: Fleet) -> None:
    fleet.add(["bash -c 'test $((PYANAMO_ITEM_ID % 2)) = 0'"] * 20)
    ended = fleet.start("--max-failures", "20").wait()
    assert fleet.table.states()["todo"] == 0, ended.stderr


class Metadata(BaseHTTPRequestHandler):
    """EC2's instance metadata service, version 2: nothing without a token."""

    notice: str | None = None
    tokens = 0

    def do_PUT(self) -> None:
        """Give a token."""
        type(self).tokens += 1
        self._reply(200, "token")

    def do_GET(self) -> None:
        """Give what is asked for."""
        known = {"/latest/meta-data/instance-id": "i-0123456789"}
        known["/latest/meta-data/spot/instance-action"] = type(self).notice or ""
        text = known.get(self.path, "")
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            self._reply(401, "")
        else:
            self._reply(200 if text else 404, text)

    def _reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def metadata(fleet: Fleet) -> Iterator[type[Metadata]]:
    """A metadata service that the fleet's workers may ask."""
    handler = type("Service", (Metadata,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        fleet.environment |= {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        }
        yield handler
        server.shutdown()


def test_a_spot_notice_stops_claims_and_no_task(fleet: Fleet, metadata: type[Metadata]) -> None:
    fleet.add([f"{fleet.ledger.script}|0,600"] * 3, "-n", ",")
    worker = fleet.start()
    eventually(lambda: len(fleet.ledger.starts()) == 2)
    metadata.notice = json.dumps({"action": "terminate", "time": "2030-01-01T00:00:00Z"})
    eventually(lambda: "EC2 will terminate this Spot instance at 2030" in worker.stderr)
    assert fleet.table.states() == {"locked": 1, "todo": 2}
    worker.signal(signal.SIGTERM)
    assert worker.wait().returncode == 143
    assert fleet.table.states() == {"todo": 3}
    assert len(fleet.ledger.starts()) == 2


def test_a_worker_stops_before_its_machine_is_taken_away(
    fleet: Fleet, metadata: type[Metadata]
) -> None:
    fleet.add([f"{fleet.ledger.script}|0,600"], "-n", ",")
    worker = fleet.start("--grace", "1")
    eventually(lambda: len(fleet.ledger.starts()) == 2, 60)
    soon = datetime.fromtimestamp(time.time() + 20, timezone.utc)
    metadata.notice = json.dumps({"action": "terminate", "time": f"{soon:%Y-%m-%dT%H:%M:%SZ}"})
    ended = worker.wait()
    assert ended.returncode == 75, ended.stderr
    assert "stopping before the Spot instance is reclaimed" in ended.stderr
    (item,) = fleet.table.items()
    assert (item["ItemState"], item["Attempts"], item["Ended_Tasks"]) == ("todo", 0, 1)


def test_an_item_that_was_to_be_abandoned_is_released_if_the_stop_comes_first(
    fleet: Fleet, database: Proxy, metadata: type[Metadata]
) -> None:
    """DynamoDB does not take its failure, and then the instance is to be reclaimed."""
    abandoning = threading.Event()

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        if request.operation == "UpdateItem" and "abandoned after" in request.body.decode():
            abandoning.set()
            return None
        return forward(request)

    database.behaviour = behaviour
    abandoned = workflow.item("Fatal", TaskScript="true", Attempts=9)
    workflow.put_all(fleet.table.client, fleet.table, [abandoned])
    worker = fleet.start("--max-attempts", "2", "--grace", "1")
    eventually(abandoning.is_set, 60)
    soon = datetime.fromtimestamp(time.time() + 17, timezone.utc)
    metadata.notice = json.dumps({"action": "terminate", "time": f"{soon:%Y-%m-%dT%H:%M:%SZ}"})
    ended = worker.wait()
    assert ended.returncode == 75, ended.stderr
    assert "released; its end could not be recorded" in ended.stderr
    assert fleet.table.states() == {"todo": 1}


def test_the_instance_id_is_ec2s(fleet: Fleet, metadata: type[Metadata]) -> None:
    fleet.add(["true"])
    fleet.start().wait()
    assert fleet.table.items()[0]["InstanceID"] == "i-0123456789"
    assert metadata.tokens > 0


def test_the_instance_id_is_the_batch_jobs_where_there_is_one(fleet: Fleet) -> None:
    fleet.environment["AWS_BATCH_JOB_ID"] = "1234-abcd:17"
    fleet.add(["true"])
    fleet.start().wait()
    assert fleet.table.items()[0]["InstanceID"] == "1234-abcd-17"


def test_with_metadata_disabled_nobody_is_asked(fleet: Fleet, metadata: type[Metadata]) -> None:
    fleet.environment["AWS_EC2_METADATA_DISABLED"] = "true"
    fleet.add(["true"])
    assert fleet.start().wait().returncode == 0
    assert metadata.tokens == 0
