"""Running a command: parse, do, answer in one line where that fails; the exit codes.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from enum import IntEnum

from anamo.cli.console import Messages, configure_logging
from anamo.core.errors import AnamoError, UsageError
from anamo.worker.signals import Interrupted


class ExitStatus(IntEnum):
    """What a script's exit code says. ITEMS_LEFT is an operator's command's, which runs no task."""

    OK = 0
    TASKS_FAILED = 1
    ITEMS_LEFT = 1
    USAGE = 2
    AWS = 3
    HUNG_UP = 128 + signal.SIGHUP
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM


def run(
    parser: argparse.ArgumentParser,
    main: Callable[[argparse.Namespace], ExitStatus],
    words: list[str],
) -> int:
    """Parse the command line, do what it says, answer in one line where that fails."""
    _keep_standard_streams()
    arguments = parser.parse_args(words)
    say = Messages(parser.prog)
    try:
        configure_logging(arguments, say)
        return main(arguments)
    except UsageError as error:
        return _failed(say, error, ExitStatus.USAGE, arguments.debug)
    except AnamoError as error:
        return _failed(say, error, ExitStatus.AWS, arguments.debug)
    except BrokenPipeError:
        # Whoever read the output has had enough; a second complaint at exit would be noise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.OK
    except Interrupted as error:
        say(str(error))
        return ExitStatus(128 + error.number)
    except KeyboardInterrupt:
        say("interrupted")
        return ExitStatus.INTERRUPTED


def _keep_standard_streams() -> None:
    """Where the caller closed stdin, stdout or stderr, no file opened later may take its place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _failed(say: Messages, error: Exception, status: ExitStatus, debug: bool) -> ExitStatus:
    if debug:
        logging.getLogger(__name__).error("%s", type(error).__name__, exc_info=error)
    say(str(error))
    return status
