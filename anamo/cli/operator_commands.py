"""The operator's commands: their command lines, and what those that read call.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
import gc
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli import change_commands, export_command, plan_command
from anamo.cli.command_parser import WORDS, add_command, add_words, words
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus

if TYPE_CHECKING:
    from anamo.cli.command_parser import Commands
    from anamo.operator.status import Status

WATCH_SECONDS = 10.0
"""Seconds between two updates unless the command line says otherwise."""

GARBAGE = 100_000
"""How many new objects the garbage collector waits for, instead of Python's 700 or 2,000."""

PATIENCE_SECONDS = 900.0
"""How long `status --check --wait` waits for items that nobody holds: the default lease is 600 s,
and a worker looks again within a minute after it has ended."""

CHECK = """with --check, a gate between steps of a workflow, the exit code is
  0    every item is done
  1    nothing is left, and some items failed
  75   items are left: todo, locked, held, or in a state of another tool"""

LAG = """Counts come from an index of the table, which lags behind it by a moment, and a table that
is being worked on changes while it is read. DynamoDB bills every entry of the index that is read;
in tables of earlier versions, an entry is a whole item."""

FIELDS = """fields of --output json, a list with an object per table:
  table, todo, locked, done, failed, held (items), other states under their own names, total,
  tasks {todo, done, failed, total} (each nested task; a single item counts as one),
  workers (instances that hold a live lease), expired (locked items without one)
fields of --output tsv, after a line of headings:
  the same in this order, tasks as tasks_todo to tasks_total; held and other states as name=number
  in `other`
with names of samples, an object an item, or in TSV a line a task: table, taskID, itemID, state,
  attempts, instance, claimed, ended; of each task: task, argument, task_state, cause, exit_code,
  seconds, max_rss_mb, stderr (its last line), log, log_range
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
    also = (plan_command.add, export_command.add_export, *change_commands.ADD)
    for add in (_add_status, _add_logs, *also):
        add(commands)
    made.commands = commands.choices
    return made


def main(arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    """Do what the command says."""
    # A large table becomes millions of small objects, hardly any of them in a cycle: the collector,
    # which looks for cycles, would take a fifth of the time
    gc.set_threshold(GARBAGE)
    status: ExitStatus = arguments.call(arguments, say)
    return status


STATUS_EXAMPLE = """  python pyanamo.py status -t Align Call Filter -r us-east-1
  python pyanamo.py status -t Align Call Filter Sample7
  python pyanamo.py status -t Align Call Filter --by-task --where Align=done,Call=todo
  python pyanamo.py status -t Align --watch 30
  python pyanamo.py status -t Align Call Filter --html report.html
  python pyanamo.py status -t Align Call Filter --watch 60 --html report.html
  python pyanamo.py status -t Align --check && start-the-next-step"""


def _add_status(commands: "Commands") -> None:
    made = add_command(
        commands,
        "status",
        "How far the steps of a workflow are.",
        STATUS_EXAMPLE,
        f"{LAG}\n\n{WORDS}\n\n{FIELDS}\n\n{CHECK}",
    )
    add = made.add_argument
    add_words(made, "shows each of them in every step")
    add(
        "--output",
        choices=("table", "json", "tsv"),
        default="table",
        help="for people, or for scripts (default: %(default)s)",
    )
    form = made.add_mutually_exclusive_group()
    form.add_argument("--by-task", action="store_true", help="a line per taskID, a column per step")
    form.add_argument("--state", type=types.non_empty, help="the items in this state, one per line")
    add(
        "--where",
        action="append",
        default=[],
        type=types.non_empty,
        metavar="STEP=STATE",
        help="with --by-task: only samples of which this is so, such as Align=done,Call=todo; done "
        "means all its items in the step, none that it has none there, others at least one",
    )
    form.add_argument(
        "--watch",
        nargs="?",
        type=types.duration,
        const=WATCH_SECONDS,
        metavar="SECONDS",
        help=f"update it at intervals (default: {WATCH_SECONDS:.0f} s), with rate and time to go, "
        "until nothing is left to do",
    )
    add(
        "--html",
        type=types.non_empty,
        metavar="FILE",
        help="one self-contained page for a browser; with --watch, one that is written anew and "
        "loads itself again",
    )
    form.add_argument(
        "--check", action="store_true", help="say by the exit code whether every item is done"
    )
    add(
        "--wait",
        nargs="?",
        type=types.duration,
        const=PATIENCE_SECONDS,
        metavar="TIME",
        help="with --check: wait until nothing is left, or nobody has worked on it for that long "
        f"(default: {PATIENCE_SECONDS:.0f} s)",
    )
    made.set_defaults(call=lambda *given: _status(made, *given))


def _status(
    made: argparse.ArgumentParser, arguments: argparse.Namespace, say: Messages
) -> ExitStatus:
    _refuse_contradictions(made, arguments)
    # Here and not above, because --help needs none of it
    from anamo.operator.hints import Hints
    from anamo.operator.status import Status

    program = types.as_started("python pyanamo.py", say.program)
    hints = Hints(program, arguments.region, types.environment_bucket() or "BUCKET")
    whole_tables = arguments.check or arguments.html or arguments.watch is not None
    samples = not whole_tables
    status = Status(words(arguments), arguments.output, hints, say, samples=samples)
    if arguments.check:
        return _check(status, arguments.wait)
    if arguments.by_task:
        status.by_task(arguments.where)
    elif arguments.state:
        status.items(arguments.state)
    elif arguments.html:
        status.report(arguments.html, arguments.watch)
    elif arguments.watch is not None:
        status.watch(arguments.watch)
    else:
        status.summary()
    return ExitStatus.OK if status.complete else ExitStatus.AWS


def _refuse_contradictions(made: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    for flag in ("watch", "html"):
        if getattr(arguments, flag) is not None and arguments.output != "table":
            made.error(f"--{flag} is for people: leave out --output")
    for flag in ("watch", "html", "check"):
        if getattr(arguments, flag) not in (None, False) and (
            arguments.names or arguments.names_from
        ):
            made.error(f"--{flag} is of whole tables: leave out the names")
    forms = {"--by-task": arguments.by_task, "--state": arguments.state, "--check": arguments.check}
    for flag in (flag for flag, given in forms.items() if given and arguments.html):
        made.error(f"argument --html: not allowed with argument {flag}")
    if arguments.where and not arguments.by_task:
        made.error("--where goes with --by-task")
    if arguments.wait is not None and not arguments.check:
        made.error("--wait goes with --check")


def _check(status: "Status", patience: float | None) -> ExitStatus:
    from anamo.operator.check import Verdict

    verdicts = {
        Verdict.DONE: ExitStatus.OK,
        Verdict.FAILED: ExitStatus.TASKS_FAILED,
        Verdict.LEFT: ExitStatus.UNFINISHED,
    }
    return verdicts[status.check(patience)]


def _add_logs(commands: "Commands") -> None:
    example = """  python pyanamo.py logs -t Call Sample7
  python pyanamo.py logs -t Call Sample7 --nested Task_2 --stderr --tail 20
  python pyanamo.py logs -t Call Sample7 --follow
  python pyanamo.py logs -t Align Call --state failed | less"""
    more = f"""A log begins with what ran where, then come stdout and stderr. Where several are
