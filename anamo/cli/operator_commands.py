"""The operator's command lines, and what the commands that only read call.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli import change_commands, help_text
from anamo.cli.command_parser import READS, WORDS, AddParser, add_command, add_words, words
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus
from anamo.operator.plan.price import WRITE_PRICE

if TYPE_CHECKING:
    from anamo.operator.status import Status

WATCH_SECONDS = 10.0
"""Seconds between two updates unless the command line says otherwise."""

GARBAGE = 100_000
"""How many new objects the garbage collector waits for, instead of Python's 700 or 2,000."""

IDLE_SECONDS = 900.0
"""How long `status --check --wait` waits while no worker holds an item: the default lease is 600 s,
and a worker checks again within a minute after it has ended."""

STATUS_CODES = READS | {
    ExitStatus.OK: "done; with --check: every item is done",
    ExitStatus.TASKS_FAILED: "with --check: nothing is left, and some items failed",
    ExitStatus.UNFINISHED: (
        "with --check: items are left (todo, locked, held, or in a state of another tool)"
    ),
}

LOGS_CODES = READS | {
    ExitStatus.USAGE: "wrong usage, an unknown name, or none of the items has a log yet",
    ExitStatus.AWS: f"{READS[ExitStatus.AWS]}, or a log is not in S3 any more (0 with --follow)",
}

LAG = """Counts come from an index of the table, which lags behind it by a moment, and a table that
workers use changes while it is read. DynamoDB bills every entry of the index that is read;
in tables of earlier versions, an entry is a whole item."""

STILL_TO_COME = """The table of a later step may not exist yet. So if some words after -t are not
tables, and none of these is a sample either, they are reported as missing tables, the others are
shown, and the exit code is 3."""

FIELDS = """Fields of --output json, a list with an object per table: table, todo, locked, done,
failed, held (items), other states under their own names, total, tasks {todo, done, failed, total}
(each nested task; a single item counts as one), workers (instances that hold a live lease), expired
(locked items without one).

Fields of --output tsv, after a line of headings: the same in this order, tasks as tasks_todo to
tasks_total; held and other states as name=number in `other`.

With names of samples, an object an item, or in TSV a line a task: table, taskID, itemID, state,
attempts, instance, claimed, ended; of each task: task, argument, task_state, cause, exit_code,
seconds, max_rss_mb, stderr (its last line), log, log_range.

With --by-task: taskID, and for each table the states of its items. With --state: table, itemID,
taskID, state, tasks_ended, tasks_total, instance, since, exit_codes, stderr (its last line)."""


