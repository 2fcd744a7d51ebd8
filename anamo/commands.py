"""The operator's commands: their command lines, and what each calls.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
from typing import TYPE_CHECKING

from anamo import cli
from anamo.cli import ExitStatus

if TYPE_CHECKING:
    # It has no public name, and is generic for type checkers only
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

PROGRAM = "pyanamo.py"

WATCH_SECONDS = 10.0
"""Between two looks unless the command line says otherwise."""

EXIT_CODES = """exit codes:
  0    done
  1    some of the items meant were left as they are
  2    wrong usage, a name that means nothing, or not confirmed; nothing was changed
  3    AWS refused or cannot be reached, or a log is gone from S3
  130  stopped by SIGINT"""

LAG = """Counts come from an index of the table, which lags behind it by a moment, and a table that
is being worked on changes while it is read. DynamoDB bills every item that is counted, whole."""

FIELDS = """fields of --output json, a list with an object a table:
  table, todo, locked, done, failed (items), other states under their own names, total,
  tasks {todo, done, failed, total} (nested ones each, a single item's as one),
  workers (instances that hold a live lease), expired (locked items without one)
fields of --output tsv, after a line of headings:
  the same in this order, tasks as tasks_todo to tasks_total, other states as name=number in `other`
with --by-task: taskID, and for each table the states of its items
with --state: table, itemID, taskID, state, tasks_ended, tasks_total, instance, since, exit_codes,
  stderr (its last line)"""


def parser() -> argparse.ArgumentParser:
    """The command line of all commands."""
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Ask workflow tables how far they are, and put right what failed.",
        allow_abbrev=False,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_status,):
        add(commands)
    return made


def main(arguments: argparse.Namespace) -> ExitStatus:
    """Do what the command says."""
    status: ExitStatus = arguments.call(arguments)
    return status


def _command(
    commands: "Commands", name: str, what: str, example: str, more: str = ""
) -> argparse.ArgumentParser:
    """A command's own command line: `what` it does in a sentence, an example, more of --help."""
    parts = [f"example:\n{example}", more, EXIT_CODES]
    made = commands.add_parser(
        name,
        help=what,
        description=what,
        epilog="\n\n".join(part for part in parts if part),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    cli.add_common_flags(made)
    return made


def _add_status(commands: "Commands") -> None:
    example = """  python pyanamo.py status -t Align Call Filter -r us-east-1
  python pyanamo.py status -t Align Call Filter --by-task --output tsv | grep Sample7
  python pyanamo.py status -t Align --watch 30"""
    made = _command(
        commands, "status", "How far the steps of a workflow are.", example, f"{LAG}\n\n{FIELDS}"
    )
    add = made.add_argument
    add("-t", "--table", required=True, nargs="+", type=cli.given, help="workflow tables")
    add(
        "--output",
        choices=("table", "json", "tsv"),
        default="table",
        help="for people, or for scripts (default: %(default)s)",
    )
    form = made.add_mutually_exclusive_group()
    form.add_argument("--by-task", action="store_true", help="a line a taskID, a column a step")
    form.add_argument("--state", type=cli.given, help="the items in this state, a line each")
    form.add_argument(
        "--watch",
        nargs="?",
        type=cli.duration,
        const=WATCH_SECONDS,
        metavar="SECONDS",
        help=f"again every so often (default: {WATCH_SECONDS:.0f} s), with rate and time to go, "
        "until nothing is left to do",
    )
    made.set_defaults(call=lambda arguments: _status(made, arguments))


def _status(made: argparse.ArgumentParser, arguments: argparse.Namespace) -> ExitStatus:
    if arguments.watch is not None and arguments.output != "table":
        made.error("--watch is for people: leave out --output")
    # Here and not above, because --help needs none of it
    from anamo.status import Asked, Status

    asked = Asked(cli.unique(arguments.table), arguments.region, arguments.output)
    status = Status(asked, cli.Messages(PROGRAM))
    if arguments.by_task:
        status.by_task()
    elif arguments.state:
        status.items(arguments.state)
    elif arguments.watch is not None:
        status.watch(arguments.watch)
    else:
        status.summary()
    return ExitStatus.OK
