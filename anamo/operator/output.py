"""Data on stdout: tables for people, JSON and TSV for scripts.

Guaranteed: whatever comes from a workflow table goes through `printable` before a terminal gets it;
JSON escapes everything that is not ASCII, TSV escapes tabs and line breaks, and a spreadsheet
that opens it takes no cell for a formula.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from anamo.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Column, Table

UNBOUNDED = 10_000
"""Width in columns if stdout is neither a terminal nor COLUMNS set, so that no line is wrapped."""

# A spreadsheet drops quotes at the beginning, and takes full-width signs for ordinary ones
_FORMULA = re.compile(r'"*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]')

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([Ee][+-]?\d+)?", re.ASCII)


def stdout_console() -> "Console":
    """A console that prints text as it is, without markup or highlighting."""
    # Imported here: rich takes 0.1 s, which --output json does not need
    from rich.console import Console

    class StdoutConsole(Console):
        def on_broken_pipe(self) -> None:
            # Not rich's own exit with 1, which means something else here
            raise BrokenPipeError

    return StdoutConsole(
        highlight=False,
        markup=False,
        emoji=False,
        # rich itself asks COLUMNS, then the terminal
        width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else UNBOUNDED,
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
            # Of a number that is cut off it must show
            overflow="fold" if heading in wrapped else "ellipsis",
        )
    return table


def fit(
    table: "Table", console: "Console", droppable: Sequence[str]
) -> tuple["Table", Sequence[str]]:
    """A table without the columns that a console has no room for, so that no word is broken.

    Args:
        table: The table, with all its rows.
        console: Where it is to be printed.
        droppable: Headings of the columns that may go, the first to go first.

    Returns:
        The table, and the headings that were dropped.
    """
    if console.width >= UNBOUNDED:
        return table, []
    kept = list(table.columns)
    dropped: list[str] = []
    for heading in map(printable, droppable):
        if _width(kept, table.padding[1]) <= console.width:
            return _copy(table, kept), dropped
        if any(column.header == heading for column in kept):
            dropped.append(heading)
        kept = [column for column in kept if column.header != heading]
    # What is left cannot be dropped: words are broken only now
    return _copy(table, kept), dropped


def _width(columns: Sequence["Column"], gap: int) -> int:
    """The width of columns if only the widest is wrapped, and only between words."""
    sizes = _sizes(columns)
    widest, least = max(sizes)
    return sum(most for most, _ in sizes) - widest + least + gap * len(columns)


def _sizes(columns: Sequence["Column"]) -> list[tuple[int, int]]:
    """The widths of each column's longest cell and longest word."""
    from rich.cells import cell_len

    sizes = []
    for column in columns:
        cells = [str(cell) for cell in (column.header, *column.cells)]
        longest_word = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
        sizes.append((max(map(cell_len, cells)), longest_word))
    return sizes


def _copy(table: "Table", columns: Sequence["Column"]) -> "Table":
    """A table with some columns of another; only the widest is wrapped."""
    copy = text_table(gap=table.padding[1])
    sizes = [most for most, _ in _sizes(columns)]
    for column, size in zip(columns, sizes, strict=True):
        whole = column.no_wrap or size < max(sizes)
        copy.add_column(
            column.header,
            justify=column.justify,
            no_wrap=whole,
            overflow="ellipsis" if whole else column.overflow,
            min_width=column.min_width,
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        copy.add_row(*cells)
    return copy


def print_fitting(table: "Table", droppable: Sequence[str]) -> None:
    """Print a table without the columns that there is no room for, and say which those are."""
    fitting, dropped = fit(table, stdout_console(), droppable)
    print_rich(fitting)
    if named := ", ".join(dropped):
        print_rich(f"not shown, for lack of room: {named}")


def escaped(value: object, style: str = "") -> "RenderableType":
    """Text with its control characters escaped."""
    from rich.text import Text

    return Text(printable(str(value)), style=style)


def print_unwrapped(console: "Console", text: str, style: str = "") -> None:
    """Print a line as it is, however long, with control characters escaped."""
    console.print(printable(text), style=style or None, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2))


def readable_time(stamp: str) -> str:
    """An ISO 8601 timestamp without its "T" and "Z"."""
    return stamp.replace("T", " ").removesuffix("Z")


def print_tsv(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a line of headings, then a line for each row; a cell of None is empty."""
    for row in chain([headings], rows):
        cells = ("" if value is None else str(value) for value in row)
        print("\t".join(printable(_inert(cell)) for cell in cells))


def _inert(cell: str) -> str:
    """The cell, with an apostrophe before what a spreadsheet would take for a formula: task ids and
    the output of tasks are data, and must not be executed.
    """
    return f"'{cell}" if _is_formula(cell.lstrip("'")) else cell


def tsv_cell(cell: str) -> str:
    """What a cell of `print_tsv` held, without the apostrophe that may stand before it."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell.lstrip("'")) else cell


def _is_formula(cell: str) -> bool:
    return bool(_FORMULA.match(cell)) and not _NUMBER.fullmatch(cell)
