"""Parses task files, delimited text, into items. Makes no request to AWS.

Guaranteed: either every line is an item, or BadLines names those that are not; the same line always
gives the same item. Not guaranteed: that a Task Script exists or does what it should.
"""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anamo.core import command_line
from anamo.core.codec import ItemId
from anamo.core.errors import UsageError
from anamo.core.item import TASK_ID_LIMIT, Item, nested_item, single_item
from anamo.core.item_size import SMALLEST_TAIL, fitting_tasks, tail_limit, text_size
from anamo.core.text import count, in_words, is_table_name
from anamo.importer import shell_syntax

SHOWN = 20
"""Invalid lines that are named; the others are counted: a wrong separator makes all invalid."""

CUT = "the file ends in this line, without a line break: was it cut off?"

BYTE_ORDER_MARK = "\ufeff"

HEADER = "is line 1 a header? Then remove it"

COMMENT = "lines starting with # are not comments; remove this line if it is one"


@dataclass(frozen=True, slots=True)
class Layout:
    """How lines are delimited.

    Attributes:
        separator: Between fields.
        nested: Between nested arguments; None where each line is a single task.
        literal: Shell syntax is imported as it is.
    """

    separator: str
    nested: str | None = None
    literal: bool = False


@dataclass(slots=True)
class TaskFile:
    """The contents of a task file.

    Attributes:
        items: The items of each table, by itemID.
        lines: How many lines are not blank.
        duplicates: How many lines of each table repeat another one.
        warnings: Messages about lines that may not mean what they say.
        hints: Messages about lines that may be a mistake.
    """

    items: dict[str, dict[ItemId, Item]]
    lines: int = 0
    duplicates: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


class BadLines(UsageError):
    """The task file has invalid lines."""

    def __init__(self, name: str, problems: Sequence[tuple[int, str]]) -> None:
        said = [f"{name}:{line}: {problem}" for line, problem in problems[:SHOWN]]
        more = len(problems) - len(said)
        said += [f"… and {count(more, 'more invalid line')}"] if more else []
        said.append(f"{count(len(problems), 'invalid line')}; nothing was written")
        super().__init__("\n".join(said))


class BadLine(Exception):
    """A line is not an item; the message says why."""


class OtherFields(BadLine):
    """The line's fields are not those of a task; it may be a header."""


def read(path: str, layout: Layout, tables: Sequence[str]) -> TaskFile:
    """The items of a task file.

    Args:
        path: The file; `-` for standard input.
        layout: How its lines are delimited.
        tables: The tables that lines may name.

    Raises:
        BadLines: Lines are not items.
        UsageError: The file cannot be read or has no task.
    """
    if path == "-":
        return parse("standard input", sys.stdin.buffer, layout, tables)
    try:
        with Path(path).open("rb") as file:
            return parse(path, file, layout, tables)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def parse(name: str, lines: Iterable[bytes], layout: Layout, tables: Sequence[str]) -> TaskFile:
    """The items of a task file's lines.

    Args:
        name: The file's, for messages.
        lines: As read; the last one may lack its line break.
        layout: How they are delimited.
        tables: The tables that lines may name.

    Raises:
        BadLines: Lines are not items.
        UsageError: There is no task.
    """
    found = TaskFile({table: {} for table in tables})
    problems: list[tuple[int, str]] = []
    shapes: set[tuple[int, int]] = set()
    header = False
    for number, line in enumerate(lines, start=1):
        ended = line.endswith(b"\n")
        try:
            text = _decode(line)
            if text:
                found.lines += 1
                fields = _fields(text, layout)
                table, item = item_of(fields, layout, tables)
                shape = len(fields), item.tasks
                if not ended and _is_cut_off(shape, shapes):
                    fewer = f"{count(item.tasks, 'nested argument')}, and more in all others"
                    # First, since of many warnings only the first are shown
                    found.warnings.insert(0, f"{name}:{number}: {fewer}; {CUT}")
                add_item(found, table, item)
                shapes.add(shape)
                _note_doubts(found, f"{name}:{number}", line, fields, item, layout)
        except BadLine as bad:
            header = header or (number == 1 and isinstance(bad, OtherFields))
            problems.append((number, "; ".join([str(bad), *_advice(line)])))
    if header and len(problems) < found.lines:
        problems[0] = (1, f"{problems[0][1]}; {HEADER}")
    if problems:
        raise BadLines(name, problems)
    if not found.lines:
        raise UsageError(f"{name}: contains no task")
    return found


