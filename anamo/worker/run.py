"""What `pyanamo.py` does without a command: check, work, say how it went.

Guaranteed: nothing is claimed before table, indexes and bucket have been found usable.
"""

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from anamo.aws import session
from anamo.aws.instance import has_metadata_service, instance_id
from anamo.aws.log_store import LogStore
from anamo.aws.metadata import SpotNotice
from anamo.aws.retry import RetryPolicy
from anamo.aws.table import WorkflowTable
from anamo.aws.table_admin import AT_ONCE, CHECK_SECONDS
from anamo.aws.table_writes import Holder
from anamo.cli import live_line
from anamo.cli.console import Messages
from anamo.cli.live_line import Lines, LiveLine
from anamo.cli.main import ExitStatus
from anamo.core.errors import AnamoError, internal
from anamo.core.item import State
from anamo.core.log_entry import encoded_prefix
from anamo.worker.control import Control
from anamo.worker.holdings import Holdings
from anamo.worker.loop import Worker
from anamo.worker.messages import Finished, ItemEnded
from anamo.worker.options import Options
from anamo.worker.pool import Limits, Pool, WorkerTotals
from anamo.worker.progress import item_line, summarise
from anamo.worker.signals import Signals

logger = logging.getLogger(__name__)


def work(
    options: Options, signals: Signals, say: Callable[[str], object], quiet: bool
) -> ExitStatus:
    """Work through the table.

    Raises one of `errors` where it cannot begin, Interrupted where a signal came before it did.
    """
    began = monotonic()
    table = _check(options, signals, say)
    signals.check()
    holder = Holder(instance_id(), options.lease)
    pool = Pool(
        lambda *given: _process(options, holder, *given),
        options.processes,
        signals,
        _limits(options, began),
        _shown(table, say, quiet),
    )
    tally = pool.run()
    folder = "/".join([*encoded_prefix(options.prefix), options.table, ""])
    where = LogStore(None, options.bucket).address(folder)
    summarise(tally, options.table, monotonic() - began, where, say)
    for error in dict.fromkeys(tally.errors):
        say(error)
    return _status(tally, signals)


def _shown(table: WorkflowTable, say: Callable[[str], object], quiet: bool) -> Lines | LiveLine:
    """What the operator sees while the work goes on."""

    def line(ended: ItemEnded) -> None:
        say(item_line(ended))

    if quiet:
        return Lines(lambda ended: None)
    if not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Lines(line)
    left, exact = live_line.todo(table)
    Messages.begin = live_line.CLEAR
    return LiveLine(sys.stderr, left, exact, line)


def _check(options: Options, signals: Signals, say: Callable[[str], object]) -> WorkflowTable:
    table = WorkflowTable(session.dynamodb_client(options.region), options.table)
    table.prepare(signals.sleep, say)
    logs = LogStore(session.s3_client(options.region), options.bucket)
    RetryPolicy(signals.sleep).retry(logs.check, CHECK_SECONDS, at_once=AT_ONCE)
    return table


def _limits(options: Options, began: float) -> Limits:
    until = None if options.wall_time is None else began + options.wall_time
    notice = SpotNotice() if has_metadata_service() else lambda: None
    return Limits(options.grace, until, options.max_failures, notice)


def _status(tally: WorkerTotals, signals: Signals) -> ExitStatus:
    if signals.first is not None:
        return ExitStatus(128 + signals.first)
    if tally.errors or tally.kept:
        return ExitStatus.AWS
    failed = tally.items[State.FAILED] or tally.drained_by_failures
    return ExitStatus.TASKS_FAILED if failed else ExitStatus.OK


def _process(
    options: Options,
    holder: Holder,
    connection: "Connection[Any, Any]",
    holdings: Holdings,
) -> None:
    """The life of one worker process."""
    control = Control(connection, options.grace)
    control.attach()
    try:
        dynamodb = partial(session.dynamodb_client, options.region)
        s3 = partial(session.s3_client, options.region)
        table = WorkflowTable(dynamodb(), options.table, renew_client=partial(dynamodb, renew=True))
        logs = LogStore(s3(), options.bucket, renew_client=partial(s3, renew=True))
        finished = Worker(options, holder, control, table, logs, holdings).run()
    except AnamoError as error:
        finished = Finished(str(error))
    except Exception as error:
        logger.debug("worker process", exc_info=True)
        finished = Finished(str(internal(error)))
    control.report(finished)
