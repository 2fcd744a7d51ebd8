"""The importer's command line."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli import help_text
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus, run
from anamo.cli.progress_bar import progress_bar
from anamo.core import command_line
from anamo.core.errors import UsageError
from anamo.core.text import count, printable

if TYPE_CHECKING:
    from anamo.importer.importer import ImportTotals
    from anamo.importer.task_file import TaskFile

SCRIPT = "import-items-generic.py"

ORIGINAL_FLAGS = {"--tbl": "--table", "--nested": "--nested-separator"}
"""The original's long flags that are spelled differently here."""

SHOWN = 3
"""Warnings of a kind that are shown; the others are counted."""

FIRST = 5
"""Command lines of a table that --dry-run shows."""

EPILOG = rf"""task file, one item per line:
  TaskID|Table|Task Script|arguments     with -n: one nested task per argument
  TaskID|Table|Task Script[|Argument]    without -n: one task

No shell runs a Task Script: for pipes, redirections, wildcards and the like, write
  bash -c 'sort S7.txt > S7.sorted'
or with nested arguments (without the _, the argument is $0, not $1)
  bash -c 'sort "$1" > "$1.sorted"' _

examples:
  echo 'Task-7|Testing|seq|7,2,3' > tasks.txt
  python import-items-generic.py -t Testing -d tasks.txt -s '|' -n ',' \
    --create-table
  python import-items-generic.py -t Align --csv samples.csv --id '{{sample}}' \
    --script 'bash align.sh {{fastq1}} {{fastq2}} {{sample}}' --nested-over chr1,chr2

Items that are in the table already stay as they are: repeat or extend an import at any time.
A corrected line is a new item; the old item stays, unless --replace is given.

{types.ENVIRONMENT}

{help_text.original_flags_help(ORIGINAL_FLAGS)}

exit codes:
  0    imported
  1    imported, but some old items were kept, for example because a worker holds them
       (--replace)
  2    wrong usage or invalid lines; nothing was written
  3    AWS refused or cannot be reached; run the same command again to finish
  130  stopped by SIGINT; run the same command again to finish"""


