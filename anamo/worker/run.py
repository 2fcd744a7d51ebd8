"""Runs the worker: checks the tables, starts the worker processes, prints the summary.

Guaranteed: nothing is claimed before all tables and their indexes have been found usable, and a
small object has been written where the logs of each of them go.
"""

import logging
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from anamo.aws import session
from anamo.aws.clock import DatabaseClock
from anamo.aws.instance import has_metadata_service, instance_id, job_attempt
from anamo.aws.log_store import LogStore
from anamo.aws.metadata import Interruption, SpotNotices
from anamo.aws.retry import RetryPolicy
from anamo.aws.table import WorkflowTable
from anamo.aws.table_admin import CHECK_SECONDS, NOT_RETRIED
from anamo.aws.table_writes import Holder
from anamo.core.codec import ItemId
from anamo.core.errors import AnamoError, AwsError, internal
from anamo.core.item import Item, State
from anamo.core.log_entry import log_folder
from anamo.core.text import count
from anamo.worker import cgroup
from anamo.worker.claimer import Claimer
from anamo.worker.control import Control
from anamo.worker.earlier_attempt import left_by_earlier_attempt
from anamo.worker.in_flight_claims import ClaimSent, InFlightClaims
from anamo.worker.left import count_left
from anamo.worker.loop import Worker
from anamo.worker.messages import Finished, ForwardingHandler
from anamo.worker.metrics import Metrics
from anamo.worker.options import Options
from anamo.worker.orphans import become_subreaper
from anamo.worker.other_workers import OtherWorkers
from anamo.worker.pool import Limits, Pool
from anamo.worker.progress import Screen, WorkerTotals, summarise
from anamo.worker.signals import Signals

INDEX_SECONDS = 60.0
"""How long an item that became todo may be missing from an index, which takes less than a second
unless it is throttled."""

logger = logging.getLogger(__name__)


def work(
    options: Options, signals: Signals, screen: Screen, metrics: Metrics | None = None
) -> WorkerTotals:
    """Work through the tables.

    Args:
        options: The command line.
        signals: The signals that this process receives.
        screen: Shows progress and messages.
        metrics: Where what was done is counted, if anywhere.

    Returns:
        What all worker processes did; `signals.first` says whether a signal stopped them.

    Raises:
        AnamoError: Where it cannot begin.
        Interrupted: Where a signal came before it did.
    """
    began = monotonic()
    tables = _check(options, signals, screen)
    signals.check()
    holder = Holder(instance_id(), options.lease, job_attempt())
    earlier = left_by_earlier_attempt(tables, holder, RetryPolicy(signals.sleep))
    cgroup.remove_empty()
    others = OtherWorkers(tables, holder, _as_claims(earlier))
    run_process = partial(_process, options, holder, earlier, others)
    pool = Pool(run_process, options.processes, signals, _limits(options, began), screen, metrics)
    screen.start(partial(count_left, tables))
    try:
        totals = pool.run()
        while options.wait and not totals.ended_early and others.wait(totals.unfinished, pool.rest):
            totals = pool.run()
    except AwsError as fault:
        totals.errors.append(str(fault))
    finally:
        screen.close()
    totals.waits = options.wait
    totals.errors += _refusals(totals.refused, options)
    if signals.first is None:
        find_what_is_left(totals, others)
    totals.consumed = sum((table.meter.consumed for table in tables), totals.consumed)
    _report(totals, options, monotonic() - began, screen.say)
    return totals


def _report(
    totals: WorkerTotals, options: Options, seconds: float, say: Callable[[str], object]
) -> None:
    """Say what was done in so many seconds, and each error once."""
    logs = LogStore(None, options.bucket)
    where = [logs.address(log_folder(options.prefix, table)) for table in options.tables]
    summarise(totals, options.tables, seconds, where, say)
    if totals.failed or totals.items[State.FAILED]:
        say(f"to see why tasks failed: {_typed(options, 'status', options.tables)}")
    for error in dict.fromkeys([*totals.errors, *totals.lost]):
        say(error)


def _refusals(refused: Mapping[tuple[str, ItemId], tuple[str, str]], options: Options) -> list[str]:
    """The error for items that cannot be claimed, if any, and what to type about one of them."""
    if not refused:
        return []
    table, item_id = min(refused, key=lambda each: (options.tables.index(each[0]), each[1]))
    state, why = refused[table, item_id]
    command = "remove" if state == State.TODO else "requeue"
    named = ["--", str(item_id)] if item_id < 0 else [str(item_id)]
    line = _typed(options, command, [table], "--state", state, *named)
    where = f" of table {table}" if len(options.tables) > 1 else ""
    what = f"{count(len(refused), 'item')} cannot be claimed: item {item_id}{where}: {why}"
    return [f"{what}; to {command} it: {line}"]


def _typed(options: Options, command: str, tables: Sequence[str], *words: str) -> str:
    """A command for the operator, as typed into a shell."""
    region = ["-r", options.region] if options.region else []
    return f"{options.command} {shlex.join([command, '-t', *tables, *region, *words])}"


def find_what_is_left(totals: WorkerTotals, others: OtherWorkers) -> None:
    """Find out what is left: what a process saw may be another process's item, and done by now."""
    totals.work_left = bool(totals.lost)
    if not (totals.locked_by_others or totals.ended_early or totals.unfinished):
        return
    try:
        # What was given back a moment ago may not be in the index yet
        closely = totals.ended_early or bool(totals.unfinished)
        state = others.read_tables(totals.unfinished, closely=closely)
    except AwsError as fault:
        logger.warning("what other workers hold is not known: %s", fault)
        totals.locked_by_others = 0
        totals.work_left = totals.work_left or totals.ended_early or bool(totals.unfinished)
    else:
        totals.locked_by_others, totals.locked_until = state.locked_by_others, state.until
        totals.all_locked_seen = state.complete
        # A table that is too large to be read is judged by its index
        unlisted = totals.ended_early and not state.read and _gave_back_recently(totals)
        totals.work_left = totals.work_left or state.claimable or state.own or unlisted


def _gave_back_recently(totals: WorkerTotals) -> bool:
    return monotonic() - totals.given_back_at < INDEX_SECONDS


def _check(options: Options, signals: Signals, screen: Screen) -> list[WorkflowTable]:
    tables = _tables(options)
    for table in tables:
        table.prepare(signals.sleep, screen.say)
    logs = LogStore(session.s3_client(options.region), options.bucket)
    for name in options.tables:
        check = partial(logs.check, log_folder(options.prefix, name))
        RetryPolicy(signals.sleep).retry(check, CHECK_SECONDS, not_retried=NOT_RETRIED)
    return tables


def _tables(options: Options) -> list[WorkflowTable]:
    """The tables, with one client and one clock."""
    dynamodb, clock = partial(session.dynamodb_client, options.region), DatabaseClock()
    client, renew = dynamodb(), partial(dynamodb, renew=True)
    return [WorkflowTable(client, name, clock, renew) for name in options.tables]


def make_claimers(
    tables: Sequence[WorkflowTable],
    holder: Holder,
    in_flight: InFlightClaims,
    earlier: Mapping[str, Sequence[Item]],
    ended: Mapping[str, ItemId],
) -> list[Claimer]:
    """The claimers of a worker process, one for each table.

    Args:
        tables: The tables.
        holder: Who claims.
        in_flight: Notified of each claim.
        earlier: Items of each table that an earlier attempt of this AWS Batch job holds.
        ended: An item of each table whose lease the parent has seen to have ended: in a large
            table, a search from a random place would hardly come upon it.
    """
    claimers = []
    for table in tables:
        claimer = Claimer(table, holder, in_flight, earlier=earlier.get(table.name, ()))
        if table.name in ended:
            claimer.search_leases_from(ended[table.name])
        claimers.append(claimer)
    return claimers


def _as_claims(earlier: Mapping[str, Sequence[Item]]) -> list[ClaimSent]:
    return [
        ClaimSent(table, item.item_id, item.lock_id, 0.0)
        for table, items in earlier.items()
        for item in items
    ]


def _limits(options: Options, began: float) -> Limits:
    until = None if options.wall_time is None else began + options.wall_time
    notices = SpotNotices() if has_metadata_service() else None

    def notice() -> Interruption | None:
        if not notices:
            return None
        if notices.rebalance():
            logger.warning("EC2 may reclaim this Spot instance soon (rebalance recommendation)")
        return notices.interruption()

    return Limits(options.grace, until, options.max_failures, notice, options.lease)


def _process(
    options: Options,
    holder: Holder,
    earlier: Mapping[str, Sequence[Item]],
    others: OtherWorkers,
    connection: "Connection[Any, Any]",
    inherited: Collection[ClaimSent],
) -> None:
    """The life of one worker process."""
    # What tasks leave behind stays with this process, so that it can be found and reaped
    become_subreaper()
    control = Control(connection, options.grace)
    anamo = logging.getLogger("anamo")
    anamo.handlers = [ForwardingHandler(control.send, anamo.handlers)]
    try:
        s3 = partial(session.s3_client, options.region)
        tables = _tables(options)
        logs = LogStore(s3(), options.bucket, renew_client=partial(s3, renew=True))
        in_flight = InFlightClaims(control.send, inherited)
        holder = holder.as_process()
        # `others` is as the parent had it when it forked this process
        claimers = make_claimers(tables, holder, in_flight, earlier, others.ended)
        finished = Worker(options, holder, control, claimers, logs, in_flight).run()
    except AnamoError as error:
        finished = Finished(str(error))
    except Exception as error:
        logger.debug("worker process", exc_info=True)
        finished = Finished(str(internal(error)))
    control.send(finished)
