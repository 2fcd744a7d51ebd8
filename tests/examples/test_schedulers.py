"""The files for other schedulers: a tool checks each, and what it starts finishes a table."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.support.fleet import Fleet
from tests.support.scripts import ROOT
from tests.support.waiting import eventually

EXAMPLES = ROOT / "examples"
SLURM = EXAMPLES / "slurm.sbatch"
KUBERNETES = EXAMPLES / "kubernetes.yaml"
ECS = EXAMPLES / "ecs-task.json"
USER_DATA = EXAMPLES / "user-data.sh"
CRONTAB = EXAMPLES / "crontab"

ARRAY = {"SLURM_JOB_ID": "43", "SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "2"}


def command(folder: Path, name: str, script: str) -> None:
    """Put a command of that name into a folder."""
    file = folder / name
    file.write_text(f"#!/bin/bash\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def commands(fleet: Fleet, tmp_path: Path) -> Path:
    """A folder of commands that are found before others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fleet.environment["PATH"] = f"{folder}{os.pathsep}{fleet.scripts.environment['PATH']}"
    return folder


def located(text: str, fleet: Fleet) -> str:
    """An example, with the test's table and bucket in place of its own."""
    return text.replace("Align", fleet.table.name).replace("my-logs", fleet.bucket)


@pytest.mark.parametrize("script", [SLURM, *EXAMPLES.glob("**/*.sh")], ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say_about_the_scripts(script: Path) -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    checked = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


# Slurm


def start_slurm(fleet: Fleet, commands: Path, minutes: float) -> Any:
    """Start an element of the array, as a node of the cluster does."""
    end = f"date --date '{minutes * 60:.0f} seconds' +%Y-%m-%dT%H:%M:%S"
    command(commands, "squeue", f'[[ "$*" == *"--job 40_2"* ]] && {end}')
    command(commands, "scontrol", f'echo "$@" >> {commands}/asked')
    variables = {**fleet.environment, **ARRAY, "PYANAMO": str(ROOT)}
    where = ("-t", fleet.table.name, "-b", fleet.bucket)
    return fleet.scripts.start("bash", SLURM, *where, env=variables)


def asked(commands: Path) -> str:
    """What Slurm was asked for."""
    file = commands / "asked"
    return file.read_text() if file.exists() else ""


def test_a_job_of_slurm_finishes_the_table(fleet: Fleet, commands: Path) -> None:
    fleet.add(["true", "true"])
    ended = start_slurm(fleet, commands, minutes=60).wait()
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == Counter(done=2)
    assert not asked(commands)


def test_a_job_of_slurm_that_leaves_work_is_queued_again_and_no_other(
    fleet: Fleet, commands: Path
) -> None:
    fleet.add(["true"])
    # Its time is over when it starts: it begins nothing
    ended = start_slurm(fleet, commands, minutes=0).wait()
    assert ended.returncode == 75, ended.stderr
    assert asked(commands) == "requeue 40_2\n"


@pytest.mark.parametrize(("minutes", "then"), [(3, "requeue 40_2\n"), (60, "")])
def test_a_job_of_slurm_that_is_stopped_is_queued_again_at_the_end_of_its_time_only(
    minutes: float, then: str, fleet: Fleet, commands: Path
) -> None:
    fleet.add(["sleep 60"])
    job = start_slurm(fleet, commands, minutes)
    eventually(lambda: fleet.table.states() == Counter(locked=1))
    job.signal(signal.SIGTERM)
    assert job.wait().returncode == 143
    assert fleet.table.states() == Counter(todo=1)
    assert asked(commands) == then


# Kubernetes and ECS


def start_container(arguments: list[str], fleet: Fleet) -> Any:
    """Start what the image's entry point does with these arguments."""
    return fleet.scripts.run("pyanamo.py", *(located(word, fleet) for word in arguments))


def test_the_job_of_kubernetes_is_valid_and_finishes_the_table(fleet: Fleet) -> None:
    job = yaml.safe_load(KUBERNETES.read_text())
    # Older schemas require onPodConditions by mistake; in 1.31 nothing of it is beta
    for version in ("1.29", "1.31"):
        kubernetes_validate.validate(job, version, strict=True)
    container = job["spec"]["template"]["spec"]["containers"][0]
    fleet.add(["true", "false"])
    ended = start_container(container["args"], fleet)
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == Counter(done=1, failed=1)


def test_a_misspelt_field_of_kubernetes_is_found() -> None:
    job = yaml.safe_load(KUBERNETES.read_text().replace("podFailurePolicy", "podFailurePolicies"))
    with pytest.raises(kubernetes_validate.ValidationError, match="podFailurePolicies"):
        kubernetes_validate.validate(job, "1.31", strict=True)


def test_kubernetes_starts_a_worker_again_where_there_is_more_to_do() -> None:
    policy = yaml.safe_load(KUBERNETES.read_text())["spec"]["podFailurePolicy"]
    actions = {
        code: rule["action"]
        for rule in policy["rules"]
        for code in rule.get("onExitCodes", {}).get("values", [])
    }
    assert actions == {75: "Ignore", 2: "FailJob", 3: "FailJob"}


def test_the_task_definition_of_ecs_is_valid_and_finishes_the_table(fleet: Fleet) -> None:
    definition = json.loads(ECS.read_text())
    assert faults(definition) == ""
    fleet.add(["true", "false"])
    ended = start_container(definition["containerDefinitions"][0]["command"], fleet)
    assert ended.returncode == 0, ended.stderr
    assert fleet.table.states() == Counter(done=1, failed=1)


def test_a_misspelt_field_of_ecs_is_found() -> None:
    definition = json.loads(ECS.read_text().replace("ephemeralStorage", "ephemeralStorages"))
    assert "ephemeralStorages" in faults(definition)


def faults(definition: dict[str, Any]) -> str:
    """What botocore finds wrong with the parameters of RegisterTaskDefinition."""
    model = ServiceModel(Loader().load_service_model("ecs", "service-2"))
    shape = model.operation_model("RegisterTaskDefinition").input_shape
    assert shape
    return str(ParamValidator().validate(definition, shape).generate_report())


# One machine


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The project as user data fetch it."""
    made = shutil.make_archive(
        str(tmp_path / "pyanamo"), "gztar", ROOT, "requirements.txt", logger=None
    )
    return Path(made)


@pytest.mark.parametrize(("codes", "ends"), [([75, 0], 0), ([1], 1)])
def test_an_instance_works_until_nothing_is_left_and_ends_itself(
    codes: list[int], ends: int, fleet: Fleet, commands: Path, archive: Path, tmp_path: Path
) -> None:
    command(commands, "aws", f"cat {archive}")
    command(commands, "shutdown", f'echo "$@" > {tmp_path}/shutdown')
    command(commands, "sleep", "")
    command(commands, "dnf", f'echo "$@" > {tmp_path}/installed')
    # `-m venv` makes an environment whose python writes down what it is to run
    target = tmp_path / "opt"
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    worker = f"""
echo "$@" >> {tmp_path}/workers
code=$(head -n 1 {tmp_path}/codes); sed -i 1d {tmp_path}/codes; exit "$code"
"""
    command(commands, "worker", worker)
    make = (
        f'mkdir -p "$3/bin"; ln -s {commands}/worker "$3/bin/python"; ln -s /bin/true "$3/bin/pip"'
    )
    command(commands, "python3.12", make)
    script = tmp_path / "user-data.sh"
    script.write_text(located(USER_DATA.read_text(), fleet).replace("/opt/pyanamo", str(target)))
    ended = fleet.scripts.run("bash", script, env=fleet.environment)
    assert ended.returncode == ends, ended.stderr
    started = (tmp_path / "workers").read_text().splitlines()
    assert len(started) == len(codes)
    words = started[0].split()
    assert words[:5] == [f"{target}/pyanamo.py", "-t", fleet.table.name, "-b", fleet.bucket]
    assert (tmp_path / "shutdown").read_text() == "-h now\n"
    assert (tmp_path / "installed").read_text().split()[-1] == "python3.12"


def entries() -> tuple[dict[str, str], list[str]]:
    """The variables and the commands of the crontab."""
    lines = [line for line in CRONTAB.read_text().splitlines() if line and line[0] != "#"]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    commands = [line for line in lines if not re.match(r"[A-Z_]+=", line)]
    return variables, commands


def test_every_line_of_the_crontab_has_a_time_and_no_percent_sign() -> None:
    for line in entries()[1]:
        time = r"(\*|\*/[0-9]+|[0-9]+)"
        assert re.match(rf"{time}( {time}){{4}} \$PYTHON \$PYANAMO/", line), line
        # cron makes a line break of it
        assert "%" not in line


def test_every_command_of_the_crontab_works(fleet: Fleet, tmp_path: Path) -> None:
    variables, lines = entries()
    assert variables.pop("SHELL") == "/bin/sh"
    # Cron replaces no variables in variables
    assert variables["PYTHON"] == f"{variables['PYANAMO']}/venv/bin/python"
    variables |= {"PYTHON": sys.executable, "PYANAMO": str(ROOT), "BUCKET": fleet.bucket}
    fleet.add(["true", "false"])
    for line in lines:
        words = located(line.split(maxsplit=5)[5], fleet).replace("Call", fleet.table.name)
        ended = fleet.scripts.run("/bin/sh", "-c", words, env=variables)
        logs = "".join(log.read_text() for log in (tmp_path / "home").glob("*.log"))
        assert ended.returncode in (0, 1), f"{words}\n{ended.stderr}{logs}"
    assert fleet.table.states() == Counter(done=1, todo=1)
    assert (tmp_path / "home" / "status.html").exists()
