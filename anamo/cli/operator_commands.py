"""The operator's commands: their command lines, and what each calls.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus

if TYPE_CHECKING:
    # It has no public name, and is generic for type checkers only
    Commands = argparse._SubParsersAction[types.Parser]  # noqa: SLF001

WATCH_SECONDS = 10.0
"""Seconds between two updates unless the command line says otherwise."""

EXIT_CODES = """exit codes:
  0    done
  1    some of the selected items were left as they are, or you answered no
  2    wrong usage, an unknown name, or no terminal to ask on; nothing was changed
  3    AWS refused or cannot be reached, or a log is not in S3 any more
  130  stopped by SIGINT"""

LAG = """Counts come from an index of the table, which lags behind it by a moment, and a table that
is being worked on changes while it is read. DynamoDB bills the whole of every item it counts."""

FIELDS = """fields of --output json, a list with an object per table:
  table, todo, locked, done, failed (items), other states under their own names, total,
  tasks {todo, done, failed, total} (each nested task; a single item counts as one),
  workers (instances that hold a live lease), expired (locked items without one)
fields of --output tsv, after a line of headings:
  the same in this order, tasks as tasks_todo to tasks_total, other states as name=number in `other`
with --by-task: taskID, and for each table the states of its items
with --state: table, itemID, taskID, state, tasks_ended, tasks_total, instance, since, exit_codes,
  stderr (its last line)"""


def parser(program: str) -> argparse.ArgumentParser:
    """The command line of all commands; `program` is what was started."""
    made = types.Parser(
        prog=program,
        description="Ask workflow tables how far they are, and put right what failed.",
        allow_abbrev=False,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_status, _add_logs, _add_requeue, _add_remove):
        add(commands)
    made.commands = commands.choices
    return made


def main(arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    """Do what the command says."""
    status: ExitStatus = arguments.call(arguments, say)
    return status


def _command(
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


def _add_status(commands: "Commands") -> None:
    example = """  python pyanamo.py status -t Align Call Filter -r us-east-1
  python pyanamo.py status -t Align Call Filter --by-task --output tsv | grep Sample7
  python pyanamo.py status -t Align --watch 30
  python pyanamo.py status -t Align Call Filter --html report.html"""
    made = _command(
        commands, "status", "How far the steps of a workflow are.", example, f"{LAG}\n\n{FIELDS}"
    )
    add = made.add_argument
    add("-t", "--table", required=True, nargs="+", type=types.non_empty, help="workflow tables")
    add(
        "--output",
        choices=("table", "json", "tsv"),
        default="table",
        help="for people, or for scripts (default: %(default)s)",
    )
    form = made.add_mutually_exclusive_group()
    form.add_argument("--by-task", action="store_true", help="a line per taskID, a column per step")
    form.add_argument("--state", type=types.non_empty, help="the items in this state, one per line")
    form.add_argument(
        "--watch",
        nargs="?",
        type=types.duration,
        const=WATCH_SECONDS,
        metavar="SECONDS",
        help=f"update it at intervals (default: {WATCH_SECONDS:.0f} s), with rate and time to go, "
        "until nothing is left to do",
    )
    form.add_argument(
        "--html", type=types.non_empty, metavar="FILE", help="one self-contained page for a browser"
    )
    made.set_defaults(call=lambda *given: _status(made, *given))


def _status(
    made: argparse.ArgumentParser, arguments: argparse.Namespace, say: Messages
) -> ExitStatus:
    for flag in ("watch", "html"):
        if getattr(arguments, flag) is not None and arguments.output != "table":
            made.error(f"--{flag} is for people: leave out --output")
    # Here and not above, because --help needs none of it
    from anamo.operator.status import Status, StatusRequest

    program = types.as_started("python pyanamo.py", say.program)
    request = StatusRequest(
        types.unique(arguments.table), arguments.region, arguments.output, program
    )
    status = Status(request, say)
    if arguments.by_task:
        status.by_task()
    elif arguments.state:
        status.items(arguments.state)
    elif arguments.html:
        status.report(arguments.html)
    elif arguments.watch is not None:
        status.watch(arguments.watch)
    else:
        status.summary()
    return ExitStatus.OK


def _add_logs(commands: "Commands") -> None:
    example = """  python pyanamo.py logs -t Call Sample7
  python pyanamo.py logs -t Call Sample7 --nested Task_2 --stderr --tail 20
  python pyanamo.py logs -t Call --state failed | less"""
    more = """A log begins with what ran where, then come stdout and stderr. Where several are