def _advice(line: bytes) -> list[str]:
    """What may be behind a bad line."""
    advice = []
    if _is_comment(line):
        advice.append(COMMENT)
    if not line.endswith((b"\n", b"\r")):
        advice.append(CUT)
    return advice


def _is_cut_off(last: tuple[int, int], others: Collection[tuple[int, int]]) -> bool:
    """Whether a last line without a line break has fewer nested arguments than all others. That is
    too common to be refused.

    Args:
        last: How many fields and nested arguments it has.
        others: Those of the other lines.

    Raises:
        BadLine: It has fewer fields.
    """
    fields, tasks = last
    fewest = min((each for each, _ in others), default=0)
    if fields < fewest:
        raise BadLine(
            f"{fields} fields, and {fewest} in all others: if that is right, end the file with a "
            "line break"
        )
    return tasks < min((each for _, each in others), default=0)


def _decode(line: bytes) -> str:
    """The line as text, without line break and byte order mark; empty for a blank one."""
    try:
        # Any line may begin with the mark: files are concatenated
        text = line.decode().lstrip(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8: byte {error.start + 1} is 0x{line[error.start]:02x}") from None
    if "\0" in text:
        raise BadLine("contains a NUL character; is the file UTF-16, or binary?")
    text = text.rstrip("\r\n")
    if not text.strip():
        return ""
    if "\r" in text:
        raise BadLine("contains a carriage return; does the file have line ends of an old Mac?")
    return text


def add_item(found: TaskFile, table: str, item: Item) -> None:
    """Add an item to those of its table.

    Raises:
        BadLine: Another item happens to have its itemID.
    """
    first = found.items[table].setdefault(item.item_id, item)
    if first is not item:
        if first != item:
            raise BadLine(f"happens to have the itemID of task {first.task_id!r}: rename the task")
        found.duplicates[table] += 1


def item_of(fields: list[str], layout: Layout, tables: Sequence[str]) -> tuple[str, Item]:
    """The table and the item of a line.

    Args:
        fields: Task id, table, Task Script and perhaps its argument or arguments.
        layout: How arguments are delimited.
        tables: The tables that lines may name.

    Raises:
        BadLine: The fields are no item.
    """
    task_id, table, *rest = fields
    if not task_id:
        raise BadLine("the task id is empty")
    if text_size(task_id) > TASK_ID_LIMIT:
        raise BadLine(f"the task id is longer than {TASK_ID_LIMIT:,} bytes")
    if table not in tables:
        named = table if is_table_name(table) else repr(table)
        raise OtherFields(f"the line names table {named}, but -t only {in_words(tables, 'and')}")
    script = rest[0]
    if not script:
        raise BadLine("the Task Script is empty")
    item = _nested(task_id, rest, layout) if layout.nested else _single(task_id, rest, layout)
    _check_size(item, table)
    return table, item


def _fields(text: str, layout: Layout) -> list[str]:
    """The line's fields: four where arguments are nested, else three or four."""
    split = text.split(layout.separator, 3) if layout.nested else text.split(layout.separator)
    if not layout.literal and _is_shell_pipe(split, layout):
        raise BadLine(
            "the | with blanks around it looks like a shell's pipe, but separates the argument: "
            f"write bash -c '… | …', and {_other_separator(layout)}; remove the blanks if it is a "
            "field separator"
        )
    fields = [field.strip() for field in split]
    needed = 4 if layout.nested else 3
    if len(fields) < needed:
        expected = "TaskID, Table, Task Script" + (", arguments" if layout.nested else "")
        single = "; leave out -n if the lines have no arguments" if len(fields) == 3 else ""
        raise OtherFields(
            f"{count(len(fields), 'field')} instead of {needed} ({expected}) "
            f"separated by {layout.separator!r}{single}"
        )
    if len(fields) > 4:
        raise OtherFields(
            f"{len(fields)} fields, at most 4 (TaskID, Table, Task Script, Argument): "
            f"{_other_separator(layout)}, or -n for nested tasks"
        )
    return fields


def _is_shell_pipe(split: Sequence[str], layout: Layout) -> bool:
    """Whether the separator before the argument has blanks around it, and the others have none."""
    if layout.separator != "|" or len(split) < 4:
        return False
    task_id, table, script, argument = split[:4]
    others = (task_id[-1:], table[:1], table[-1:], script[:1])
    return script[-1:].isspace() and argument[:1].isspace() and not any(map(str.isspace, others))


def _note_doubts(
    found: TaskFile, where: str, line: bytes, fields: Sequence[str], item: Item, layout: Layout
) -> None:
    """Note what may be a mistake in a line that is an item."""
    if not layout.literal and (warning := _warning(item)):
        found.warnings.append(f"{where}: {warning}")
    argument = "" if layout.nested else "".join(fields[3:])
    if _is_comment(line):
        found.hints.append(f"{where}: {COMMENT}")
    elif "," in argument and not set(argument) & set("'\"\\"):
        found.hints.append(f"{where}: arguments contain ',': did you forget -n ','?")


def _is_comment(line: bytes) -> bool:
    return line.lstrip().startswith(b"#")


def _warning(item: Item) -> str | None:
    """What shells would replace in the item's first command line that has something of the kind."""
    return next(filter(None, map(shell_syntax.warning, item.scripts)), None)


def _single(task_id: str, rest: list[str], layout: Layout) -> Item:
    script = " ".join(part for part in rest if part)
    if len(rest) > 1 and _unbalanced(rest[0]) and not _unbalanced(layout.separator.join(rest)):
        raise BadLine(f"the separator is inside quotes: {_other_separator(layout)}")
    _check_script(script, "the Task Script")
    if not layout.literal and (refusal := shell_syntax.refusal(script)):
        raise BadLine(refusal)
    return single_item(task_id, script)


def _nested(task_id: str, rest: list[str], layout: Layout) -> Item:
    script, last = rest
    assert layout.nested
    if _unbalanced(script):
        hint = f", or the separator is inside quotes: {_other_separator(layout)}"
        raise BadLine(f"the Task Script: a quote is not closed{hint}")
    arguments = [argument.strip() for argument in last.split(layout.nested)]
    for position, argument in enumerate(arguments, start=1):
        if not argument:
            raise BadLine(f"nested argument {position} of {len(arguments)} is empty")
        _check_script(argument, f"nested argument {position} ({argument})")
        if not layout.literal and (refusal := shell_syntax.refusal(script, argument)):
            raise BadLine(refusal)
    return nested_item(task_id, [f"{script} {argument}" for argument in arguments])


def _other_separator(layout: Layout) -> str:
    other = r"\t" if layout.separator == "|" else "|"
    return f"choose another separator, say -s '{other}'"


def _check_script(script: str, what: str) -> None:
    try:
        command_line.check(script)
    except ValueError as error:
        raise BadLine(f"{what}: {error}") from None


def _unbalanced(script: str) -> bool:
    try:
        command_line.check(script)
    except ValueError:
        return True
    return False


def _check_size(item: Item, table: str) -> None:
    if tail_limit(item, table) >= SMALLEST_TAIL:
        return
    if not item.is_nested:
        raise BadLine("the Task Script does not fit in DynamoDB's 400 KB: put it in a file")
    raise BadLine(
        f"its {item.tasks:,} nested tasks with their logs do not fit in DynamoDB's 400 KB: "
        f"split it into lines of at most {fitting_tasks(item, table):,} arguments"
    )
