"""The code stays easy to enter: short modules, short functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ANAMO = Path(__file__).parents[2] / "anamo"
MODULES = sorted(ANAMO.rglob("*.py"))


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
    for room in ANAMO.glob("*/__init__.py"):
        assert "May import" in (ast.get_docstring(ast.parse(room.read_text())) or ""), room