shown, each has its task id above it. On a terminal, control characters are escaped; a pipe gets
every byte."""
    made = _command(commands, "logs", "The whole logs of tasks, from S3.", example, more)
    add = made.add_argument
    add("-t", "--table", required=True, type=types.non_empty, help="workflow table")
    add("names", nargs="*", type=types.non_empty, metavar="TASKID", help="taskID or itemID")
    add(
        "--state",
        type=types.non_empty,
        help="of items in this state only; of failed items, the tasks that failed",
    )
    add("--nested", type=types.non_empty, metavar="TASK", help="of one nested task, such as Task_2")
    add("--stderr", action="store_true", help="stderr only")
    add("--tail", type=types.whole_number(0), metavar="N", help="the last N lines of each stream")
    made.set_defaults(call=lambda *given: _logs(made, *given))


def _logs(
    made: argparse.ArgumentParser, arguments: argparse.Namespace, say: Messages
) -> ExitStatus:
    if not arguments.names and not arguments.state:
        made.error("whose logs? Give a TASKID, or --state failed for all that failed")
    from anamo.operator.logs import LogsRequest, write_logs

    request = LogsRequest(
        table=arguments.table,
        region=arguments.region,
        names=arguments.names,
        state=arguments.state,
        nested=arguments.nested,
        stderr=arguments.stderr,
        tail=arguments.tail,
    )
    whole = write_logs(request, say)
    return ExitStatus.OK if whole else ExitStatus.AWS


def _add_requeue(commands: "Commands") -> None:
    example = """  python pyanamo.py requeue -t Call --state failed
  python pyanamo.py requeue -t Call --state failed Sample7 Sample9 --yes
  python pyanamo.py requeue -t Call --state locked     after workers were lost"""
    more = """Failed nested tasks run again and done ones do not; with --nested all, and in items
that are done, all do. An item that is locked is freed once its lease has ended, or if it has none;
--force takes it from the worker that holds it, which stops its tasks and writes nothing more."""
    made = _command(commands, "requeue", "Have items run again.", example, more)
    _add_choice(made, "failed, locked or done")
    made.add_argument("--nested", choices=("failed", "all"), default="failed",
                      help="which nested tasks run again (default: %(default)s)")  # fmt: skip
    made.set_defaults(call=lambda *given: _requeue(made, *given))


def _add_remove(commands: "Commands") -> None:
    example = """  python pyanamo.py remove -t Call --state done
  python pyanamo.py remove -t Call --state todo Sample7"""
    more = """Logs in S3 stay. An item that is locked is removed once its lease has ended, or if it
has none; with --force the worker that holds it stops its tasks and writes nothing more."""
    made = _command(commands, "remove", "Delete items from a table.", example, more)
    _add_choice(made, "todo, locked, done or failed")
    made.set_defaults(nested="failed", call=lambda *given: _change("remove", *given))


def _add_choice(made: argparse.ArgumentParser, states: str) -> None:
    """Add the flags that say which items to change."""
    add = made.add_argument
    add("-t", "--table", required=True, type=types.non_empty, help="workflow table")
    add("--state", required=True, type=types.non_empty, help=f"only items in this state: {states}")
    add("names", nargs="*", type=types.non_empty, metavar="TASKID",
        help="taskID or itemID; without one, all items in the state")  # fmt: skip
    add("--yes", action="store_true", help="do not ask")
    add("--force", action="store_true", help="also locked items that a worker holds")


def _requeue(
    made: argparse.ArgumentParser, arguments: argparse.Namespace, say: Messages
) -> ExitStatus:
    if arguments.state == "todo":
        made.error("items that are todo need not be requeued")
    return _change("requeue", arguments, say)


def _change(action: str, arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    from anamo.cli.progress_bar import progress_bar
    from anamo.operator.change import Action, Change, ChangeRequest

    request = ChangeRequest(
        table=arguments.table,
        region=arguments.region,
        action=Action(action),
        state=arguments.state,
        names=arguments.names,
        all_nested=arguments.nested == "all",
        force=arguments.force,
        confirmed=arguments.yes,
    )
    complete = Change(request, say, progress_bar).run()
    return ExitStatus.OK if complete else ExitStatus.ITEMS_LEFT
