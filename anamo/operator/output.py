"""Data on stdout: tables for people, JSON and TSV for scripts.

Guaranteed: whatever comes from a workflow table goes through `printable` before a terminal sees it;
in JSON all that is not ASCII is escaped, in TSV tabs and line breaks are.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from anamo.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

UNBOUNDED = 10_000
"""Columns where there is no terminal: lines are as long as what stands in them."""


def console() -> "Console":
    """Where tables for people go."""
    # Here and not above: rich takes a tenth of a second, which --output json need not wait for
    from rich.console import Console

    return Console(
        highlight=False,
        markup=False,
        emoji=False,
        width=None if sys.stdout.isatty() else UNBOUNDED,
        soft_wrap=False,
    )


def show(shown: "RenderableType") -> None:
    """Print something for people, without trailing blanks where there is no terminal."""
    target = console()
    if target.is_terminal:
        target.print(shown)
        return
    with target.capture() as captured:
        target.print(shown)
    for line in captured.get().splitlines():
        print(line.rstrip())


def columns(
    *headings: str, right: Sequence[str] = (), wide: Sequence[str] = (), gap: int = 2
) -> "Table":
    """A table without rows. right: headings of numbers. wide: of columns that may be wrapped.
    gap: blanks between columns.
    """
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for heading in headings:
        made.add_column(
            printable(heading),
            justify="right" if heading in right else "left",
            no_wrap=heading not in wide,
            overflow="fold",
        )
    return made


def text(value: object, style: str = "") -> "RenderableType":
    """A cell, which obeys nothing that stands in it."""
    from rich.text import Text

    return Text(printable(str(value)), style=style)


def as_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2))


def as_tsv(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a line of headings, then a line a row."""
    for row in (headings, *rows):
        print("\t".join(printable(str(value)) for value in row))
