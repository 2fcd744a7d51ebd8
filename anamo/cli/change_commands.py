"""The commands that change items: their command lines, and what each calls.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli.command_parser import READS, WORDS, AddParser, add_command, add_words, words
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus
from anamo.cli.progress_bar import progress_bar

if TYPE_CHECKING:
    from anamo.operator.change import ChangeRequest

CHANGES = READS | {
    ExitStatus.ITEMS_LEFT: "some of the selected items were left as they are",
    ExitStatus.USAGE: "wrong usage or an unknown name; nothing was changed",
}
"""Those of a command that changes items and does not ask."""

ASKS = CHANGES | {
    ExitStatus.ITEMS_LEFT: f"{CHANGES[ExitStatus.ITEMS_LEFT]}, or you answered no",
    ExitStatus.USAGE: "wrong usage, an unknown name, or no terminal to ask on; nothing was changed",
}
"""Those of one that asks first."""

RESUME_SECONDS = 60.0
"""Seconds between two checks of `resume --watch`: each reads the tables of the earlier steps."""


def _add_retry(add_parser: AddParser) -> None:
    example = """  python pyanamo.py retry -t Align Call Filter
  python pyanamo.py retry -t Call Sample7 --nested chr4"""
    more = f"""It is `requeue --state failed`: failed nested tasks run again, done ones do not.

{WORDS}"""
    made = add_command(add_parser, "retry", "Retry everything that failed.", example, more, ASKS)
    add_words(made, "default: everything that failed")
    made.add_argument("--nested", type=types.non_empty, metavar="TASK", default="failed",
                      help="one nested task only, by its name or argument")  # fmt: skip
    made.add_argument("--yes", action="store_true", help="do not ask")
    made.set_defaults(state="failed", force=False, call=lambda *given: _change("retry", *given))


def _add_requeue(add_parser: AddParser) -> None:
    example = """  python pyanamo.py requeue -t Call --state failed
  python pyanamo.py requeue -t Align Call Filter Sample7 Sample9
  python pyanamo.py requeue -t Call --state failed --names-from names.txt --yes
  python pyanamo.py requeue -t Call --state locked     after workers were lost"""
    more = f"""Failed nested tasks run again and done ones do not; with --nested all, and in items
that are done, all do. An item that is locked is freed once its lease has ended, or if it has none;
--force takes it from the worker that holds it, which stops its tasks and writes nothing more.

{WORDS}"""
    made = add_command(add_parser, "requeue", "Requeue items.", example, more, ASKS)
    _add_choice(made, "failed, locked or done")
    made.add_argument("--nested", type=types.non_empty, default="failed", metavar="TASK",
                      help="which nested tasks run again: failed, all, or one by its name or "
                      "argument, such as Task_3 or chr4 (default: %(default)s)")  # fmt: skip
    made.set_defaults(call=lambda *given: _change("requeue", *given))


def _add_remove(add_parser: AddParser) -> None:
    example = """  python pyanamo.py remove -t Call --state done
  python pyanamo.py remove -t Align Call Filter Sample7 Sample9
  python pyanamo.py remove -t Call Sample7 --nested chrY"""
    more = f"""Logs in S3 stay. An item that is locked is removed once its lease has ended, or if it
has none; with --force the worker that holds it stops its tasks and writes nothing more. With
--nested, the item stays, and the same line imported again adds nothing.

{WORDS}"""
    made = add_command(add_parser, "remove", "Delete items from tables.", example, more, ASKS)
    _add_choice(made, "todo, held, locked, done or failed")
    made.add_argument("--nested", type=types.non_empty, metavar="TASK",
                      help="take one nested task that failed, by its name or argument, out of "
                      "failed items; an item is done if its others are")  # fmt: skip
    made.set_defaults(call=lambda *given: _change("remove", *given))


def _add_choice(made: argparse.ArgumentParser, states: str) -> None:
    """Add the flags that say which items to change."""
    add = made.add_argument
    add_words(made, "default: all items in the state")
    add("--state", type=types.non_empty,
        help=f"only items in this state: {states}; not needed where items are named")  # fmt: skip
    add("--yes", action="store_true", help="do not ask")
    add("--force", action="store_true", help="also locked items that a worker holds")


def _add_hold(add_parser: AddParser) -> None:
    example = """  python pyanamo.py hold -t Call Filter Sample7
  python pyanamo.py hold -t Call"""
    more = f"""Items already claimed continue to run. An import with --hold adds items as held.

