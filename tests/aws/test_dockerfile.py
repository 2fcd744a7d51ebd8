"""The Dockerfiles: linted, and their steps run; no Docker engine is needed."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.image import Image, ImpossibleError, base
from tests.support.scripts import ROOT, Scripts
from tests.support.table import Table
from tests.support.tibanna_job import JOB, TibannaRun, need_tibanna, tibanna_run
from tests.support.waiting import eventually

DOCKERFILE = ROOT / "aws" / "Dockerfile"
FOR_TIBANNA = ROOT / "aws" / "tibanna" / "Dockerfile"


def lint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    hadolint = Path(sys.executable).parent / "hadolint"
    return subprocess.run(
        [str(hadolint), "--failure-threshold=style", str(dockerfile)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("dockerfile", [DOCKERFILE, FOR_TIBANNA], ids=["worker", "tibanna"])
def test_the_linter_has_nothing_to_say(dockerfile: Path) -> None:
    linted = lint(dockerfile)
    assert (linted.returncode, linted.stdout, linted.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ('ENTRYPOINT ["python", "/opt/pyanamo/pyanamo.py"]', "ENTRYPOINT python a.py", "DL3025"),
        ("USER 1000:1000", "USER root", "DL3002"),
        ("python:3.13-slim", "python", "DL3006"),
        ("--no-cache-dir ", "", "DL3042"),
    ],
)
def test_the_linter_sees_what_is_wrong(tmp_path: Path, good: str, bad: str, rule: str) -> None:
    text = DOCKERFILE.read_text()
    assert good in text
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(text.replace(good, bad))
    linted = lint(wrong)
    assert linted.returncode != 0
    assert rule in linted.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image, built."""
    try:
        with base(tmp_path_factory.mktemp("image")) as image:
            image.build(DOCKERFILE)
            yield image
    except ImpossibleError as why:
        pytest.skip(f"the Dockerfile's steps cannot be run here: {why}")


@pytest.fixture
def variables(scripts: Scripts) -> dict[str, str]:
    """What a container's environment says of the account."""
    wanted = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "PYTEST_CHILD"}
    wanted |= {"AWS_EC2_METADATA_DISABLED", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_S3"}
    return {name: value for name, value in scripts.environment.items() if name in wanted}


def test_the_image_shows_its_help_and_is_nobody_special(
    image: Image, run: Callable[..., Any], variables: dict[str, str]
) -> None:
    shown = run(*image.command(variables=variables))
    assert shown.returncode == 0, shown.stderr
    assert "usage: pyanamo.py" in shown.stdout
    assert run(*image.inside("id", "-u")).stdout == "1000\n"
    assert run(*image.inside("id", "-un")).stdout == "pyanamo\n"
    assert run(*image.inside("pwd")).stdout == "/home/pyanamo\n"


def test_the_image_imports_and_works(
    image: Image, run: Callable[..., Any], variables: dict[str, str], table: Table, bucket: str
) -> None:
    importer = ["python", "/opt/pyanamo/import-items-generic.py", "-t", table.name, "-d", "-"]
    imported = run(
        *image.inside(*importer, "-s", "|", "-n", ",", variables=variables),
        stdin=f"Task-1|{table.name}|seq|1,2\n",
    )
    assert imported.returncode == 0, imported.stderr
    worked = run(*image.command("-t", table.name, "-b", bucket, variables=variables))
    assert worked.returncode == 0, worked.stderr
    assert table.states() == Counter(done=1)


def test_a_signal_to_the_container_reaches_the_worker(
    image: Image, scripts: Scripts, variables: dict[str, str], table: Table, bucket: str
) -> None:
    importer = ("import-items-generic.py", "-t", table.name, "-d", "-", "-s", "|")
    assert scripts.run(*importer, stdin=f"A|{table.name}|sleep 60\n").returncode == 0
    worker = scripts.start(*image.command("-t", table.name, "-b", bucket, variables=variables))
    eventually(lambda: table.states() == Counter(locked=1))
    worker.signal(signal.SIGTERM)
    assert worker.wait().returncode == 143
    assert table.states() == Counter(todo=1)


@pytest.fixture
def for_tibanna(image: Image) -> Image:
    """The image for Tibanna, on top of the worker's."""
    made = copy.copy(image)
    made.build(FOR_TIBANNA)
    return made


@pytest.fixture
def tibanna_job(table: Table, bucket: str, tmp_path: Path) -> TibannaRun:
    """What Tibanna runs for the job description, with this table and bucket."""
    need_tibanna()
    job = json.loads(JOB.read_text())
    job["args"]["input_env"] |= {"TABLE": table.name, "BUCKET": bucket, "TMPDIR": "/tmp/of/tasks"}
    return tibanna_run(job, tmp_path)


def as_tibanna_does(image: Image, job: TibannaRun, variables: dict[str, str]) -> list[str]:
    """`docker run -w /data1/shell -e … IMAGE sh -c "$COMMAND"`; the folder belongs to root."""
    image.work_in("/data1/shell")
    return image.command("sh", "-c", job.command, variables={**variables, **job.variables})


def test_tibanna_finishes_a_table(
    for_tibanna: Image,
    tibanna_job: TibannaRun,
    scripts: Scripts,
    variables: dict[str, str],
    table: Table,
) -> None:
    importer = ("import-items-generic.py", "-t", table.name, "-d", "-", "-s", "|", "-n", ",")
    assert (
        scripts.run(*importer, stdin=f"A|{table.name}|seq|1,2\nB|{table.name}|false|1\n").returncode
        == 0
    )
    command = as_tibanna_does(for_tibanna, tibanna_job, variables)
    worked = scripts.run(*command)
    # --fail-ok: another code would end the runs that depend on this one
    assert worked.returncode == 0, worked.stderr
    assert table.states() == Counter(done=1, failed=1)


def test_the_image_of_workers_takes_the_shell_for_a_command(
    image: Image, tibanna_job: TibannaRun, scripts: Scripts, variables: dict[str, str]
) -> None:
    worked = scripts.run(*as_tibanna_does(copy.copy(image), tibanna_job, variables))
    assert worked.returncode == 2
    assert "there is no command 'sh'" in worked.stderr


def test_what_the_image_is_made_of_is_mounted_for_it_alone(
    image: Image, run: Callable[..., Any]
) -> None:
    assert "python-upper" in run(*image.inside("cat", "/proc/self/mountinfo")).stdout
    assert "python-upper" not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.long
def test_a_dockerfile_that_forgets_a_file_makes_no_image(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    (tmp_path / "context").mkdir()
    forgetful = tmp_path / "context" / "Dockerfile"
    forgetful.write_text(DOCKERFILE.read_text().replace("COPY --chmod=755 anamo ./anamo\n", ""))
    forgetful.with_name("Dockerfile.dockerignore").touch()
    try:
        with base(tmp_path) as image:
            image.build(forgetful)
            shown = run(*image.command(variables={}))
    except ImpossibleError as why:
        pytest.skip(f"the Dockerfile's steps cannot be run here: {why}")
    assert shown.returncode != 0
    assert "No module named 'anamo'" in shown.stderr
