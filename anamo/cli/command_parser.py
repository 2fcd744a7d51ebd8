"""What the command lines of all operator's commands share."""

import argparse
from typing import TYPE_CHECKING, TypeAlias

from anamo.cli import arguments as types

if TYPE_CHECKING:
    # It has no public name, and is generic for type checkers only
    Commands: TypeAlias = "argparse._SubParsersAction[types.Parser]"  # noqa: SLF001

EXIT_CODES = """exit codes:
  0    done
  1    some of the selected items were left as they are, or you answered no
  2    wrong usage, an unknown name, or no terminal to ask on; nothing was changed
  3    AWS refused or cannot be reached, or a log is not in S3 any more
  130  stopped by SIGINT"""


def add_command(
    commands: "Commands", name: str, what: str, example: str, more: str = ""
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: What to add it to.
        name: Its name.
        what: What it does, in a sentence.
        example: Command lines for --help.
        more: What --help says between the example and the exit codes.
    """
    parts = [f"example:\n{example}", more, EXIT_CODES]
    made = commands.add_parser(
        name,
        help=what,
        description=what,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    program = made.prog.partition(" ")[0]
    made.epilog = types.as_started("\n\n".join(part for part in parts if part), program)
    types.add_common_flags(made)
    return made
