"""Prints docs/commands.md, made from the command lines' parsers: python tools/commands.py."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from anamo.cli import arguments, import_command, operator_commands, worker_command

HEAD = """# Commands

Made from the parsers by `python tools/commands.py > docs/commands.md`; a test holds it equal. Each
command shows the same with `--help`.
"""


def document() -> str:
    """The whole document."""
    # They make flags optional
    for name in (arguments.TABLES, arguments.BUCKET):
        os.environ.pop(name, None)
    commands = operator_commands.parser(worker_command.SCRIPT).commands
    parsers = [import_command.parser(), worker_command.parser(), *commands.values()]
    return "\n".join([HEAD, *(line for parser in parsers for line in section(parser))])


def section(parser: arguments.Parser) -> Iterator[str]:
    """What the document says of a parser, line by line."""
    yield f"## python {parser.prog}\n"
    yield f"{parser.description}\n"
    yield "| argument | value | |"
    yield "|---|---|---|"
    for action in parser.actions:
        yield f"| {names(action)} | {value(action)} | {meaning(parser, action)} |"
    yield f"\n```\n{(parser.epilog or '').strip()}\n```\n"


def names(action: argparse.Action) -> str:
    """What is typed."""
    typed = ", ".join(f"`{flag}`" for flag in action.option_strings) or f"`{action.metavar}`"
    return f"{typed} (required)" if action.required and action.option_strings else typed


def value(action: argparse.Action) -> str:
    """What follows a flag."""
    if action.nargs == 0:
        return ""
    what = "{" + ",".join(action.choices) + "}" if action.choices else action.metavar
    what = str(what or action.dest.upper())
    forms = {"+": f"{what} …", "*": f"[{what} …]", "?": f"[{what}]"}
    return f"`{forms.get(str(action.nargs), what)}`"


def meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help, as --help shows it."""
    known = {**vars(action), "prog": parser.prog}
    text = (action.help or "") % {name: known[name] for name in known if name != "container"}
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


if __name__ == "__main__":
    print(document(), end="")
