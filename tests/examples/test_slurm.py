"""The job for Slurm, on a real Slurm of this one machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.dynamodb_local import free_port
from tests.support.fleet import Fleet
from tests.support.scripts import ROOT
from tests.support.waiting import eventually

JOB = ROOT / "examples" / "slurm.sbatch"
DAEMONS = ("munged", "slurmctld", "slurmd")

pytestmark = pytest.mark.long

Submit = Callable[..., subprocess.CompletedProcess[str]]


def configuration(folder: Path) -> str:
    """A cluster of one node, which is the machine itself."""
    host = socket.gethostname().partition(".")[0]
    return f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SchedulerType=sched/builtin
SelectType=select/cons_tres
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def daemon(*words: str | Path, env: dict[str, str]) -> Iterator[None]:
    """A daemon that stays in the foreground, ended at the end."""
    silent = subprocess.DEVNULL
    with subprocess.Popen(words, env=env, stdout=silent, stderr=silent) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Slurm that runs; what its commands need in their environment."""
    missing = [name for name in DAEMONS if not shutil.which(name)]
    assert not missing, f"there is no {missing[0]}: apt-get install slurm-wlm munge"
    assert os.geteuid() == 0, "the daemons of Slurm need root"
    folder = tmp_path / "slurm"
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    munge = folder / "munge"
    munge.chmod(0o700)
    (munge / "key").write_bytes(os.urandom(1024))
    (munge / "key").chmod(0o400)
    (folder / "slurm.conf").write_text(configuration(folder))
    env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    options = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]
    options.append(f"--socket={munge}/socket")
    with ExitStack() as stack:
        stack.enter_context(daemon("munged", "--foreground", "--force", *options, env=env))
        eventually((munge / "socket").exists)
        stack.enter_context(daemon("slurmctld", "-D", env=env))
        stack.enter_context(daemon("slurmd", "-D", env=env))
        eventually(lambda: "idle" in asked("sinfo", "--noheader", env=env))
        yield env


def asked(*words: str | Path, env: dict[str, str]) -> str:
    """What a command of Slurm says."""
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def submit(slurm: dict[str, str], fleet: Fleet, tmp_path: Path) -> Submit:
    """Submit the job with these options; what sbatch says."""
    env = {**slurm, **fleet.scripts.environment, "PYANAMO": str(ROOT)}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        words = ["sbatch", "--cpus-per-task=1", *options, str(JOB)]
        where = ["-t", fleet.table.name, "-b", fleet.bucket]
        return subprocess.run(
            [*words, *where], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


def test_slurm_accepts_the_job(submit: Submit) -> None:
    tested = submit("--test-only", "--array=1-2", "--time=0:10:00")
    assert tested.returncode == 0, tested.stderr
    assert "to start at" in tested.stderr


def test_an_array_of_slurm_finishes_the_table(
    submit: Submit, slurm: dict[str, str], fleet: Fleet
) -> None:
    fleet.add(["true"] * 4)
    submitted = submit("--array=1-2", "--time=0:10:00")
    assert submitted.returncode == 0, submitted.stderr
    eventually(lambda: not asked("squeue", "--noheader", env=slurm).strip(), 120)
    assert fleet.table.states() == Counter(done=4)


def test_slurm_queues_what_ended_early_again(
    submit: Submit, slurm: dict[str, str], fleet: Fleet
) -> None:
    fleet.add(["sleep 60"] * 2)
    # The signal comes at once
    submitted = submit("--array=1-2", "--time=0:02:00", "--signal=B:TERM@110")
    assert submitted.returncode == 0, submitted.stderr
    reasons = ("squeue", "--noheader", "--array", "--format=%r")
    eventually(lambda: asked(*reasons, env=slurm).count("BeginTime") == 2, 120)
    assert fleet.table.states() == Counter(todo=2)
