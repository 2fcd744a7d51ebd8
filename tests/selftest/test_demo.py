"""./demo.sh --shell: a shell on local servers, and nothing is left of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.scripts import ROOT, Scripts

TYPED = """\
for i in {1..4}; do echo "Task-${i}|${PYANAMO_TABLE}|seq|${i},2,3"; done > tasks.txt
python import-items-generic.py -t ${PYANAMO_TABLE} -d tasks.txt -s "|" -n ',' --create-table
python pyanamo.py -t "${PYANAMO_TABLE}" -b "${S3_BUCKET}" -r "${AWS_REGION}"
aws s3 ls "s3://${S3_BUCKET}" --recursive
test "$PYANAMO" = "$PWD" && echo "folder of demo: $PYANAMO"
false
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose virtual environment is there already: that of the tests."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    names = ("demo.sh", "demo", "examples", "tools", "anamo")
    for name in (*names, "pyanamo.py", "import-items-generic.py"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, checkout)
    for source in [*ROOT.glob("*.json"), *ROOT.glob("requirements*.txt")]:
        shutil.copy(source, checkout)
    venv = checkout / ".demo" / "shell"
    venv.mkdir(parents=True)
    for name in ("bin", "lib", "pyvenv.cfg"):
        (venv / name).symlink_to(Path(sys.prefix) / name)
    made_of = "requirements.txt demo/requirements.txt demo/requirements-shell.txt"
    stamp = f'{{ echo "{venv}" && python3 -VV && cat {made_of}; }} | sha256sum'
    path = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (venv / "stamp").open("wb") as file:
        subprocess.run(["bash", "-c", stamp], cwd=checkout, env=path, stdout=file, check=True)
    return checkout


def files(checkout: Path) -> set[Path]:
    """What is in a checkout, outside .demo."""
    return {path for path in checkout.rglob("*") if ".demo" not in path.parts}


def test_every_command_can_be_tried_in_a_shell_that_ends_clean(
    scripts: Scripts, checkout: Path, tmp_path: Path
) -> None:
    there_before = files(checkout)
    command = ("bash", checkout / "demo.sh", "--shell")
    ended = scripts.run(*command, stdin=TYPED, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "table Testing: created" in ended.stderr
    assert "Testing: 4 new items, 0 already there" in ended.stdout
    assert "items: 4 done; tasks: 12 done, 0 failed" in ended.stderr
    assert "PyAnamo/Testing/Task-1/" in ended.stdout
    assert f"folder of demo: {checkout}\n" in ended.stdout
    assert scripts.alive() == []
    # Nothing is left but .demo, and what was typed
    assert there_before | {checkout / "tasks.txt"} == files(checkout)


def test_on_a_terminal_the_shell_has_a_prompt(scripts: Scripts, checkout: Path) -> None:
    terminal = ROOT / "tests" / "support" / "terminal.py"
    typed = 'echo "table: $PYANAMO_TABLE"\nexit 3\n'
    ended = scripts.run(
        sys.executable, terminal, "100", typed, "bash", checkout / "demo.sh", "--shell"
    )
    assert ended.returncode == 0, ended.stdout
    assert "pyanamo demo $" in ended.stdout
    assert "table: Testing" in ended.stdout
    assert scripts.alive() == []


def test_help_says_what_each_flag_does(scripts: Scripts, checkout: Path) -> None:
    ended = scripts.run("bash", checkout / "demo.sh", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "--shell " in ended.stdout
    assert "--keep FOLDER " in ended.stdout


def test_another_flag_is_a_usage_error(scripts: Scripts, checkout: Path) -> None:
    ended = scripts.run("bash", checkout / "demo.sh", "--shall")
    assert (ended.returncode, ended.stdout) == (2, "")
    usage = "usage: ./demo.sh [--shell [COMMAND ...] | --keep FOLDER [COMMAND ...]]\n"
    assert ended.stderr == usage


def test_a_command_runs_where_it_was_typed_and_its_end_is_that_of_the_demo(
    scripts: Scripts, checkout: Path, tmp_path: Path
) -> None:
    command = ("bash", checkout / "demo.sh", "--shell", "sh", "-c", "pwd; exit 7")
    ended = scripts.run(*command, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (7, f"{tmp_path}\n")
    assert scripts.alive() == []


def test_the_account_number_that_readme_asks_for_comes_from_this_machine(
    scripts: Scripts, checkout: Path
) -> None:
    code = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    ended = scripts.run("bash", checkout / "demo.sh", "--shell", "python", "-c", code)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "123456789012\n"


@pytest.mark.long
def test_what_is_kept_is_there_the_next_time(
    scripts: Scripts, checkout: Path, tmp_path: Path
) -> None:
    (checkout / ".demo" / "dynamodb-local-2.9.30").symlink_to(
        (ROOT / ".test" / "dynamodb-local").resolve()
    )
    line = "echo 'A|Kept|seq|1,2' | python {0}/import-items-generic.py -t Kept -d - -s '|' -n ,"
    work = f"{line} --create-table && python {{0}}/pyanamo.py -t Kept -b demo-logs".format(checkout)
    keep = ("bash", checkout / "demo.sh", "--keep", "data")
    first = scripts.run(*keep, "sh", "-c", work, cwd=tmp_path, timeout=180)
    assert first.returncode == 0, first.stderr
    look = ("python", checkout / "pyanamo.py", "logs", "-t", "Kept", "A")
    second = scripts.run(*keep, *look, cwd=tmp_path, timeout=180)
    assert second.returncode == 0, second.stderr
    assert "2" in second.stdout.split()
    assert (tmp_path / "data" / "dynamodb").is_dir()
    assert scripts.alive() == []


@pytest.mark.long
def test_the_workflow_finds_the_variants_that_were_put_into_the_reads(
    scripts: Scripts, checkout: Path, tmp_path: Path
) -> None:
    missing = [name for name in ("bwa", "samtools", "bcftools") if not shutil.which(name)]
    assert not missing, f"there is no {missing[0]}: apt-get install bwa samtools bcftools"
    workflow = checkout / "examples" / "variants" / "run.sh"
    command = ("bash", checkout / "demo.sh", "--shell", workflow, "data")
    ended = scripts.run(*command, cwd=tmp_path, timeout=120)
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"
    for sample in ("S1", "S2", "S3", "S4"):
        assert f"{sample}: all 24 variants\n" in ended.stdout
    # S4 came late; what was done was not done again
    assert ended.stderr.count("done   S1 ") == 3
    assert ended.stderr.count("failed S4 ") == 1
