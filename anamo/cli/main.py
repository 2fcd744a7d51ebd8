"""Runs a command: parses the command line, calls the command, turns errors into exit codes.

Guaranteed: an error ends in one line on stderr and an exit code of `ExitStatus`; a traceback is
shown with --debug only. Importing this module loads nothing of AWS, so that --help is fast.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum

from anamo.cli import standard_streams
from anamo.cli.console import Messages, configure_logging
from anamo.core.errors import AnamoError, TableMissing, UsageError, internal
from anamo.worker.signals import Interrupted

logger = logging.getLogger(__name__)


class ExitStatus(IntEnum):
    """What a script's exit code means. ITEMS_LEFT is that of an operator's command or the
    importer: items were left as they are. AWS also means that this host cannot run tasks, or an
    internal error. UNFINISHED, sysexits' EX_TEMPFAIL, means that there is more to do: start it
    again.
    """

    OK = 0
    TASKS_FAILED = 1
    ITEMS_LEFT = 1
    USAGE = 2
    AWS = 3
    UNFINISHED = os.EX_TEMPFAIL
    HUNG_UP = 128 + signal.SIGHUP
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM

    def __str__(self) -> str:
        # As in Python 3.11 and later; 3.10 says ExitStatus.OK
        return str(self.value)


COMPLETING = "_ARGCOMPLETE"
"""The variable by which a shell asks for completions, with the command line in COMP_LINE."""

INSTALL = (
    "activate the virtual environment in which it is, or make one: "
    "python3 -m venv venv; source venv/bin/activate; pip install -r requirements.txt"
)

CHECK_TABLE = "check -t and -r; importing with --create-table creates it"

Command = Callable[[argparse.Namespace, Messages], ExitStatus]
"""Does what a command line says; gets what it parsed to, and what prints messages."""


def run(parser: argparse.ArgumentParser, command: Command, words: list[str]) -> int:
    """Parse the command line and run the command, as `_run` does.

    However that ends, stdout is flushed here: at exit, Python ends with 120 where that fails.
    """
    try:
        return _run(parser, command, words)
    finally:
        with suppress(OSError):
            standard_streams.flush_stdout()


def _run(parser: argparse.ArgumentParser, command: Command, words: list[str]) -> int:
    """Parse the command line and run the command.

    Args:
        parser: Its `prog` stands before each message.
        command: What to call.
        words: The command line after the program's name.

    Returns:
        The exit code.

    Raises:
        SystemExit: The command line asks for help or the version, or cannot be parsed.
    """
    standard_streams.reserve()
    if COMPLETING in os.environ:
        _complete(parser)
    arguments = parser.parse_args(words)
    say = Messages(parser.prog)
    status = ExitStatus.OK
    try:
        configure_logging(arguments, say)
        if arguments.debug:
            # Here and not above, because only --debug needs it
            from anamo.cli.debug import log_host_facts

            log_host_facts()
        status = command(arguments, say)
        # Here, so that a full disk is an error like others
        standard_streams.flush_stdout()
    except BrokenPipeError:
        # Such as `| head`: what was done is done, and nobody reads the rest
        standard_streams.discard_stdout()
    except Interrupted as error:
        say(str(error))
        return ExitStatus(128 + error.number)
    except KeyboardInterrupt:
        say("interrupted")
        return ExitStatus.INTERRUPTED
    except ModuleNotFoundError as error:
        logger.debug("%s", error, exc_info=True)
        package = (error.name or str(error)).partition(".")[0]
        say(f"{package} is not installed for {sys.executable}: {INSTALL}")
        return ExitStatus.AWS
    except Exception as error:
        logger.debug("%s", type(error).__name__, exc_info=True)
        say(_message(error))
        return ExitStatus.USAGE if isinstance(error, UsageError) else ExitStatus.AWS
    return status


def _message(error: Exception) -> str:
    """What is said of an error that ends a command."""
    if isinstance(error, TableMissing):
        return f"{error}: {CHECK_TABLE}"
    return str(error if isinstance(error, AnamoError) else internal(error))


def completed_words(words: list[str]) -> list[str]:
    """The words of the command line, or those that a shell asks completions for."""
    if COMPLETING not in os.environ:
        return words
    # Its value is the number of words that start the program: 2 for `python pyanamo.py`
    return os.environ["COMP_LINE"].split()[int(os.environ[COMPLETING]) :] or [""]


def _complete(parser: argparse.ArgumentParser) -> None:
    """Print completions for a shell, and exit; none where argcomplete is not installed."""
    try:
        import argcomplete
    except ModuleNotFoundError:
        sys.exit(ExitStatus.USAGE)
    argcomplete.autocomplete(parser)
