"""What the command lines of all operator's commands share."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli import help_text
from anamo.cli.main import ExitStatus
from anamo.core.errors import UsageError
from anamo.operator.output import tsv_cell

if TYPE_CHECKING:
    from anamo.operator.target import Words

AddParser = Callable[..., types.Parser]
"""The `add_parser` of argparse's subparsers, whose class has no public name."""

READS = {
    ExitStatus.OK: "done",
    ExitStatus.USAGE: "wrong usage or an unknown name",
    ExitStatus.AWS: "AWS refused or cannot be reached",
    ExitStatus.INTERRUPTED: "stopped by SIGINT",
}
"""Exit codes of a command that only reads, and what they mean."""

WORDS = f"""Words after -t are tables as long as tables of these names exist; the first that is not,
and all after it, are samples, named by taskID or itemID. A name found in no table is an error, and
nothing is done; a name missing from some tables is reported. --names-from reads one name from each
line, up to a tab, and skips the heading taskID.

{types.ENVIRONMENT}"""


def add_command(
    add_parser: AddParser,
    name: str,
    what: str,
    example: str,
    more: str,
    codes: Mapping[ExitStatus, str],
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        add_parser: Adds a parser to that of all commands.
        name: Its name.
        what: What it does, in a sentence.
        example: Command lines for --help.
        more: What --help says between the example and the exit codes.
        codes: Its exit codes, and what they mean.
    """
    made = add_parser(
        name,
        help=what,
        description=what,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    program = made.prog.partition(" ")[0]
    lines = "\n".join(f"  {code.value:<5}{meaning}" for code, meaning in sorted(codes.items()))
    epilog = f"example:\n{example}\n\n{more}\n\nexit codes:\n{lines}"
    made.epilog = help_text.as_started(epilog, program)
    types.add_common_flags(made)
    return made


def add_words(made: argparse.ArgumentParser, without: str) -> None:
    """Add -t and the names of samples, which `words` reads.

    Args:
        made: The command.
        without: What the command does where no name is given.
    """
    types.add_table_flag(made)
    add = made.add_argument
    add("names", nargs="*", type=types.non_empty, metavar="TASKID",
        help=f"taskID or itemID, in any of the tables; {without}")  # fmt: skip
    add("--names-from", type=types.non_empty, metavar="FILE",
        help="take names from a file, one a line; - for standard input")  # fmt: skip


def words(arguments: argparse.Namespace) -> "Words":
    """The tables and names of a command line.

    Raises:
        UsageError: The file of names cannot be read, or has none.
    """
    from anamo.operator.target import Words

    names = [*arguments.names]
    if arguments.names_from is not None:
        names += _names_in(arguments.names_from)
    return Words(types.table_words(arguments), names, arguments.region)


def _names_in(path: str) -> list[str]:
    """The names in a file, one a line."""
    try:
        source = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        lines = source.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"--names-from {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--names-from {path}: is not text in UTF-8") from error
    names = [tsv_cell(name) for line in lines if (name := line.partition("\t")[0].strip())]
    if names[:1] == ["taskID"]:
        del names[0]
    # Without a name, a command would mean all items
    if not names:
        raise UsageError(f"--names-from {path}: has no name in it; nothing was done")
    return names
