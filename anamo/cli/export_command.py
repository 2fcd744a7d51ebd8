"""`pyanamo.py export`: its command line, and what it calls.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli.command_parser import WORDS, add_command, add_words, words
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus

if TYPE_CHECKING:
    from anamo.cli.command_parser import Commands

EXAMPLE = """  python pyanamo.py export -t Align Call > tasks.tsv
  python pyanamo.py export -t Align --state failed --output json
  python pyanamo.py export -t Align --output parquet > tasks.parquet"""

COLUMNS = """columns of all three forms:
  table, taskID, itemID, task and argument (of a nested task), script, state (of the item),
  task_state, cause, exit_code, signal, seconds, max_rss_mb, attempts, instance, claimed, ended,
  log (S3 address), log_range, and tag_KEY for each KEY=VALUE that a task has printed after
  `PyAnamo:` and a tab; other such lines are in `tag`
What is not known is empty, null in JSON and Parquet. In TSV, an apostrophe stands before what a
spreadsheet would take for a formula. JSON is a list with an object on each line; Parquet needs the
package pyarrow. Of a task that is to run again, cause to max_rss_mb, log and tags are those of its
last run.

A table that is being worked on changes while it is read: of each item, the export has one state
that it was in. DynamoDB bills the whole of every item."""


def add_export(commands: "Commands") -> None:
    """Add the command."""
    made = add_command(
        commands,
        "export",
        "A line for each task, for R, pandas and spreadsheets.",
        EXAMPLE,
        f"{COLUMNS}\n\n{WORDS}",
    )
    add = made.add_argument
    add_words(made, "without one, all items")
    add("--state", type=types.non_empty, help="only of items in this state")
    add("--output", choices=("tsv", "json", "parquet"), default="tsv",
        help="form of the output (default: %(default)s)")  # fmt: skip
    made.set_defaults(call=_export)


def _export(arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    # Here and not above, because --help needs none of it
    from anamo.aws.retry import OperatorRetry
    from anamo.operator.export import check_form, export
    from anamo.operator.target import find_target
    from anamo.operator.tasks import tasks

    check_form(arguments.output)
    retry = OperatorRetry(say)
    target = find_target(words(arguments), retry)
    export(tasks(target, arguments.state, retry, say), arguments.output)
    return ExitStatus.OK