{WORDS}"""
    what = "Keep todo items from being claimed, until they are resumed."
    made = add_command(add_parser, "hold", what, example, more, CHANGES)
    add_words(made, "default: all items that are todo")
    made.set_defaults(call=_hold)


def _add_resume(add_parser: AddParser) -> None:
    example = """  python pyanamo.py resume -t Call Filter Sample7
  python pyanamo.py resume -t Call --after Align QC
  python pyanamo.py resume -t Call --after Align QC --watch"""
    more = f"""With --after, an item is resumed once all items of its task id are done in the tables
named. It can be repeated as often as you like, from cron for instance. Each time it reads every
item of those tables, which DynamoDB bills.

{WORDS}"""
    what = "Let held items be claimed: all of them, or those whose earlier steps are done."
    without_after = f"{CHANGES[ExitStatus.ITEMS_LEFT]} (0 with --after)"
    codes = CHANGES | {ExitStatus.ITEMS_LEFT: without_after}
    made = add_command(add_parser, "resume", what, example, more, codes)
    add_words(made, "default: all items that are held")
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
        type=types.positive_duration,
        const=RESUME_SECONDS,
        metavar="TIME",
        help=f"check again at intervals (default: {RESUME_SECONDS:.0f} s) until nothing is held; "
        "print what is new",
    )
    made.set_defaults(call=lambda *given: _resume(made, *given))


def _hold(arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    from anamo.operator.change import Action, ChangeRequest

    return _run(ChangeRequest(Action.HOLD, "todo", confirmed=True, implied=True), arguments, say)


def _resume(
    made: argparse.ArgumentParser, arguments: argparse.Namespace, say: Messages
) -> ExitStatus:
    if arguments.watch is not None and not arguments.after:
        made.error("--watch goes with --after")
    from anamo.operator.change import Action, ChangeRequest
    from anamo.operator.prerequisites import Prerequisites

    if not arguments.after:
        return _run(
            ChangeRequest(Action.RESUME, "held", confirmed=True, implied=True), arguments, say
        )
    prerequisites = Prerequisites(words(arguments), arguments.after, say, progress_bar)
    if arguments.watch is None:
        prerequisites.resume()
    else:
        prerequisites.watch(arguments.watch)
    return ExitStatus.OK


def _change(action: str, arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    from anamo.core.errors import UsageError
    from anamo.operator.change import Action, ChangeRequest
    from anamo.operator.nested_choice import ALL, FAILED_ONES, NestedChoice

    if action == "remove" and arguments.nested in (FAILED_ONES, ALL):
        raise UsageError(
            f"--nested {arguments.nested}: give the name or argument of one nested task; to remove "
            "whole items, leave --nested out"
        )
    request = ChangeRequest(
        action=Action.REQUEUE if action == "retry" else Action(action),
        state=arguments.state,
        nested=NestedChoice(arguments.nested or FAILED_ONES),
        force=arguments.force,
        confirmed=arguments.yes,
        implied=action == "retry",
    )
    return _run(request, arguments, say)


def _run(request: "ChangeRequest", arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    from anamo.operator.change import change

    complete = change(request, words(arguments), say, progress_bar)
    return ExitStatus.OK if complete else ExitStatus.ITEMS_LEFT


ADD = (_add_requeue, _add_retry, _add_remove, _add_hold, _add_resume)
"""Functions that add the commands to a parser."""
