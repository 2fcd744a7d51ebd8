"""The wheel: what is in it, and what it does where no checkout is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from anamo import __version__
from tests.support.environment import environment
from tests.support.scripts import ROOT

INDEX = "workflow-gsi-index.json"
FOR_A_WHEEL = ("LICENSE", "README.md", "pyproject.toml", "requirements.txt", INDEX)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(*command: str | Path, **variables: str) -> str:
    """Run a command; what it said on stdout."""
    ended = subprocess.run(
        command,
        env={**environment(Path(os.devnull), dynamodb="", s3=""), **variables},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "checkout"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "anamo", copy / "anamo", symlinks=True, ignore=ignored)
    for name in FOR_A_WHEEL:
        shutil.copy(ROOT / name, copy)
    build = ("wheel", "--quiet", "--no-index", "--no-build-isolation", "--no-deps")
    run(*PIP, *build, f"--wheel-dir={folder}", copy)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed in, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    run(*PIP, "install", "--quiet", "--no-index", "--no-deps", f"--target={folder}", wheel)
    return folder


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == {
        str(path.relative_to(ROOT))
        for path in (ROOT / "anamo").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_the_index_file_that_is_at_the_top(wheel: Path, installed: Path) -> None:
    packed = zipfile.ZipFile(wheel).read(f"anamo/{INDEX}")
    assert packed == (ROOT / INDEX).read_bytes()
    code = "from anamo.aws.table_admin import INDEX_FILE; print(INDEX_FILE)"
    found = run(sys.executable, "-c", code, PYTHONPATH=str(installed)).strip()
    assert found == str(installed / "anamo" / INDEX)


def test_the_wheel_says_what_requirements_and_package_say(wheel: Path) -> None:
    metadata = message_from_bytes(
        zipfile.ZipFile(wheel).read(f"pyanamo-{__version__}.dist-info/METADATA")
    )
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = {str(Requirement(line)) for line in lines if line and not line.startswith("#")}
    assert wanted
    said = metadata.get_all("Requires-Dist", [])
    assert {str(Requirement(line)) for line in said} == wanted
    assert (metadata["Version"], metadata["Requires-Python"]) == (__version__, ">=3.10")


def test_the_installed_commands_run_and_are_called_by_their_names(installed: Path) -> None:
    def said(name: str, *words: str) -> str:
        return run(installed / "bin" / name, *words, PYTHONPATH=str(installed))

    assert said("pyanamo", "--version") == f"PyAnamo {__version__}\n"
    assert said("pyanamo", "--help").startswith("usage: pyanamo [-h]")
    assert "\n  pyanamo -t Testing " in said("pyanamo", "--help")
    assert "\n  pyanamo status -t Align " in said("pyanamo", "status", "--help")
    assert said("pyanamo-import", "--help").startswith("usage: pyanamo-import [-h]")
    assert "\n  pyanamo-import -t Testing " in said("pyanamo-import", "--help")
    for command in (["pyanamo"], ["pyanamo", "requeue"], ["pyanamo-import"]):
        assert ".py" not in said(*command, "--help")


def test_tasks_of_an_installed_worker_find_the_index_file(installed: Path) -> None:
    code = "from anamo.cli.worker_command import program_folder; print(program_folder())"
    folder = Path(run(sys.executable, "-c", code, PYTHONPATH=str(installed)).strip())
    assert folder == installed / "anamo"
    assert (folder / INDEX).is_file()
    assert Path(run(sys.executable, "-c", code, PYTHONPATH=str(ROOT)).strip()) == ROOT
