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
from anamo.aws.instance import has_metadata_service, instance_id, job_attempt
from anamo.aws.log_store import LogStore
from anamo.aws.metadata import Interruption, SpotNotices
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
from anamo.worker.other_workers import OtherWorkers
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
    holder = Holder(instance_id(), options.lease, job_attempt())
    cgroup.remove_empty()
    work = partial(_process, options, holder)
    pool = Pool(work, options.processes, signals, _limits(options, began), screen)
    others = OtherWorkers(options, holder)
    screen.start(partial(count_todo, table))
    try:
        totals = pool.run()
        while options.wait and not totals.ended_early and others.wait(totals.left, pool.rest):
            totals = pool.run()
    except AwsError as fault:
        totals.errors.append(str(fault))
    finally:
        screen.close()
    if signals.first is None:
        _look_once_more(totals, others)
    folder = "/".join([*encoded_prefix(options.prefix), options.table, ""])
    where = LogStore(None, options.bucket).address(folder)
    summarise(totals, options.table, monotonic() - began, where, screen.say)
    for error in dict.fromkeys([*totals.errors, *totals.lost]):
        screen.say(error)
    return totals


def _look_once_more(totals: WorkerTotals, others: OtherWorkers) -> None:
    """Find out what is left: what a process saw may be another process's item, and done by now."""
    totals.work_left = bool(totals.lost)
    if not (totals.held or totals.ended_early or totals.left):
        return
    try:
        look = others.look(totals.left)
    except AwsError as fault:
        logger.debug("looking at the table: %s", fault)
        totals.held = 0
        totals.work_left = totals.work_left or totals.ended_early or bool(totals.left)
    else:
        totals.held, totals.held_until = look.held, look.until
        totals.work_left = totals.work_left or look.claimable or look.own
    totals.consumed += others.consumed


def _check(options: Options, signals: Signals, screen: Screen) -> WorkflowTable:
    table = WorkflowTable(session.dynamodb_client(options.region), options.table)
    table.prepare(signals.sleep, screen.say)
    logs = LogStore(session.s3_client(options.region), options.bucket)
    RetryPolicy(signals.sleep).retry(logs.check, CHECK_SECONDS, at_once=AT_ONCE)
    return table


def _limits(options: Options, began: float) -> Limits:
    until = None if options.wall_time is None else began + options.wall_time
    notices = SpotNotices() if has_metadata_service() else None

    def notice() -> Interruption | None:
        if not notices:
            return None
        if notices.rebalance():
            logger.warning("EC2 may take this Spot machine away soon (rebalance recommendation)")
        return notices.interruption()

    return Limits(options.grace, until, options.max_failures, notice, options.lease)


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
        holder = holder.as_process()
        finished = Worker(options, holder, control, table, logs, in_flight).run()
    except AnamoError as error:
        finished = Finished(str(error))
    except Exception as error:
        logger.debug("worker process", exc_info=True)
        finished = Finished(str(internal(error)))
    control.send(finished)
