"""The stand-in for AWS Batch does what AWS Batch does."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from anamo.aws.metadata import InstanceMetadata
from tests.fleet.batch import FAILED, SUCCEEDED, Batch, Definition, Ended, Job, definition, matches
from tests.support.environment import environment
from tests.support.scripts import Scripts
from tests.support.waiting import eventually

VALUES = {"TableName": "Testing", "Bucket": "logs", "AWS::Region": "us-east-1"}
WORKER = definition("JobDefinition", VALUES)
GATE = definition("GateDefinition", VALUES)


def scripted(script: str, like: Definition = WORKER) -> Definition:
    """A definition whose jobs run a shell script instead."""
    return Definition([script], {}, like.attempts, like.rules)


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    """Child processes that reach no server."""
    nowhere = "http://127.0.0.1:9"
    home = tmp_path / "home"
    home.mkdir()
    with Scripts(environment(home, dynamodb=nowhere, s3=nowhere), tmp_path) as scripts:
        yield scripts


@pytest.fixture
def batch(scripts: Scripts) -> Iterator[Batch]:
    """The stand-in, with shell scripts in place of images."""
    with Batch(scripts, ("bash", "-c")) as batch:
        yield batch


def codes(job: Job) -> Sequence[int | None]:
    return [attempt.exit_code for attempt in job.attempts]


def test_command_lines_are_those_of_the_template() -> None:
    chosen = WORKER.words({"items": "3", "walltime": "5"})
    assert chosen[:6] == ["-t", "Testing", "-b", "logs", "-r", "us-east-1"]
    assert chosen[chosen.index("-i") + 1] == "3"
    assert chosen[chosen.index("-w") + 1] == "5"
    gate = GATE.words({"table": "Call"})
    assert gate == ["status", "-t", "Call", "-r", "us-east-1", "--check", "--wait"]


@pytest.mark.parametrize(
    ("ended", "worker", "gate"),
    [
        (Ended(75), True, False),
        (Ended(7), False, False),
        (Ended(1), False, False),
        (Ended(3), False, False),
        (Ended(137, "OutOfMemoryError: Container killed due to memory usage"), False, False),
        (Ended(None, "", "Host EC2 (instance i-1) terminated."), True, False),
        (Ended(None, "CannotPullContainerError: not found"), True, True),
        (Ended(None, "", "Task failed to start"), True, True),
    ],
)
def test_the_templates_rules_are_tried_in_their_order(
    ended: Ended, worker: bool, gate: bool
) -> None:
    assert WORKER.retries(ended) == worker
    assert GATE.retries(ended) == gate


def test_the_first_rule_that_fits_decides_and_without_one_the_job_is_retried() -> None:
    rules = [
        {"OnExitCode": "1*", "OnStatusReason": "Essential*", "Action": "exit"},
        {"OnExitCode": "12", "Action": "RETRY"},
        {"OnExitCode": "2", "Action": "EXIT"},
    ]
    tried = Definition([], {}, 3, rules)
    retried = {code: tried.retries(Ended(code)) for code in (1, 12, 2, 3)}
    assert retried == {1: False, 12: False, 2: False, 3: True}
    assert tried.retries(Ended(12, status_reason="Another"))
    assert not matches("Host", "Host EC2")


def test_an_array_has_succeeded_if_all_its_children_have(batch: Batch) -> None:
    good = batch.submit(scripted("true"), size=5)
    bad = batch.submit(scripted("[[ $AWS_BATCH_JOB_ARRAY_INDEX != 3 ]]"), size=5)
    batch.run()
    assert (good.status, bad.status) == (SUCCEEDED, FAILED)
    assert [job.status == FAILED for job in bad.jobs] == [False, False, False, True, False]
    assert codes(bad.jobs[3]) == [1]


def test_a_job_knows_who_it_is(batch: Batch, tmp_path: Path) -> None:
    script = f'env > "{tmp_path}/$AWS_BATCH_JOB_ID-$AWS_BATCH_JOB_ATTEMPT"; '
    array = batch.submit(scripted(script + "((AWS_BATCH_JOB_ATTEMPT > 1)) || exit 75"), size=2)
    single = batch.submit(scripted(script))
    batch.run()
    assert [codes(job) for job in array.jobs] == [[75, 0], [75, 0]]
    said = (tmp_path / f"{array.jobs[1].id}-2").read_text()
    assert "AWS_BATCH_JOB_ARRAY_INDEX=1\n" in said
    assert array.jobs[1].id.endswith(":1")
    said = (tmp_path / f"{single.jobs[0].id}-1").read_text()
    assert "AWS_BATCH_JOB_ARRAY_INDEX" not in said


def test_a_job_has_ten_attempts_at_most(batch: Batch) -> None:
    job = batch.submit(scripted("exit 75"))
    batch.run()
    assert job.status == FAILED
    assert codes(job.jobs[0]) == [75] * 10


def test_a_host_that_is_taken_away_takes_all_processes_and_the_jobs_start_elsewhere(
    batch: Batch, tmp_path: Path
) -> None:
    (tmp_path / "started").touch()
    script = (
        f'echo $$ >> "{tmp_path}/started"; ((AWS_BATCH_JOB_ATTEMPT > 1)) && exit; '
        f'setsid sleep 600 & echo $! >> "{tmp_path}/started"; wait'
    )
    array = batch.submit(scripted(script), size=2)
    batch.step()
    eventually(lambda: (tmp_path / "started").read_text().count("\n") == 4, 60)
    pids = [int(pid) for pid in (tmp_path / "started").read_text().split()]
    (host,) = batch.hosts
    batch.take_away(host)
    eventually(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids), 60)
    batch.run()
    assert array.status == SUCCEEDED
    for job in array.jobs:
        assert codes(job) == [None, 0]
        assert job.attempts[0].status_reason == f"Host EC2 (instance {host.name}) terminated."


def test_what_a_job_leaves_behind_ends_with_its_container(batch: Batch, tmp_path: Path) -> None:
    job = batch.submit(scripted(f'setsid sleep 600 & echo $! > "{tmp_path}/left"'))
    batch.run()
    assert job.status == SUCCEEDED
    pid = (tmp_path / "left").read_text().strip()
    eventually(lambda: not Path(f"/proc/{pid}/cmdline").exists(), 60)


def test_a_notice_comes_before_its_host_goes(batch: Batch) -> None:
    job = batch.submit(scripted("((AWS_BATCH_JOB_ATTEMPT > 1)) || exec sleep 600"))
    batch.step()
    (host,) = batch.hosts
    metadata = InstanceMetadata(host.environment)
    assert metadata.get("latest/meta-data/instance-id") == host.name
    assert metadata.get("latest/meta-data/spot/instance-action") is None
    host.announce(2)
    notice = json.loads(metadata.get("latest/meta-data/spot/instance-action") or "")
    assert notice["action"] == "terminate"
    later = batch.submit(scripted("exec sleep 600"))
    batch.step()
    # No further job on an instance that has its notice
    assert later.jobs[0].host is not host
    batch.terminate(later.jobs[0])
    batch.run()
    assert codes(job.jobs[0]) == [None, 0]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exec sleep 600", 143), ("trap '' TERM; touch ready; while :; do sleep 1; done", 137)],
)
def test_a_job_that_is_terminated_has_the_stop_timeout_and_no_further_attempt(
    scripts: Scripts, tmp_path: Path, script: str, code: int
) -> None:
    with Batch(scripts, ("bash", "-c"), stop_timeout=1) as batch:
        job = batch.submit(scripted(script))
        batch.step()
        if code == 128 + signal.SIGKILL:
            eventually((tmp_path / "ready").exists, 60)
        batch.terminate(job.jobs[0])
        batch.run()
    assert job.status == FAILED
    assert codes(job.jobs[0]) == [code]


def test_a_job_starts_after_those_it_depends_on_and_only_if_they_succeeded(
    batch: Batch, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    first = batch.submit(scripted(f"sleep 0.$RANDOM; echo first >> {ledger}"), size=3)
    gate = batch.submit(scripted(f"echo gate >> {ledger}", GATE), after=[first])
    second = batch.submit(scripted(f"echo second >> {ledger}"), size=2, after=[gate])
    bad = batch.submit(scripted("false"), after=[first])
    never = batch.submit(scripted(f"echo never >> {ledger}"), size=2, after=[bad, gate])
    nor_this = batch.submit(scripted(f"echo never >> {ledger}"), after=[never])
    batch.run()
    assert ledger.read_text().split() == ["first"] * 3 + ["gate"] + ["second"] * 2
    assert [each.status for each in (gate, second, bad, never, nor_this)] == [
        *(SUCCEEDED, SUCCEEDED),
        *(FAILED, FAILED, FAILED),
    ]
    assert all(job.attempts == [] for job in never.jobs)


def test_an_instance_has_room_for_so_many_jobs(batch: Batch) -> None:
    batch.submit(scripted("exec sleep 600"), size=5)
    batch.step()
    assert [len(host.jobs) for host in batch.hosts] == [2, 2, 1]
    for job in batch.running():
        assert job.running
        assert os.getpgid(job.running.pid) == job.running.pid
        batch.terminate(job)
    batch.run()
