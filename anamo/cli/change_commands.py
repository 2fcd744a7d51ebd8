"""The commands that change items: their command lines, and what each calls.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
import time
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli.command_parser import add_command
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus

if TYPE_CHECKING:
    from anamo.cli.command_parser import Commands
    from anamo.operator.change import Action, ChangeRequest

RESUME_SECONDS = 60.0
"""Seconds between two looks of `resume --watch`: each reads the tables of the earlier steps."""


def _add_requeue(commands: "Commands") -> None:
    example = """  python pyanamo.py requeue -t Call --state failed
  python pyanamo.py requeue -t Call --state failed Sample7 Sample9 --yes
  python pyanamo.py requeue -t Call --state locked     after workers were lost"""
    more = """Failed nested tasks run again and done ones do not; with --nested all, and in items
that are done, all do. An item that is locked is freed once its lease has ended, or if it has none;
--force takes it from the worker that holds it, which stops its tasks and writes nothing more."""
    made = add_command(commands, "requeue", "Have items run again.", example, more)
    _add_choice(made, "failed, locked or done")
    made.add_argument("--nested", choices=("failed", "all"), default="failed",
                      help="which nested tasks run again (default: %(default)s)")  # fmt: skip
    made.set_defaults(call=lambda *given: _requeue(made, *given))


def _add_remove(commands: "Commands") -> None:
    example = """  python pyanamo.py remove -t Call --state done
  python pyanamo.py remove -t Call --state todo Sample7"""
    more = """Logs in S3 stay. An item that is locked is removed once its lease has ended, or if it
has none; with --force the worker that holds it stops its tasks and writes nothing more."""
    made = add_command(commands, "remove", "Delete items from a table.", example, more)
    _add_choice(made, "todo, held, locked, done or failed")
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


def _add_hold(commands: "Commands") -> None:
    example = """  python pyanamo.py hold Sample7 -t Call Filter
  python pyanamo.py hold -t Call"""
    more = "What workers have claimed already goes on. An import with --hold adds items as held."
    what = "Keep todo items from being claimed, until they are resumed."
    made = add_command(commands, "hold", what, example, more)
    _add_tables(made, "todo")
    made.set_defaults(call=_hold)


def _add_resume(commands: "Commands") -> None:
    example = """  python pyanamo.py resume Sample7 -t Call Filter
  python pyanamo.py resume -t Call --after Align QC
  python pyanamo.py resume -t Call --after Align QC --watch"""
    more = """With --after, an item is resumed once all items of its task id are done in the tables
named. It can be repeated as often as you like, from cron for instance. Each time it reads every
item of those tables, which DynamoDB bills."""
    what = "Let held items be claimed: all of them, or those that earlier steps are done with."
    made = add_command(commands, "resume", what, example, more)
    _add_tables(made, "held")
    made.add_argument(
        "--after",
        nargs="+",
        default=[],
        type=types.non_empty,
        metavar="TABLE",
        help="only samples whose items are all done in these tables",
    )
    made.add_argument(
        "--watch",
        nargs="?",
        type=types.duration,
        const=RESUME_SECONDS,
        metavar="SECONDS",
        help=f"look again at intervals (default: {RESUME_SECONDS:.0f} s) until nothing is held",
    )
    made.set_defaults(call=lambda *given: _resume(made, *given))


def _add_tables(made: argparse.ArgumentParser, state: str) -> None:
    add = made.add_argument
    add("-t", "--table", required=True, nargs="+", type=types.non_empty, help="workflow tables")
    add(
        "names",
        nargs="*",
        type=types.non_empty,
        metavar="TASKID",
        help=f"taskID or itemID, before -t; without one, all items that are {state}",
    )


def _hold(arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    from anamo.cli.progress_bar import progress_bar
    from anamo.operator.change import Action, Change

    requests = _requests(arguments, Action.HOLD, "todo")
    complete = [Change(request, say, progress_bar).run() for request in requests]
    return ExitStatus.OK if all(complete) else ExitStatus.ITEMS_LEFT


def _resume(
    made: argparse.ArgumentParser, arguments: argparse.Namespace, say: Messages
) -> ExitStatus:
    if arguments.watch is not None and not arguments.after:
        made.error("--watch goes with --after")
    from anamo.cli.progress_bar import progress_bar
    from anamo.operator.change import Action, Change
    from anamo.operator.prerequisites import Prerequisites

    requests = _requests(arguments, Action.RESUME, "held")
    if not arguments.after:
        complete = [Change(request, say, progress_bar).run() for request in requests]
        return ExitStatus.OK if all(complete) else ExitStatus.ITEMS_LEFT
    earlier = types.unique(arguments.after)
    prerequisites = Prerequisites(requests, earlier, say, progress_bar)
    while prerequisites.resume() and arguments.watch is not None:
        time.sleep(arguments.watch)
    return ExitStatus.OK


def _requests(arguments: argparse.Namespace, action: "Action", state: str) -> list["ChangeRequest"]:
    from anamo.operator.change import ChangeRequest

    return [
        ChangeRequest(
            table=table,
            region=arguments.region,
            action=action,
            state=state,
            names=arguments.names,
            confirmed=True,
        )
        for table in types.unique(arguments.table)
    ]


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


ADD = (_add_requeue, _add_remove, _add_hold, _add_resume)
"""Functions that add the commands to a parser."""
