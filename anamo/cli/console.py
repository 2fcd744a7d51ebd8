"""What is said to the operator, on stderr."""

import argparse
import logging
import sys
from contextlib import suppress
from typing import ClassVar

from anamo.core.text import printable


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
