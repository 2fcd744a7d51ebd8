"""`pyanamo.py plan`: its command line, and what it calls.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
from typing import TYPE_CHECKING

from anamo.cli import arguments as types
from anamo.cli.command_parser import add_command
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus
from anamo.operator.plan.price import WRITE_PRICE

if TYPE_CHECKING:
    from anamo.cli.command_parser import Commands

EXAMPLE = """  python pyanamo.py plan -t Align --workers 500 --task-time 90s
  python pyanamo.py plan -t Align --workers 500 --task-time 90s --items 1000000
  python pyanamo.py plan -t Call --workers 64 --task-time 10m --items 400 --nested 24 -n 4"""

MORE = """Without --items, the table is counted as `status` does, and one of its todo items stands
for all. With --items, AWS is not asked. It is arithmetic on what DynamoDB bills and on the limits
that AWS documents; what is assumed is printed below the figures."""


def add(commands: "Commands") -> None:
    """Add the command."""
    what = "How long a table takes, what it costs, and how many workers help."
    made = add_command(commands, "plan", what, EXAMPLE, MORE)
    add = made.add_argument
    number = types.whole_number(1)
    add("-t", "--table", required=True, type=types.non_empty, help="workflow table")
    add("--workers", required=True, type=number, metavar="N",
        help="worker processes, all together: -i on each machine")  # fmt: skip
    add("--task-time", required=True, type=types.duration, metavar="TIME",
        help="run time of one task, such as 90s")  # fmt: skip
    add("--items", type=number, metavar="N", help="items to be imported, instead of the table's")
    add("--nested", type=number, default=1, metavar="N",
        help="with --items: nested tasks of each (default: %(default)s, single items)")  # fmt: skip
    add("-n", "--parallel-nested", type=number, default=1, metavar="N",
        help="nested tasks of an item that run at once (default: %(default)s)")  # fmt: skip
    add("--wide", action="store_true",
        help="with --items: the table has indexes that hold whole items")  # fmt: skip
    add("--price", type=types.price, default=WRITE_PRICE, metavar="USD",
        help="of a million write units; a read unit costs a fifth of one (default: "
        "%(default)s, us-east-1 on demand)")  # fmt: skip
    made.set_defaults(call=lambda *given: _plan(made, *given))


def _plan(
    made: argparse.ArgumentParser, arguments: argparse.Namespace, say: Messages
) -> ExitStatus:
    if arguments.items is None:
        for flag, given in (("--nested", arguments.nested > 1), ("--wide", arguments.wide)):
            if given:
                made.error(f"{flag} goes with --items: without it, the table says so itself")
    # Here and not above, because --help needs none of it
    from anamo.operator.plan.plan import PlanRequest, print_plan

    request = PlanRequest(
        table=arguments.table,
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
