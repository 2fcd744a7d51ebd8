"""Data on stdout: tables for people, JSON and TSV for scripts.

Guaranteed: whatever comes from a workflow table goes through `printable` before a terminal gets it;
JSON escapes everything that is not ASCII, TSV escapes tabs and line breaks, and a spreadsheet
that opens it takes no cell for a formula.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from anamo.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

UNBOUNDED = 10_000
"""Width in columns if stdout is not a terminal, so that no line is wrapped."""

# A spreadsheet takes quotes at the beginning away, and full-width signs for the others
_FORMULA = re.compile(r'"*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]')

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([Ee][+-]?\d+)?", re.ASCII)


def stdout_console() -> "Console":
    """A console that prints text as it is, without markup or highlighting."""
    # Imported here: rich takes 0.1 s, which --output json does not need
    from rich.console import Console

    return Console(
        highlight=False,
        markup=False,
        emoji=False,
        width=None if sys.stdout.isatty() else UNBOUNDED,
        soft_wrap=False,
    )


def print_rich(shown: "RenderableType") -> None:
    """Print a table or text, without trailing blanks if stdout is not a terminal."""
    console = stdout_console()
    if console.is_terminal:
        console.print(shown)
        return
    with console.capture() as captured:
        console.print(shown)
    for line in captured.get().splitlines():
        print(line.rstrip())


def text_table(
    *headings: str, right: Sequence[str] = (), wrapped: Sequence[str] = (), gap: int = 2
) -> "Table":
    """A table without rows or rules.

    Args:
        headings: One for each column.
        right: Headings of the columns that are aligned right.
        wrapped: Headings of the columns that may be wrapped.
        gap: Blanks between columns.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for heading in headings:
        table.add_column(
            printable(heading),
            justify="right" if heading in right else "left",
            no_wrap=heading not in wrapped,
            overflow="fold",
        )
    return table


def escaped(value: object, style: str = "") -> "RenderableType":
    """Text in which control characters are escaped."""
    from rich.text import Text

    return Text(printable(str(value)), style=style)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2))


def print_tsv(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a line of headings, then a line for each row."""
    for row in (headings, *rows):
        print("\t".join(printable(_inert(str(value))) for value in row))


def _inert(cell: str) -> str:
    """The cell, with an apostrophe before what a spreadsheet would take for a formula: task ids and
    the output of tasks are data, and must not be executed.
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell
