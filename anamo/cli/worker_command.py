"""The worker's command line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from anamo.cli import arguments as types
from anamo.cli import help_text, operator_commands
from anamo.cli.console import Messages, configure_logging, to_stderr
from anamo.cli.main import ExitStatus, completed_words, run
from anamo.cli.standard_streams import non_blocking_stderr
from anamo.core.errors import TableMissing, UsageError
from anamo.core.pacing import LEASE_SECONDS
from anamo.worker.options import Options
from anamo.worker.signals import Signals

if TYPE_CHECKING:
    from anamo.worker.metrics import Metrics
    from anamo.worker.progress import WorkerTotals

SCRIPT = "pyanamo.py"

PARTIAL_LOGS_SECONDS = 200.0
"""A third of the default lease: shorter tasks cost nothing, and an item that runs for an hour costs
18 uploads, or 0.0001 USD."""

ORIGINAL_FLAGS = {
    "--table_name": "--table",
    "--aws_region": "--region",
    "--bucket_Key": "--bucket-key",
    "--parallel_items": "--items",
    "--parallel_nests": "--nested",
    "--wall_time": "--wall-time",
}
"""The original's long flags that are spelled differently here."""

EPILOG = f"""example:
  python pyanamo.py -t Testing -b my-bucket -r us-east-1 -i 2 -n 4

progress, and what to do about failures, by one of the commands status, logs, export, plan, requeue,
retry, remove, hold and resume:
  python pyanamo.py COMMAND --help

{types.ENVIRONMENT}

{help_text.original_flags_help(ORIGINAL_FLAGS)}

exit codes:
  0    nothing left to take, no item failed here
  1    nothing left to take, at least one item failed here
  2    wrong usage
  3    AWS refused or cannot be reached, this machine cannot run tasks, an item cannot be claimed,
       or a log could not be uploaded to S3
  75   work remains (wall time, Spot notice, failures in a row, a worker process lost for good):
       start it again
  129  stopped by SIGHUP
  130  stopped by SIGINT
  143  stopped by SIGTERM"""