def parser(program: str) -> types.Parser:
    """The command line of all commands; `program` is what was started."""
    made = types.Parser(
        prog=program,
        description="Show the progress of workflow tables and retry what failed.",
        allow_abbrev=False,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_status, _add_logs, _add_plan, _add_export, *change_commands.ADD):
        add(commands.add_parser)
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
  python pyanamo.py status -t Align Call --by-task --where Align=done,Call=todo
  python pyanamo.py status -t Align --watch 30
  python pyanamo.py status -t Align Call Filter --html report.html
  python pyanamo.py status -t Align Call Filter --watch 60 --html report.html
  python pyanamo.py status -t Align --check && start-the-next-step"""


def _add_status(add_parser: AddParser) -> None:
    made = add_command(
        add_parser,
        "status",
        "Show the progress of the steps.",
        STATUS_EXAMPLE,
        f"{LAG}\n\n{STILL_TO_COME}\n\n{WORDS}\n\n{FIELDS}",
        STATUS_CODES,
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
        help="with --by-task: only samples that meet this, such as Align=done,Call=todo; "
        "done: all its items in the step are; none: it has none there; others: at least one is",
    )
    form.add_argument(
        "--watch",
        nargs="?",
        type=types.positive_duration,
        const=WATCH_SECONDS,
        metavar="TIME",
        help=f"update it at intervals (default: {WATCH_SECONDS:.0f} s), with rate and time left, "
        "until nothing is left to do",
    )
    add(
        "--html",
        type=types.non_empty,
        metavar="FILE",
        help="one self-contained report for a browser; with --watch, rewritten regularly, and "
        "reloaded by the browser",
    )
    form.add_argument(
        "--check",
        action="store_true",
        help="a gate between steps: the exit code tells whether every item is done",
    )
    add(
        "--wait",
        nargs="?",
        type=types.duration,
        const=IDLE_SECONDS,
        metavar="TIME",
        help="with --check: wait until nothing is left, or no worker has worked on an item for "
        f"this long (default: {IDLE_SECONDS:.0f} s)",
    )
    made.set_defaults(call=lambda *given: _status(made, *given))


def _status(
    made: argparse.ArgumentParser, arguments: argparse.Namespace, say: Messages
) -> ExitStatus:
    _refuse_contradictions(made, arguments)
    # Here and not above, because --help needs none of it
    from anamo.operator.hints import Hints
    from anamo.operator.status import Status

    program = help_text.as_started("python pyanamo.py", say.program)
    hints = Hints(program, arguments.region, types.environment_bucket() or "BUCKET")
    whole_tables = arguments.check or arguments.html or arguments.watch is not None
    samples = not whole_tables
    status = Status(words(arguments), arguments.output, hints, say, samples=samples)
    if not status.complete and arguments.check:
        # A message has said which table cannot be read
        return ExitStatus.AWS
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
    shown = {"--watch": arguments.watch is not None, "--html": arguments.html is not None}
    for flag, given in {**shown, "--check": arguments.check}.items():
        if given and arguments.output != "table":
            made.error(f"{flag} cannot be combined with --output")
        if given and (arguments.names or arguments.names_from):
            made.error(f"{flag} covers whole tables: do not name items")
    forms = {"--by-task": arguments.by_task, "--state": arguments.state, "--check": arguments.check}
    others = [flag for flag, given in forms.items() if given]
    if arguments.html and others:
        made.error(f"argument --html: not allowed with argument {others[0]}")
    if arguments.where and not arguments.by_task:
        made.error("--where goes with --by-task")
    if arguments.wait is not None and not arguments.check:
        made.error("--wait goes with --check")


def _check(status: "Status", idle_limit: float | None) -> ExitStatus:
    from anamo.operator.check import Verdict

    verdicts = {
        Verdict.DONE: ExitStatus.OK,
        Verdict.FAILED: ExitStatus.TASKS_FAILED,
        Verdict.LEFT: ExitStatus.UNFINISHED,
    }
    return verdicts[status.check(idle_limit)]


def _add_logs(add_parser: AddParser) -> None:
    example = """  python pyanamo.py logs -t Call Sample7
  python pyanamo.py logs -t Call Sample7 --nested Task_2 --stderr --tail 20
  python pyanamo.py logs -t Call Sample7 --follow
  python pyanamo.py logs -t Align Call --state failed | less"""
    more = f"""A log begins with what ran where, then come stdout and stderr. Where several are
shown, each has its task id above it. On a terminal, control characters are escaped; a pipe gets
every byte. For a task that still runs, the log has what its worker has put in S3 so far: the end of
each stream (256 kB), as it was at the time that it says; see --partial-logs of the worker.