shown, each has its task id above it. On a terminal, control characters are escaped; a pipe gets
every byte. Of a task that still runs, the log has what its worker has put in S3 so far: the end of
each stream (256 kB), as it was at the time that it says; see --partial-logs of the worker.

{WORDS}"""
    made = add_command(
        commands, "logs", "The whole logs of tasks, from S3, and the output so far.", example, more
    )
    add = made.add_argument
    add_words(made, "without one, give --state")
    add(
        "--state",
        type=types.non_empty,
        help="of items in this state only; of failed items, the tasks that failed",
    )
    add("--nested", type=types.non_empty, metavar="TASK",
        help="of one nested task, by its name or argument, such as Task_2 or chr3")  # fmt: skip
    add("--stderr", action="store_true", help="stderr only")
    add("--tail", type=types.whole_number(0), metavar="N", help="the last N lines of each stream")
    add(
        "-f",
        "--follow",
        action="store_true",
        help="go on with what is printed, until the items have ended",
    )
    made.set_defaults(call=_logs)


def _logs(arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    from anamo.operator.logs import LogsRequest, write_logs

    request = LogsRequest(
        words=words(arguments),
        state=arguments.state,
        nested=arguments.nested,
        stderr=arguments.stderr,
        tail=arguments.tail,
        follow=arguments.follow,
    )
    whole = write_logs(request, say)
    return ExitStatus.OK if whole else ExitStatus.AWS