class WorkerParser(types.Parser):
    """The worker's command line: an error of one that names a command later on says where the
    command belongs.
    """

    _words: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]  # its overloads are for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the command line."""
        self._words = args or ()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is; exit with 2."""
        takes_one = {
            flag
            for action in self.actions
            if action.nargs is None
            for flag in action.option_strings
        }
        pairs = zip(["", *self._words], self._words, strict=False)
        # A bucket may be named like a command
        words = [word for before, word in pairs if before not in takes_one]
        hint = command_first(words, self.prog)
        super().error(f"{message}; {hint}" if hint else message)


def command_first(words: Sequence[str], program: str) -> str:
    """What to type where one of the words is a command; "" if none is."""
    commands = operator_commands.parser(program).commands
    command = next((word for word in words if word in commands), None)
    if command is None:
        return ""
    return f"a command comes first: {help_text.as_typed(program)} {command} ..."


def parser(program: str = SCRIPT) -> types.Parser:
    """The worker's command line; `program` is what was started."""
    made = WorkerParser(
        prog=program,
        description="Take items from workflow tables, run their tasks, record the outcome.",
        epilog=help_text.as_started(EPILOG, program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    types.add_table_flag(made)
    types.add_bucket_flag(made)
    types.add_common_flags(made)
    count = types.whole_number(1)
    add("-i", "--items", type=count, default=1, metavar="N", help="items to run at once")
    add(
        "-n",
        "--nested",
        type=count,
        default=1,
        metavar="N",
        help="nested tasks to run at once per item",
    )
    add(
        "-k",
        "--bucket-key",
        type=types.log_prefix,
        metavar="PREFIX",
        help=f"log prefix in the bucket (default: {types.DEFAULT_PREFIX})",
    )
    add(
        "--idle-timeout",
        type=types.duration,
        default=0.0,
        metavar="TIME",
        help="keep looking for new items for this long (default: end when nothing is left)",
    )
    add(
        "--wait",
        action="store_true",
        help="stay while other workers hold items, and take over items if those workers die",
    )
    add(
        "--fail-ok",
        action="store_true",
        help="exit with 0 even if tasks failed; use `status --check` to find out",
    )
    add_output(made)
    add_limits(made)
    return made


def add_output(made: argparse.ArgumentParser) -> None:
    """Add the flags for what is shown while tasks run, and where."""
    add = made.add_argument
    add(
        "--partial-logs",
        type=types.interval,
        default=PARTIAL_LOGS_SECONDS,
        metavar="TIME",
        help="upload the output of running tasks to S3 at this interval, for `logs --follow`; "
        f"`off` disables it (default: {PARTIAL_LOGS_SECONDS:.0f})",
    )
    add("-q", "--quiet", action="store_true", help="no line for each item")
    add(
        "--metrics",
        action="append",
        default=[],
        type=types.metrics_target,
        metavar="WHERE",
        help="write metrics, every minute and at the end: emf (to stderr, for CloudWatch) or "
        "prom:FILE.prom (for Prometheus); may be repeated",
    )


def add_limits(made: argparse.ArgumentParser) -> None:
    """Add the flags that say how long things may take and how often they may fail."""
    add = made.add_argument_group("limits", "TIME: seconds, or 90s, 90m, 2h, 1d").add_argument
    add(
        "--lease",
        type=types.lease,
        default=LEASE_SECONDS,
        metavar="TIME",
        help="how long a claim lasts without renewal; at least 2 s (default: %(default)s)",
    )
    add(
        "--grace",
        type=types.duration,
        default=20.0,
        metavar="TIME",
        help="from SIGTERM to SIGKILL of a task that must stop (default: 20)",
    )
    add(
        "-w",
        "--wall-time",
        type=types.duration,
        metavar="TIME",
        help="start no tasks after this time; running tasks finish",
    )
    add(
        "--timeout",
        type=types.positive_duration,
        metavar="TIME",
        help="stop a task after this time; it counts as failed",
    )
    add(
        "--retries",
        type=types.whole_number(0),
        default=0,
        metavar="N",
        help="retry a failed item up to N times (default: %(default)s)",
    )
    count = types.whole_number(1)
    add(
        "--max-failures",
        type=count,
        metavar="N",
        help="start no more tasks after N consecutive failed items (default: no limit)",
    )
    add(
        "--max-attempts",
        type=count,
        default=10,
        metavar="N",
        help="fail an item after N claims without an outcome: a worker was lost, or its host could "
        "not run it (default: %(default)s)",
    )


def program_folder() -> Path:
    """What tasks get as PYANAMO: the folder of the scripts, or the installed package.

    Either holds workflow-gsi-index.json.
    """
    package = Path(__file__).resolve().parents[1]
    return package.parent if (package.parent / SCRIPT).exists() else package


def log_prefix(given: str | None, location: types.LogLocation) -> str:
    """The prefix of log keys, from -k or from -b.

    Args:
        given: That of -k, if any.
        location: That of -b, which may have one.

    Raises:
        UsageError: Both give one.
    """
    if given is None:
        return location.prefix or types.DEFAULT_PREFIX
    if location.prefix is not None:
        raise UsageError(
            f"-k gives a log prefix, and so does -b or {types.BUCKET}: leave one of them out"
        )
    return given


def work_through(arguments: argparse.Namespace, say: Messages) -> ExitStatus:
    """Work through the tables."""
    location = types.bucket(arguments)
    prefix = log_prefix(arguments.bucket_key, location)
    signals = Signals()
    # Here and not above, because --help needs none of it
    from anamo.cli.live_line import screen
    from anamo.worker.run import work

    tables = tuple(types.tables(arguments))
    options = Options(
        tables=tables,
        bucket=location.bucket,
        region=arguments.region,
        prefix=prefix,
        program=str(program_folder()),
        command=help_text.as_started("python pyanamo.py", say.program),
        processes=arguments.items,
        nested=arguments.nested,
        idle_timeout=arguments.idle_timeout,
        lease=arguments.lease,
        grace=arguments.grace,
        timeout=arguments.timeout,
        wall_time=arguments.wall_time,
        retries=arguments.retries,
        max_attempts=arguments.max_attempts,
        max_failures=arguments.max_failures,
        wait=arguments.wait,
        partial_logs=arguments.partial_logs,
    )
    shown = screen(say.program, quiet=arguments.quiet, with_table=len(tables) > 1)
    # Log messages, too, are printed above a live line
    configure_logging(arguments, shown.say)
    metrics = begun_metrics(tables, arguments.metrics)
    try:
        totals = work(options, signals, shown, metrics)
    except TableMissing as missing:
        # -t takes several words, so that it takes a command for a table
        hint = command_first(tables, say.program)
        raise TableMissing(f"{missing} ({hint})" if hint else str(missing)) from missing
    return exit_status(totals, signals.first, fail_ok=arguments.fail_ok)


def begun_metrics(tables: Sequence[str], targets: Sequence[str | Path]) -> "Metrics":
    """The metrics that the command line asks for.

    Raises:
        UsageError: A file cannot be written.
    """
    from anamo.worker.metrics import EmbeddedMetrics, Metrics, PrometheusFile

    metrics = Metrics(
        tables,
        [
            PrometheusFile(target) if isinstance(target, Path) else EmbeddedMetrics(to_stderr)
            for target in targets
        ],
    )
    try:
        metrics.begin()
    except OSError as error:
        raise UsageError(
            f"--metrics: {error.filename}: cannot be written: {error.strerror}"
        ) from error
    return metrics


def exit_status(
    totals: "WorkerTotals", stop_signal: int | None, *, fail_ok: bool = False
) -> ExitStatus:
    """The worker's exit code.

    Args:
        totals: What all processes did.
        stop_signal: The signal that stopped the worker, if any.
        fail_ok: Whether failed tasks leave it at 0.
    """
    if stop_signal is not None:
        return ExitStatus(128 + stop_signal)
    if totals.errors or totals.kept or totals.lost_logs:
        return ExitStatus.AWS
    if totals.work_left:
        return ExitStatus.UNFINISHED
    return ExitStatus.TASKS_FAILED if totals.items["failed"] and not fail_ok else ExitStatus.OK


def main(words: list[str], program: str = SCRIPT) -> int:
    """Run the worker, or one of the operator's commands.

    Args:
        words: The command line after the program's name; the worker's begins with a flag.
        program: What was started, as messages and help name it.

    Returns:
        The exit code.
    """
    asked = completed_words(words)
    if asked and not asked[0].startswith("-"):
        return run(operator_commands.parser(program), operator_commands.main, words)
    with non_blocking_stderr(program):
        return run(parser(program), work_through, types.without_aliases(words, ORIGINAL_FLAGS))


def console_script() -> int:
    """Run the worker as an installed command; its exit code."""
    return main(sys.argv[1:], "pyanamo")