def parser(program: str = SCRIPT) -> types.Parser:
    """The importer's command line; `program` is what was started."""
    made = types.Parser(
        prog=program,
        description="Fill workflow tables from a task file or a sample sheet.",
        epilog=help_text.as_started(EPILOG, program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    types.add_table_flag(made)
    add("-d", "--data", type=types.non_empty, help="task file; - for standard input")
    add(
        "-s",
        "--separator",
        type=types.separator,
        help=r"field separator: any string, \t for a tab",
    )
    add(
        "-n",
        "--nested-separator",
        type=types.separator,
        help="separator of nested arguments; without it a line is one task",
    )
    add("--create-table", action="store_true", help="create missing tables, billed on demand")
    add(
        "--hold",
        action="store_true",
        help="add items as held: no worker takes them until they are resumed",
    )
    add(
        "--replace",
        action="store_true",
        help="remove items that have the task id of a line and a different command, unless a "
        "worker holds them",
    )
    add(
        "--literal",
        action="store_true",
        help="import lines as they are: shell syntax outside quotes becomes part of arguments",
    )
    add(
        "--dry-run",
        action="store_true",
        help="check, count and show the first commands; write nothing and contact no AWS service",
    )
    types.add_common_flags(made)
    add_sheet_flags(made)
    return made


def add_sheet_flags(made: argparse.ArgumentParser) -> None:
    """Add the flags of sample sheets."""
    group = made.add_argument_group(
        "sample sheets", "CSV or TSV with a header, one item per row; instead of -d, -s and -n"
    )
    add = group.add_argument
    add("--csv", type=types.non_empty, metavar="FILE", help="sample sheet; - for standard input")
    add("--id", type=types.non_empty, help="task id of a row, such as '{sample}'")
    add(
        "--script",
        type=types.non_empty,
        help="Task Script of a row, such as 'bash align.sh {fastq1} {fastq2}'",
    )
    add(
        "--nested-over",
        type=types.non_empty,
        metavar="LIST",
        help="one nested task for each of these arguments, such as chr1,chr2",
    )


SHEET = {"id": "--id", "script": "--script", "nested_over": "--nested-over"}
"""Flags of sample sheets; the first two are required."""

LINES = {"data": "-d/--data", "separator": "-s/--separator", "nested_separator": "-n"}
"""Flags of task files; the first two are required."""


def check_flags(made: types.Parser, arguments: argparse.Namespace) -> None:
    """End with a usage error if flags are missing, or do not go together."""
    form, other = (LINES, SHEET) if arguments.csv is None else (SHEET, LINES)
    missing = [form[name] for name in [*form][:2] if getattr(arguments, name) is None]
    if missing:
        made.error(f"the following arguments are required: {', '.join(missing)}")
    needless = [flag for name, flag in other.items() if getattr(arguments, name) is not None]
    if needless:
        which = "without" if arguments.csv is None else "with"
        made.error(f"{', '.join(needless)}: not used {which} --csv")


def read_tasks(arguments: argparse.Namespace) -> "TaskFile":
    """Read the task file or the sample sheet.

    Raises:
        UsageError: A sample sheet is for several tables; or the file has invalid lines.
    """
    from anamo.importer import sample_sheet, task_file

    tables = types.tables(arguments)
    if arguments.csv is None:
        layout = task_file.Layout(
            arguments.separator, arguments.nested_separator, arguments.literal
        )
        return task_file.read(arguments.data, layout, tables)
    if len(tables) > 1:
        raise UsageError(f"--csv fills one table, but -t (or {types.TABLES}) names {len(tables)}")
    template = sample_sheet.Template(
        tables[0], arguments.id, arguments.script, arguments.nested_over, arguments.literal
    )
    return sample_sheet.read(arguments.csv, template)


def import_file(made: types.Parser, arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    """Read the task file, then import it; `made` is the command line's parser."""
    check_flags(made, arguments)
    found = read_tasks(arguments)
    warn(found.warnings, say)
    if arguments.dry_run:
        warn(found.hints, say)
        show(found)
        return ExitStatus.OK
    # Here and not above, because neither --help nor --dry-run needs boto3
    from anamo.core.item import State
    from anamo.importer.importer import ImportOptions, import_all

    progress = partial(progress_bar, say=say)
    options = ImportOptions(
        region=arguments.region,
        create=arguments.create_table,
        replace=arguments.replace,
        state=State.HELD if arguments.hold else State.TODO,
    )
    complete = True
    for table, totals in import_all(found, options, say, progress):
        states = ", ".join(
            f"{number:,} {state}" for state, number in sorted(totals.existing.items())
        )
        there = f"{totals.existing.total():,} already there" + (f" ({states})" if states else "")
        old = f", {count(totals.replaced, 'old item')} removed" if totals.replaced else ""
        new = count(totals.new, "new item") + (" (held)" if arguments.hold and totals.new else "")
        # Where nobody reads on, such as `| head -1`, the other tables are imported all the same
        with suppress(BrokenPipeError):
            print(f"{table}: {new}, {there}{old}{duplicates(found, table)}")
        say_old(table, totals, say)
        complete = complete and not totals.left
    return ExitStatus.OK if complete else ExitStatus.ITEMS_LEFT


def say_old(table: str, totals: "ImportTotals", say: Messages) -> None:
    """Report which items with other commands are left."""
    for why in totals.left:
        say(f"table {table}: {why}; the old item was kept and the new command was not imported")
    for record in totals.beside[:SHOWN]:
        item = f"item {record.item.item_id} ({record.state})"
        say(f"table {table}: {record.item.task_id} exists with a different command, {item}")
    if totals.beside:
        more = len(totals.beside) - SHOWN
        others = f"… and {count(more, 'more item')}; " if more > 0 else ""
        one = len(totals.beside) == 1
        old = "the old item remains" if one else "the old items remain"
        them = "it" if one else "them"
        say(f"{others}{old} beside the new; the same import with --replace removes {them}")


def warn(warnings: Sequence[str], say: Messages) -> None:
    """Report suspicious lines."""
    for warning in warnings[:SHOWN]:
        say(warning)
    more = len(warnings) - SHOWN
    if more > 0:
        say(f"… and {count(more, 'more line')} like that")


def show(found: "TaskFile") -> None:
    """Show what would be imported."""
    for table, items in found.items.items():
        tasks = sum(item.tasks for item in items.values())
        number = f"{count(len(items), 'item')}, {count(tasks, 'task')}"
        print(f"{table}: {number}{duplicates(found, table)}")
        commands = ((item.task_id, script) for item in items.values() for script in item.scripts)
        for task_id, script in islice(commands, FIRST):
            print(printable(f"  {task_id}: {command_line.as_run(script)}"))
        if tasks > FIRST:
            print("  …")
    print(f"{count(found.lines, 'valid line')}; nothing was written (--dry-run)")


def duplicates(found: "TaskFile", table: str) -> str:
    """How many lines of a table the file has more than once, for a message."""
    repeated = found.duplicates[table]
    return f"; {count(repeated, 'duplicate line')}" if repeated else ""


def main(words: list[str], program: str = SCRIPT) -> int:
    """Run the importer.

    Args:
        words: The command line after the program's name.
        program: What was started, as messages and help name it.

    Returns:
        The exit code.
    """
    made = parser(program)
    command = partial(import_file, made)
    return run(made, command, types.without_aliases(words, ORIGINAL_FLAGS))


def console_script() -> int:
    """Run the importer as an installed command; its exit code."""
    return main(sys.argv[1:], "pyanamo-import")
