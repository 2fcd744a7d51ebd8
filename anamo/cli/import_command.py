"""The importer's command line."""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus, run
from anamo.cli.progress_bar import progress_bar
from anamo.core.text import count

if TYPE_CHECKING:
    from anamo.importer.task_file import TaskFile

SCRIPT = "import-items-generic.py"

ORIGINAL_FLAGS = {"--tbl": "--table", "--nested": "--nested-separator"}
"""The original's long flags that are spelled in another way here."""

SHOWN = 3
"""Warnings that are shown; the others are counted."""

EPILOG = rf"""task file, one item a line:
  TaskID|Table|Task Script|arguments          with -n: one nested task per argument
  TaskID|Table|Task Script[|Argument]         without -n: one task

No shell runs a Task Script: for pipes, redirections, wildcards and the like, write
  bash -c 'sort S7.txt > S7.sorted'
or with nested arguments (without the _, the argument is $0, not $1)
  bash -c 'sort "$1" > "$1.sorted"' _

example:
  echo 'Task-7|Testing|seq|7,2,3' > tasks.txt
  python import-items-generic.py -t Testing -d tasks.txt -s '|' -n ',' --create-table

Items that are in the table already stay as they are: repeat or extend an import at any time.

{types.original_flags_help(ORIGINAL_FLAGS)}

exit codes:
  0    imported
  2    wrong usage or bad lines; nothing was written
  3    AWS refused or cannot be reached; run the same command again to finish"""


def parser(program: str = SCRIPT) -> argparse.ArgumentParser:
    """The importer's command line; `program` is what was started."""
    made = argparse.ArgumentParser(
        prog=program,
        description="Fill workflow tables from a delimited task file.",
        epilog=types.as_started(EPILOG, program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("-t", "--table", required=True, nargs="+", type=types.non_empty, help="workflow tables")
    add("-d", "--data", required=True, type=types.non_empty, help="task file; - for standard input")
    add(
        "-s",
        "--separator",
        required=True,
        type=types.separator,
        help=r"field separator: any string, \t for a tab",
    )
    add(
        "-n",
        "--nested-separator",
        type=types.separator,
        help="separator of nested arguments; without it a line is one task",
    )
    add(
        "--create-table", action="store_true", help="make a table that is missing, billed on demand"
    )
    add(
        "--literal",
        action="store_true",
        help="import lines with shell syntax outside quotes as they are, characters as arguments",
    )
    add("--dry-run", action="store_true", help="check and count; write nothing, ask nothing of AWS")
    types.add_common_flags(made)
    return made


def import_file(arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    """Read the task file, then import it."""
    from anamo.importer.task_file import Layout, read

    layout = Layout(arguments.separator, arguments.nested_separator, arguments.literal)
    found = read(arguments.data, layout, types.unique(arguments.table))
    warn(found, say)
    if arguments.dry_run:
        for table, items in found.items.items():
            tasks = sum(item.tasks for item in items.values())
            print(f"{table}: {len(items):,} items, {tasks:,} tasks{duplicates(found, table)}")
        print(f"{found.lines:,} good lines; nothing was written (--dry-run)")
        return ExitStatus.OK
    # Here and not above, because neither --help nor --dry-run needs boto3
    from anamo.importer.importer import import_all

    progress = partial(progress_bar, say=say)
    imports = import_all(found, arguments.region, arguments.create_table, say, progress)
    for table, totals in imports:
        states = ", ".join(
            f"{number:,} {state}" for state, number in sorted(totals.existing.items())
        )
        there = f"{totals.existing.total():,} there already" + (f" ({states})" if states else "")
        print(f"{table}: {totals.new:,} items new, {there}{duplicates(found, table)}")
    return ExitStatus.OK


def warn(found: "TaskFile", say: Messages) -> None:
    """Say which lines may not mean what they say."""
    for warning in found.warnings[:SHOWN]:
        say(warning)
    more = len(found.warnings) - SHOWN
    if more > 0:
        say(f"… and warnings of {count(more, 'more line')}")


def duplicates(found: "TaskFile", table: str) -> str:
    """What is said of a table's lines that the file has more than once."""
    repeated = found.duplicates[table]
    return f"; {repeated:,} duplicate line{'s' if repeated > 1 else ''}" if repeated else ""


def main(words: list[str], program: str = SCRIPT) -> int:
    """Run the importer.

    Args:
        words: The command line after the program's name.
        program: What was started, as messages and help name it.

    Returns:
        The exit code.
    """
    return run(parser(program), import_file, types.without_aliases(words, ORIGINAL_FLAGS))


def console_script() -> int:
    """Run the importer as an installed command; its exit code."""
    return main(sys.argv[1:], "pyanamo-import")
