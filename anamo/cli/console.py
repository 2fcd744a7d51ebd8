"""Messages to the operator, on stderr."""

import argparse
import logging
import sys
from collections.abc import Callable
from contextlib import suppress

from anamo.core.text import printable


def to_stderr(line: str) -> None:
    """Print a line."""
    print(line, file=sys.stderr, flush=True)


class Messages:
    """Lines for the operator, each begun with the program's name; `print_line` prints one.

    Attributes:
        program: The program's name.
    """

    def __init__(self, program: str, print_line: Callable[[str], object] = to_stderr) -> None:
        self.program = program
        self._print_line = print_line

    def __call__(self, message: str) -> None:
        """Print a message; the program's name stands before each of its lines.

        That stderr is closed or full is no reason to stop work.
        """
        with suppress(OSError):
            for line in message.splitlines():
                self._print_line(f"{self.program}: {printable(line)}")


class _Handler(logging.Handler):
    """Log records as messages."""

    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, with its traceback if there is one."""
        self._say(self.format(record))


def configure_logging(arguments: argparse.Namespace, say: Callable[[str], object]) -> None:
    """Print warnings always, more with -v, everything of ours with --debug, by `say` alone."""
    level = logging.INFO if arguments.verbose else logging.WARNING
    logger = logging.getLogger("anamo")
    logger.handlers = [_Handler(say)]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if arguments.debug else level)
