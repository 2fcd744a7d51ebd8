"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from anamo.cli import import_command, operator_commands, worker_command
from anamo.cli.arguments import DEFAULT_PREFIX, Parser
from anamo.cli.main import ExitStatus
from anamo.core.item import State
from anamo.core.transitions import TRANSITIONS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def section(title: str, text: str = README) -> str:
    """What stands under a heading."""
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its head."""
    table = re.search(r"^\|.*\n\|[-|]+\n((?:\|.*\n?)+)", text, re.MULTILINE)
    assert table
    lines = table[1].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


COMMAND_LINES = [
    ("pyanamo.py", worker_command.parser, worker_command.ORIGINAL_FLAGS),
    ("import-items-generic.py", import_command.parser, import_command.ORIGINAL_FLAGS),
]


@pytest.mark.parametrize(("script", "parser", "original"), COMMAND_LINES)
def test_the_flags_are_those_of_the_command_line(
    script: str, parser: Callable[[], Parser], original: Mapping[str, str]
) -> None:
    table = rows(section("Flags").split(f"`{script}`")[1])
    documented = {tuple(re.findall(r"`([^`]+)`", cells[0])): cells[1] for cells in table}
    assert len(documented) == len(table), "a flag has two rows"
    actions = {
        tuple(action.option_strings): action for action in parser().actions if action.dest != "help"
    }
    assert set(documented) == set(actions)
    # A paragraph below each script's table names the original's flags
    below = section("Flags").split(f"`{script}`")[1]
    named = below.split("The long flags of the original PyAnamo scripts work too:")[1]
    named = named.split(".\n")[0]
    assert re.findall(r"`(--\w+)`", named) == list(original)
    # -b may say the prefix too, so that the parser itself has no default for -k
    standing_in = {"bucket_key": DEFAULT_PREFIX}
    for flags, default in documented.items():
        value = standing_in.get(actions[flags].dest, actions[flags].default)
        if default and default not in ("none", "from the AWS configuration"):
            assert default == f"{value:g}" if isinstance(value, float) else str(value)
        elif default == "none":
            assert value is None


def test_the_exit_codes_are_those_of_the_code() -> None:
    assert {int(cells[0]) for cells in rows(section("Exit codes"))} == set(ExitStatus)


READS = {ExitStatus.OK, ExitStatus.USAGE, ExitStatus.AWS, ExitStatus.INTERRUPTED}
CHANGES = READS | {ExitStatus.ITEMS_LEFT}
CODES: dict[str, set[ExitStatus]] = {
    "pyanamo.py": set(ExitStatus),
    "import-items-generic.py": CHANGES,
    "pyanamo.py status": READS | {ExitStatus.TASKS_FAILED, ExitStatus.UNFINISHED},
    **{f"pyanamo.py {reads}": READS for reads in ("logs", "plan", "export")},
    **{
        f"pyanamo.py {changes}": CHANGES
        for changes in ("requeue", "retry", "remove", "hold", "resume")
    },
}
"""What each command may end with."""


def test_the_help_of_each_command_has_its_exit_codes_and_no_others() -> None:
    commands = [*operator_commands.parser("pyanamo.py").commands.values()]
    parsers = [worker_command.parser(), import_command.parser(), *commands]
    named = {
        parser.prog: re.findall(r"(?m)^  (\d+) +\w", parser.format_help()) for parser in parsers
    }
    assert named == {prog: [*map(str, sorted(codes))] for prog, codes in CODES.items()}
    for parser in commands:
        asks = any("--yes" in action.option_strings for action in parser.actions)
        for words in ("answered no", "terminal to ask on"):
            assert (words in parser.format_help()) == asks, parser.prog
    listed = re.findall(r"(?m)^- (\d+): ", README.split("Exit codes of the commands:")[1])
    assert {*map(int, listed)} == set().union(*(CODES[parser.prog] for parser in commands))


def test_the_states_and_where_they_lead_are_those_of_the_transitions() -> None:
    documented = {
        cells[0].strip("`"): set(re.findall(r"`(\w+)`", cells[2] if len(cells) > 2 else ""))
        for cells in rows(section("States"))
    }
    leads = {str(state): set[str]() for state in State}
    for transition in TRANSITIONS:
        for source in transition.sources:
            leads[str(source)] |= {str(target) for target in transition.targets}
    assert documented == leads


def test_every_transition_is_documented() -> None:
    documented = [cells[:2] for cells in rows(section("States and transitions", GUARANTEES))]
    assert documented == [
        [each.name, f"{named(each.sources)} → {named(each.targets)}"] for each in TRANSITIONS
    ]


def named(states: tuple[State, ...]) -> str:
    """States as the documents list them."""
    return ", ".join(map(str, states)) or "none"


def test_every_promise_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", GUARANTEES))
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert len(named) > 15
    assert named <= there


def test_the_state_diagram_has_every_transition() -> None:
    drawn = {
        (source, target, name)
        for source, target, names in re.findall(
            r"^ {4}(\S+) --> (\S+): (.+)$", ARCHITECTURE, re.MULTILINE
        )
        for name in names.split(", ")
    }
    nowhere = ("[*]",)
    known = {
        (str(source), str(target), transition.name.removesuffix(" --force"))
        for transition in TRANSITIONS
        for source in transition.sources or nowhere
        for target in transition.targets or nowhere
    }
    assert drawn == known


def test_the_rooms_are_those_of_the_code() -> None:
    documented = {cells[0].strip("`") for cells in rows(section("Rooms", ARCHITECTURE))}
    assert documented == {init.parent.name for init in (ROOT / "anamo").glob("*/__init__.py")}


@pytest.mark.parametrize(
    "document", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md"))
)
def test_files_that_a_document_names_exist(document: Path) -> None:
    named = set(
        re.findall(r"`((?:anamo|aws|tests|tools|benchmarks|docs)/[\w./-]+)`", document.read_text())
    )
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_commands_are_those_of_the_parsers() -> None:
    made = subprocess.run(
        [sys.executable, "tools/commands.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert made.stdout == (ROOT / "docs" / "commands.md").read_text(), (
        "run python tools/commands.py > docs/commands.md"
    )
