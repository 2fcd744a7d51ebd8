"""Parses sample sheets, CSV or TSV with a header, into items: one per row, by a template.

Guaranteed: the cell of a sheet is one word of the command, whatever characters it has. Not
guaranteed: that the cells say what they should.
"""

import csv
import io
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anamo.core import command_line
from anamo.core.errors import UsageError
from anamo.core.text import count
from anamo.importer import shell_syntax
from anamo.importer.task_file import BadLine, BadLines, Layout, TaskFile, add_item, item_of

_PLACEHOLDER = re.compile(r"(?<!\$)\{([^{}]+)\}")

_QUOTES = re.compile(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)

# Not {1..3}
_NAME = re.compile(r"[A-Za-z_]\w*(?:[ .-]\w+)*")


@dataclass(frozen=True, slots=True)
class Template:
    """What a row becomes.

    Attributes:
        table: The table of all items.
        task_id: Their task id, with columns as {column}.
        script: Their Task Script, likewise.
        nested_over: Arguments of nested tasks, separated by commas; None for single items.
        literal: Shell syntax is imported as it is.
    """

    table: str
    task_id: str
    script: str
    nested_over: str | None = None
    literal: bool = False


def read(path: str, template: Template) -> TaskFile:
    """The items of a sample sheet.

    Args:
        path: The file; `-` for standard input.
        template: What a row becomes.

    Raises:
        BadLines: Rows are not items.
        UsageError: The file cannot be read, has no row, or lacks a column of the template.
    """
    name = "standard input" if path == "-" else path
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}:{line}: not UTF-8; nothing was written") from None
    return parse(name, text, template)


def parse(name: str, text: str, template: Template) -> TaskFile:
    """The items of a sample sheet's text.

    Args:
        name: The file's, for messages.
        text: Its text, without a byte order mark.
        template: What a row becomes.

    Raises:
        BadLines: Rows are not items.
        UsageError: The text is no CSV or TSV, has no row, or lacks a column of the template.
    """
    rows = _rows(name, text)
    columns = next(rows, (1, []))[1]
    _check(name, columns, template)
    layout = Layout("\n", "," if template.nested_over else None, literal=True)
    found = TaskFile({template.table: {}})
    if not template.literal and (warning := shell_syntax.warning(template.script)):
        found.warnings.append(f"--script: {warning}")
    problems = []
    for number, row in rows:
        if any(row):
            found.lines += 1
            try:
                fields = _fields(columns, row, template)
                add_item(found, *item_of(fields, layout, [template.table]))
            except BadLine as bad:
                problems.append((number, str(bad)))
    if problems:
        raise BadLines(name, problems)
    if not found.lines:
        raise UsageError(f"{name}: contains no row below its header")
    return found


def _rows(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row, with the number of the line it begins in; a cell may have line breaks. Raises
    UsageError.
    """
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for row in reader:
            yield number, [cell.strip() for cell in row]
            number = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(f"{name}:{number}: {error}; nothing was written") from None


def _check(name: str, columns: Sequence[str], template: Template) -> None:
    """Check what the rows have in common. Raises UsageError."""
    twice = {column for column in columns if column and columns.count(column) > 1}
    if twice:
        raise UsageError(f"{name}:1: more than one column is called {min(twice)}")
    quoted = [match.span() for match in _QUOTES.finditer(template.script)]
    for flag, part in (("--id", template.task_id), ("--script", template.script)):
        for match in _PLACEHOLDER.finditer(part):
            column = match[1]
            inside = part == template.script and any(a < match.start() < b for a, b in quoted)
            if column not in columns and not inside and _NAME.fullmatch(column):
                known = ", ".join(filter(None, columns)) or "none"
                raise UsageError(f"{flag}: there is no column {column}; {name} has {known}")
            if column in columns and inside:
                raise UsageError(
                    f"{flag}: {match[0]} is inside quotes; outside them it is one word anyway, and "
                    f"bash -c '… \"$1\"' _ {match[0]} gets it as $1"
                )
    _check_script(template)


def _check_script(template: Template) -> None:
    example = _PLACEHOLDER.sub("x", template.script)
    try:
        command_line.check(template.script)
    except ValueError as error:
        raise UsageError(f"--script: {error}") from None
    nested = template.nested_over
    for argument in nested.split(",") if nested else [None]:
        if not template.literal and (refusal := shell_syntax.refusal(example, argument)):
            raise UsageError(f"--script: {refusal}")


def _fields(columns: Sequence[str], row: Sequence[str], template: Template) -> list[str]:
    """The fields of a line that would be the same item. Raises BadLine."""
    if any("\0" in cell for cell in row):
        raise BadLine("contains a NUL character; is the file UTF-16, or binary?")
    if len(row) < len(columns) or any(row[len(columns) :]):
        raise BadLine(f"{count(len(row), 'cell')} instead of {len(columns)}")
    cells = {column: cell for column, cell in zip(columns, row, strict=False) if column}
    task_id = _filled(template.task_id, cells, str)
    fields = [task_id, template.table, _filled(template.script, cells, shlex.quote)]
    return [*fields, template.nested_over] if template.nested_over else fields


def _filled(text: str, cells: Mapping[str, str], write: Callable[[str], str]) -> str:
    """A template's text with the cells in place of the columns; `write` is how they stand there.
    Raises BadLine.
    """

    def cell(placeholder: re.Match[str]) -> str:
        column = placeholder[1]
        if column not in cells:
            return placeholder[0]
        if not cells[column]:
            raise BadLine(f"column {column} is empty")
        return write(cells[column])

    return _PLACEHOLDER.sub(cell, text)
