"""The code stays easy to enter: short modules and functions, nothing twice, a name a thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ANAMO = Path(__file__).parents[2] / "anamo"
MODULES = sorted(ANAMO.rglob("*.py"))

RUN = 10
"""Lines that may not stand twice, one after another; blank ones do not count."""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ANAMO)))
def test_a_module_and_its_functions_are_short(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= 400
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    long = [each.name for each in functions if (each.end_lineno or 0) - each.lineno >= 60]
    assert long == []


def test_every_room_says_what_it_is_for_and_what_it_may_import() -> None:
    for room in ANAMO.glob("*/**/__init__.py"):
        assert "May import" in (ast.get_docstring(ast.parse(room.read_text())) or ""), room


def test_no_run_of_ten_lines_stands_twice() -> None:
    places: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for module in MODULES:
        stripped = (line.strip() for line in module.read_text().splitlines())
        lines = [(number, line) for number, line in enumerate(stripped, 1) if line]
        for begin in range(len(lines) - RUN + 1):
            run = lines[begin : begin + RUN]
            text = tuple(line for _, line in run)
            places[text].append(f"{module.relative_to(ANAMO)}:{run[0][0]}")
    assert [found for found in places.values() if len(found) > 1] == []


def test_no_two_classes_have_the_same_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(module.relative_to(ANAMO)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
