"""A stand-in for AWS Batch: processes in place of containers, groups of them in place of instances.

It does what AWS documents (docs/aws-batch.md has the sources) and reads job definitions, with their
retry strategies, from the real template:

- An array job's children have its id with their index behind it, and their number, index and
  attempt in their environment. It is SUCCEEDED if all of them are.
- A job that fails starts again if its definition says so, under the same id with the attempt
  counted, on whatever instance has room. One attempt runs at a time.
- A job that depends on others starts once all are SUCCEEDED, and is FAILED once one is.
- An instance may be taken away: at once, or after a notice in its metadata service.
- A job that is terminated gets SIGTERM, SIGKILL after the stop timeout, and no further attempt.

Nothing happens but in `step`, which `run` calls until all jobs have ended.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.metadata_service import MetadataServer, metadata_server
from tests.support.scripts import Running, Scripts
from tests.support.stack import resources, section
from tests.support.waiting import eventually

NOTICE = "/latest/meta-data/spot/instance-action"
SUCCEEDED, FAILED = "SUCCEEDED", "FAILED"
WAITING, RUNNABLE, RUNNING = "PENDING", "RUNNABLE", "RUNNING"
EXITED = "Essential container in task exited"


@dataclass(frozen=True)
class Ended:
    """How an attempt ended, in the words of DescribeJobs."""

    exit_code: int | None = None
    reason: str = ""
    status_reason: str = EXITED


@dataclass(frozen=True)
class Definition:
    """What a job definition says of its jobs."""

    command: Sequence[str]
    parameters: Mapping[str, str]
    attempts: int
    rules: Sequence[Mapping[str, str]]

    def words(self, parameters: Mapping[str, str]) -> list[str]:
        """The command line with parameters where Ref::name stands."""
        values = {**self.parameters, **parameters}
        return [
            values[word.removeprefix("Ref::")] if word.startswith("Ref::") else word
            for word in self.command
        ]

    def retries(self, ended: Ended) -> bool:
        """Whether an attempt that ended in this way is followed by another: the first rule decides
        all of whose patterns match; without one the job is retried.
        """
        found = {
            "OnExitCode": "" if ended.exit_code is None else str(ended.exit_code),
            "OnReason": ended.reason,
            "OnStatusReason": ended.status_reason,
        }
        for rule in self.rules:
            patterns = {key: rule[key] for key in found if key in rule}
            if all(matches(pattern, found[key]) for key, pattern in patterns.items()):
                return rule["Action"].upper() == "RETRY"
        return True


def matches(pattern: str, text: str) -> bool:
    """Whether a text is the pattern or, with an asterisk at its end, begins with it."""
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern


def definition(name: str, values: Mapping[str, str]) -> Definition:
    """A job definition of the template.

    Args:
        name: What the template calls it.
        values: What parameters and resources of the template stand for; parameters have defaults.
    """
    defaults = {
        key: str(parameter["Default"])
        for key, parameter in section("Parameters").items()
        if "Default" in parameter
    }
    properties = resources()[name]["Properties"]
    known = {**defaults, **values}
    strategy = properties["RetryStrategy"]
    return Definition(
        command=[resolved(word, known) for word in properties["ContainerProperties"]["Command"]],
        parameters={
            key: resolved(value, known) for key, value in properties.get("Parameters", {}).items()
        },
        attempts=int(strategy["Attempts"]),
        rules=[dict(rule) for rule in strategy["EvaluateOnExit"]],
    )


def resolved(value: Any, known: Mapping[str, str]) -> str:
    """A word of the template: a reference is replaced, the first way of a choice taken."""
    match value:
        case {"Ref": str(name)}:
            return known[name]
        case {"Fn::If": [_, then, _]}:
            return resolved(then, known)
        case _:
            return str(value)


class Host:
    """An instance: the processes on it, and its metadata service."""

    def __init__(self, server: MetadataServer, variables: Mapping[str, str]) -> None:
        self.name = f"i-{uuid.uuid4().hex[:17]}"
        self.environment = {**variables, "AWS_EC2_METADATA_DISABLED": "false"}
        self.jobs: list[Job] = []
        self.ends = float("inf")
        self._server = server
        server.answers["/latest/meta-data/instance-id"] = self.name
        server.answers["/latest/meta-data/instance-life-cycle"] = "spot"

    def announce(self, seconds: float) -> None:
        """Have EC2 say that it takes the instance away in this many seconds, and then do it."""
        self.ends = time.monotonic() + seconds
        when = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        text = f'{{"action": "terminate", "time": "{when:%Y-%m-%dT%H:%M:%SZ}"}}'
        self._server.answers[NOTICE] = text


@dataclass
class Job:
    """A single job, or a child of an array job."""

    id: str
    definition: Definition
    words: Sequence[str]
    index: int | None = None
    status: str = WAITING
    attempts: list[Ended] = field(default_factory=list)
    running: Running | None = None
    host: Host | None = None
    killed_from: float | None = None

    def environment(self) -> dict[str, str]:
        """What AWS Batch sets in its container."""
        variables = {
            "AWS_BATCH_JOB_ID": self.id,
            "AWS_BATCH_JOB_ATTEMPT": str(len(self.attempts) + 1),
        }
        if self.index is not None:
            variables["AWS_BATCH_JOB_ARRAY_INDEX"] = str(self.index)
        return variables


def kill(job: Job) -> None:
    """End all processes of a job, wherever they have gone: what marks them is their environment."""
    mark = f"AWS_BATCH_JOB_ID={job.id}".encode()
    # A process in the middle of an exec shows no environment: one look may miss it
    looks = 0

    def all_killed() -> bool:
        nonlocal looks
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile, or is somebody else's
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        # Stopped first, so that none sees another one end
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        looks = 0 if found else looks + 1
        return looks == 4

    eventually(all_killed, 60)
    if job.running:
        job.running.process.wait()


@dataclass
class Submitted:
    """What `submit` returns: a job of one or, for an array, of many."""

    jobs: list[Job]
    after: Sequence[Submitted]

    @property
    def status(self) -> str:
        """SUCCEEDED if all children are, FAILED if one is and all have ended."""
        states = {job.status for job in self.jobs}
        if states == {SUCCEEDED}:
            return SUCCEEDED
        if states <= {SUCCEEDED, FAILED}:
            return FAILED
        return RUNNING if RUNNING in states else min(states)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in (SUCCEEDED, FAILED)


class Batch:
    """A queue, and instances that come when they are needed.

    Args:
        scripts: Starts the processes.
        program: What comes before the command of a job, as an image's entry point does.
        slots: How many jobs an instance has room for.
        stop_timeout: Seconds from SIGTERM to SIGKILL when a job is terminated.
    """

    def __init__(
        self,
        scripts: Scripts,
        program: Sequence[str],
        slots: int = 2,
        stop_timeout: float = 90,
    ) -> None:
        self.hosts: list[Host] = []
        self._scripts = scripts
        self._program = program
        self._slots = slots
        self._stop_timeout = stop_timeout
        self._submitted: list[Submitted] = []
        self._services = ExitStack()

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the metadata services; processes end with the scripts."""
        self._services.close()

    def submit(
        self,
        definition: Definition,
        size: int | None = None,
        after: Sequence[Submitted] = (),
        parameters: Mapping[str, str] | None = None,
    ) -> Submitted:
        """Submit a job, or an array job of that size, that depends on others."""
        identity = str(uuid.uuid4())
        words = definition.words(parameters or {})
        if size is None:
            jobs = [Job(identity, definition, words)]
        else:
            jobs = [Job(f"{identity}:{k}", definition, words, k) for k in range(size)]
        self._submitted.append(Submitted(jobs, after))
        return self._submitted[-1]

    def running(self) -> list[Job]:
        """The jobs that run."""
        return [job for host in self.hosts for job in host.jobs]

    def take_away(self, host: Host) -> None:
        """End an instance at once, with all that runs on it."""
        self.hosts.remove(host)
        for job in host.jobs:
            assert job.running
            kill(job)
            gone = Ended(status_reason=f"Host EC2 (instance {host.name}) terminated.")
            self._end(job, gone)

    def terminate(self, job: Job) -> None:
        """Terminate a job, as `aws batch terminate-job` does."""
        if job.running:
            job.killed_from = time.monotonic() + self._stop_timeout
            with suppress(ProcessLookupError):
                job.running.signal(signal.SIGTERM)
        else:
            job.status = FAILED

    def step(self) -> None:
        """Notice what has happened since, and start what can be started."""
        for host in [host for host in self.hosts if time.monotonic() > host.ends]:
            self.take_away(host)
        for job in self.running():
            self._look_at(job)
        for submitted in self._submitted:
            self._consider(submitted)

    def run(self, seconds: float = 60, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Go on until every job has ended; fails the test after so many seconds."""

        def all_ended() -> bool:
            self.step()
            meanwhile()
            return all(submitted.ended for submitted in self._submitted)

        eventually(all_ended, seconds)

    def _look_at(self, job: Job) -> None:
        assert job.running
        assert job.host
        code = job.running.process.poll()
        if code is None:
            if job.killed_from is not None and time.monotonic() > job.killed_from:
                kill(job)
            return
        # What it left behind goes with its container
        kill(job)
        job.host.jobs.remove(job)
        self._end(job, Ended(128 - code if code < 0 else code))

    def _end(self, job: Job, ended: Ended) -> None:
        job.running = job.host = None
        job.attempts.append(ended)
        if ended.exit_code == 0:
            job.status = SUCCEEDED
        elif job.killed_from is not None or len(job.attempts) >= job.definition.attempts:
            job.status = FAILED
        else:
            job.status = RUNNABLE if job.definition.retries(ended) else FAILED

    def _consider(self, submitted: Submitted) -> None:
        before = {each.status for each in submitted.after}
        for job in submitted.jobs:
            if job.status == WAITING and FAILED in before:
                job.status = FAILED
            elif job.status == WAITING and before <= {SUCCEEDED}:
                job.status = RUNNABLE
            if job.status == RUNNABLE:
                self._start(job)

    def _start(self, job: Job) -> None:
        host = self._host_with_room()
        environment = {**host.environment, **job.environment()}
        job.running = self._scripts.start(*self._program, *job.words, env=environment)
        job.status, job.host = RUNNING, host
        host.jobs.append(job)

    def _host_with_room(self) -> Host:
        for host in self.hosts:
            # Once it has its notice, the agent takes no more jobs
            if len(host.jobs) < self._slots and host.ends == float("inf"):
                return host
        self.hosts.append(Host(*self._services.enter_context(metadata_server({}))))
        return self.hosts[-1]
