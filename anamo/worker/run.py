"""What `pyanamo.py` does without a command: check, work, say how it went.

Guaranteed: nothing is claimed before table, indexes and bucket have been found usable.
"""

import logging
from collections.abc import Mapping
from functools import partial
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from anamo.aws import session
from anamo.aws.instance import has_metadata_service, instance_id
from anamo.aws.log_store import LogStore
from anamo.aws.metadata import SpotNotices
from anamo.aws.retry import RetryPolicy
from anamo.aws.table import WorkflowTable
from anamo.aws.table_admin import AT_ONCE, CHECK_SECONDS
from anamo.aws.table_writes import Holder
from anamo.core.codec import ItemId
from anamo.core.errors import AnamoError, AwsError, internal
from anamo.core.log_entry import encoded_prefix
from anamo.worker import cgroup
from anamo.worker.control import Control
from anamo.worker.in_flight_claims import InFlightClaims
from anamo.worker.loop import Worker
from anamo.worker.messages import Finished, ForwardingHandler
from anamo.worker.options import Options
from anamo.worker.orphans import become_subreaper
from anamo.worker.pool import Limits, Pool
from anamo.worker.progress import Screen, WorkerTotals, count_todo, summarise
from anamo.worker.signals import Signals

logger = logging.getLogger(__name__)


def work(options: Options, signals: Signals, screen: Screen) -> WorkerTotals:
    """Work through the table.

    Returns:
        What all worker processes did; `signals.first` says whether a signal stopped them.

    Raises:
        AnamoError: Where it cannot begin.
        Interrupted: Where a signal came before it did.
    """
    began = monotonic()
    table = _check(options, signals, screen)
    signals.check()
    holder = Holder(instance_id(), options.lease)
    cgroup.remove_empty()
    pool = Pool(
        partial(_process, options, holder),
        options.processes,
        signals,
        _limits(options, began),
        screen,
    )
    screen.start(partial(count_todo, table))
    try:
        totals = pool.run()
    finally:
        screen.close()
    # What a process saw may be another process's item, which has ended since
    totals.held = totals.held and _held_by_others(options, totals)
    folder = "/".join([*encoded_prefix(options.prefix), options.table, ""])
    where = LogStore(None, options.bucket).address(folder)
    summarise(totals, options.table, monotonic() - began, where, screen.say)
    for error in dict.fromkeys(totals.errors):
        screen.say(error)
    return totals


def _check(options: Options, signals: Signals, screen: Screen) -> WorkflowTable:
    table = WorkflowTable(session.dynamodb_client(options.region), options.table)
    table.prepare(signals.sleep, screen.say)
    logs = LogStore(session.s3_client(options.region), options.bucket)
    RetryPolicy(signals.sleep).retry(logs.check, CHECK_SECONDS, at_once=AT_ONCE)
    return table


def _limits(options: Options, began: float) -> Limits:
    until = None if options.wall_time is None else began + options.wall_time
    notices = SpotNotices() if has_metadata_service() else None

    def notice() -> str | None:
        interruption = notices.interruption() if notices else None
        return interruption.what if interruption else None

    return Limits(options.grace, until, options.max_failures, notice, options.lease)


def _held_by_others(options: Options, totals: WorkerTotals) -> int:
    """How many items are locked now with a lease that has not ended, without those that this
    worker's processes left behind; 0 where the table cannot be asked.
    """
    try:
        # The credentials that were there when the work began may have expired
        table = WorkflowTable(session.dynamodb_client(options.region), options.table)
        leased = [item for item in table.locked() if item.lock_id not in totals.left]
    except AwsError as error:
        logger.debug("counting locked items: %s", error)
        return 0
    totals.consumed += table.meter.consumed
    now = table.clock.surely_past()
    return sum(item.lease_expires is not None and item.lease_expires >= now for item in leased)


def _process(
    options: Options,
    holder: Holder,
    connection: "Connection[Any, Any]",
    inherited: Mapping[ItemId, str],
) -> None:
    """The life of one worker process."""
    # What tasks leave behind stays with this process, so that it can be found and reaped
    become_subreaper()
    control = Control(connection, options.grace)
    control.attach()
    anamo = logging.getLogger("anamo")
    anamo.handlers = [ForwardingHandler(control.send, anamo.handlers)]
    try:
        dynamodb = partial(session.dynamodb_client, options.region)
        s3 = partial(session.s3_client, options.region)
        table = WorkflowTable(dynamodb(), options.table, renew_client=partial(dynamodb, renew=True))
        logs = LogStore(s3(), options.bucket, renew_client=partial(s3, renew=True))
        in_flight = InFlightClaims(control.send, inherited)
        finished = Worker(options, holder, control, table, logs, in_flight).run()
    except AnamoError as error:
        finished = Finished(str(error))
    except Exception as error:
        logger.debug("worker process", exc_info=True)
        finished = Finished(str(internal(error)))
    control.send(finished)