{WORDS}"""
    what = "Print task logs from S3, including partial output."
    made = add_command(add_parser, "logs", what, example, more, LOGS_CODES)
    add = made.add_argument
    add_words(made, "without one, give --state")
    add(
        "--state",
        type=types.non_empty,
        help="only items in this state; for failed items, only the failed tasks",
    )
    add("--nested", type=types.non_empty, metavar="TASK",
        help="only one nested task, by its name or argument, such as Task_2 or chr3")  # fmt: skip
    add("--stderr", action="store_true", help="stderr only")
    add("--tail", type=types.whole_number(0), metavar="N", help="the last N lines of each stream")
    add(
        "-f",
        "--follow",
        action="store_true",
        help="keep printing new output until the items end",
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


PLAN_EXAMPLE = """  python pyanamo.py plan -t Align --workers 500 --task-time 90s
  python pyanamo.py plan -t Align --workers 500 --task-time 90s --items 1000000
  python pyanamo.py plan -t Call --workers 64 --task-time 10m \\
    --items 400 --nested 24 -n 4"""

BASIS = """Without --items, the table is counted as `status` does, and one of its items stands for
all. With --items, AWS is not asked. It is arithmetic on what DynamoDB bills and on the limits that
AWS documents; what is assumed is printed below the figures. It takes one table; for several, add up
the figures."""

MOST_WORKERS, MOST_ITEMS, MOST_SECONDS, MOST_USD = 10**9, 10**12, 86_400.0 * 100_000, 10.0**6
"""What `plan` takes at most, so that its figures have room on a line."""


def _at_most(most: float, kind: Callable[[str], float]) -> Callable[[str], float]:
    """Type of a flag whose value is no larger than `most`."""

    def parse(text: str) -> float:
        number = kind(text)
        if number > most:
            raise argparse.ArgumentTypeError(f"{text} is more than {most:,.0f}")
        return number

    return parse


def _add_plan(add_parser: AddParser) -> None:
    what = (
        "Estimate how long a table will take, what it will cost, and how many workers are useful."
    )
    made = add_command(add_parser, "plan", what, PLAN_EXAMPLE, BASIS, READS)
    add = made.add_argument
    number = types.whole_number(1)
    workers = _at_most(MOST_WORKERS, number)
    types.add_table_flag(made)
    add("--workers", required=True, type=workers, metavar="N",
        help="worker processes, all together: -i on each machine")  # fmt: skip
    add("--task-time", required=True, type=_at_most(MOST_SECONDS, types.duration), metavar="TIME",
        help="run time of one task, such as 90s")  # fmt: skip
    add("--items", type=_at_most(MOST_ITEMS, number), metavar="N",
        help="items to be imported, instead of the table's")  # fmt: skip
    add("--nested", type=_at_most(MOST_WORKERS, number), default=1, metavar="N",
        help="with --items: nested tasks of each (default: %(default)s, single items)")  # fmt: skip
    add("-n", "--parallel-nested", type=workers, default=1, metavar="N",
        help="nested tasks of an item that run at once (default: %(default)s)")  # fmt: skip
    add("--wide", action="store_true",
        help="with --items: the table has indexes that hold whole items")  # fmt: skip
    add("--price", type=_at_most(MOST_USD, types.price), default=WRITE_PRICE, metavar="USD",
        help="of a million write units; a read unit costs a fifth of one (default: "
        "%(default)s, us-east-1 on demand)")  # fmt: skip
    made.set_defaults(call=lambda *given: _plan(made, *given))


def _plan(
    made: argparse.ArgumentParser, arguments: argparse.Namespace, say: Messages
) -> ExitStatus:
    if arguments.items is None:
        if arguments.nested > 1:
            made.error("--nested needs --items; without it, nested tasks are counted in the table")
        if arguments.wide:
            made.error("--wide needs --items; without it, the table's indexes are looked up")
    table, *others = types.tables(arguments)
    if others:
        given = ", ".join([table, *others])
        made.error(f"plan takes one table and no samples; it was given {given}")
    from anamo.operator.plan.plan import PlanRequest, print_plan

    request = PlanRequest(
        table=table,
        region=arguments.region,
        workers=arguments.workers,
        task_seconds=arguments.task_time,
        items=arguments.items,
        nested=arguments.nested,
        at_once=arguments.parallel_nested,
        price=arguments.price,
        wide=arguments.wide,
    )
    print_plan(request, say)
    return ExitStatus.OK


EXPORT_EXAMPLE = """  python pyanamo.py export -t Align Call > tasks.tsv
  python pyanamo.py export -t Align --state failed --output json
  python pyanamo.py export -t Align --output parquet > tasks.parquet"""

COLUMNS = """Columns of all three forms: table, taskID, itemID, task and argument (of a nested
task), script, state (of the item), task_state, cause, exit_code, signal, seconds, max_rss_mb,
attempts, instance, claimed, ended, log (S3 address), log_range, and tag_KEY for each KEY=VALUE that
a task has printed after `PyAnamo:` and a tab; other such lines are in `tag`.

What is not known is empty, null in JSON and Parquet. In TSV, an apostrophe stands before what a
spreadsheet would take for a formula. JSON is a list with an object on each line; Parquet needs the
package pyarrow. For a task that is to run again, cause to max_rss_mb, log and tags are those of
its last run.

A table that workers use changes while it is read: the export has each item in one of the states
that it was in. With --state or names, it may lack an item that changes its state meanwhile.
DynamoDB bills the whole of every item."""


def _add_export(add_parser: AddParser) -> None:
    made = add_command(
        add_parser,
        "export",
        "Export a line for each task, for R, pandas and spreadsheets.",
        EXPORT_EXAMPLE,
        f"{COLUMNS}\n\n{WORDS}",
        READS,
    )
    add = made.add_argument
    add_words(made, "default: all items")
    add("--state", type=types.non_empty, help="only items in this state")
    add("--output", choices=("tsv", "json", "parquet"), default="tsv",
        help="form of the output (default: %(default)s)")  # fmt: skip
    made.set_defaults(call=_export)


def _export(arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    from anamo.aws.retry import OperatorRetry
    from anamo.operator.export import check_form, export
    from anamo.operator.target import find_target
    from anamo.operator.tasks import tasks

    check_form(arguments.output)
    retry = OperatorRetry(say)
    target = find_target(words(arguments), retry)
    export(tasks(target, arguments.state, retry, say), arguments.output)
    return ExitStatus.OK
