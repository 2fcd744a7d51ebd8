"""What the command lines share: flags, exit codes, the one ladder of excepts.

Importing it loads nothing of AWS, so that --help answers at once.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from typing import ClassVar

from anamo import __version__
from anamo.entry import PREFIX_LIMIT, encoded_prefix
from anamo.errors import AnamoError, UsageError
from anamo.signals import Interrupted
from anamo.terminal import printable


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


def run(parser: argparse.ArgumentParser, main: Callable[[argparse.Namespace], ExitStatus]) -> int:
    """Parse the command line, do what it says, answer in one line where that fails."""
    _keep_standard_streams()
    arguments = parser.parse_args()
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


def _failed(say: "Messages", error: Exception, status: ExitStatus, debug: bool) -> ExitStatus:
    if debug:
        logging.getLogger(__name__).error("%s", type(error).__name__, exc_info=error)
    say(str(error))
    return status


class Messages:
    """Lines for the operator, on stderr, each begun with the program's name.

    begin: what stands before each, for all of them: it takes away a line that is being shown.
    """

    begin: ClassVar[str] = ""

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, message: str) -> None:
        """Print a message; each of its lines stands by itself.

        Nobody left to read it is no reason to stop work, or the thread that renews the leases.
        """
        with suppress(OSError):
            for line in message.splitlines():
                text = f"{self.begin}{self._program}: {printable(line)}"
                print(text, file=sys.stderr, flush=True)


class _Handler(logging.Handler):
    """Log records as messages."""

    def __init__(self, say: Messages) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, with its traceback if there is one."""
        self._say(self.format(record))


def configure_logging(arguments: argparse.Namespace, say: Messages) -> None:
    """Warnings always, more with -v, everything of ours with --debug."""
    level = logging.DEBUG if arguments.debug else logging.INFO if arguments.verbose else None
    logger = logging.getLogger("anamo")
    logger.addHandler(_Handler(say))
    logger.propagate = False
    logger.setLevel(logging.WARNING if level is None else level)


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """The flags both scripts have."""
    parser.add_argument(
        "-r", "--region", type=given, help="AWS region; default: where boto3 finds one"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    parser.add_argument("--debug", action="store_true", help="say everything, with tracebacks")
    parser.add_argument(
        "--version", action="version", version=f"PyAnamo {__version__}", help="print the version"
    )


def given(text: str) -> str:
    """A value that is not empty: in a pasted line, an unset variable leaves nothing behind."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; is the variable set?")
    return text


def separator(text: str) -> str:
    r"""A separator of fields; a tab may be typed as \t, since shells make it hard to type."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    if "\n" in text or "\r" in text:
        raise argparse.ArgumentTypeError("contains a line break")
    return text.replace("\\t", "\t")


def log_prefix(text: str) -> str:
    """A prefix of log keys, short enough for S3 and for the log entries."""
    size = len("/".join(encoded_prefix(text)))
    if size > PREFIX_LIMIT:
        raise argparse.ArgumentTypeError(f"has {size} bytes encoded; at most {PREFIX_LIMIT} fit")
    return text


def whole_number(least: int) -> Callable[[str], int]:
    """The type of a flag that takes a whole number of at least `least`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is less than {least}")
        return number

    return parse


def duration(text: str) -> float:
    """Seconds: a number, or one with s, m, h or d behind it, such as 90m."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    unit = units.get(text[-1:].lower())
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90, 90m or 2h") from None
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90, 90m or 2h")
    return seconds


def unique(values: Sequence[str]) -> list[str]:
    """The values in their order, each once."""
    return list(dict.fromkeys(values))
