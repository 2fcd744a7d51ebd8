"""Types of arguments, and what all command lines share."""

import argparse
import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from anamo import __version__
from anamo.core.log_entry import PREFIX_LIMIT, encoded_prefix
from anamo.core.text import printable

DEFAULT_PREFIX = "PyAnamo"
"""Prefix of log keys unless the command line gives one."""


@dataclass(frozen=True, slots=True)
class LogLocation:
    """Where -b sends the logs.

    Attributes:
        bucket: The bucket's name.
        prefix: Prefix of the log keys, None unless -b was an s3:// address with one.
    """

    bucket: str
    prefix: str | None


class Parser(argparse.ArgumentParser):
    """A command line whose errors take two lines.

    Attributes:
        commands: What its first word may be, if it is a command.
    """

    commands: Collection[str] = ()

    def parse_known_args(  # type: ignore[override]  # its overloads are for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the command line."""
        if self.commands and args and args[0] not in [*self.commands, "-h", "--help"]:
            similar = difflib.get_close_matches(args[0], self.commands, n=1)
            meant = f"did you mean {similar[0]}?" if similar else f"use {', '.join(self.commands)}"
            self.error(f"there is no command {args[0]!r}; {meant}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say where the help is and, last, what is wrong; exit with 2."""
        program, space, command = self.prog.partition(" ")
        typed = f"python {program}" if program.endswith(".py") else program
        usage = f"usage: {typed}{space}{command} --help"
        self.exit(2, f"{self.prog}: {usage}\n{self.prog}: {printable(message)}\n")


def as_started(text: str, program: str) -> str:
    """Help text as it is right for the program that was started.

    Args:
        text: Names the scripts of a checkout, as `python pyanamo.py`.
        program: What was started: such a script, or a command that an installation made.
    """
    typed = f"python {program}" if program.endswith(".py") else program
    return re.sub(r"python (pyanamo|import-items-generic)\.py", typed, text)


def original_flags_help(aliases: Mapping[str, str]) -> str:
    """The paragraph of --help that names the original's long flags."""
    return f"the original's long flags work too:\n  {' '.join(aliases)}"


def without_aliases(words: Sequence[str], aliases: Mapping[str, str]) -> list[str]:
    """The command line with each alias of a flag replaced by the flag.

    argparse takes no word that begins with `--` for the value of a flag, so that none can be meant.
    """
    found = []
    for word in words:
        flag, equals, value = word.partition("=")
        found.append(f"{aliases.get(flag, flag)}{equals}{value}")
    return found


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that all command lines have."""
    parser.add_argument(
        "-r", "--region", type=non_empty, help="AWS region; default: from the AWS configuration"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    parser.add_argument(
        "--debug",
        action="store_true",
        help="say everything, with versions, environment and tracebacks",
    )
    parser.add_argument(
        "--version", action="version", version=f"PyAnamo {__version__}", help="print the version"
    )


def non_empty(text: str) -> str:
    """A value that is not empty: in a pasted line, an unset variable leaves nothing behind."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; is the variable set?")
    return text


def table_name(text: str) -> str:
    """A table's name by DynamoDB's rules, or its ARN."""
    if non_empty(text).startswith("arn:") or re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} cannot be the name of a DynamoDB table: 3 to 255 of A-Z a-z 0-9 _ . -"
    )


def separator(text: str) -> str:
    r"""A separator of fields; a tab may be typed as \t, since shells make it hard to type."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    if "\n" in text or "\r" in text:
        raise argparse.ArgumentTypeError("contains a line break")
    return text.replace("\\t", "\t")


def log_prefix(text: str) -> str:
    """A prefix of log keys, short enough for S3 keys and for the items' log entries."""
    size = len("/".join(encoded_prefix(text)))
    if size > PREFIX_LIMIT:
        raise argparse.ArgumentTypeError(f"has {size} bytes encoded; at most {PREFIX_LIMIT} fit")
    return text


def log_location(text: str) -> LogLocation:
    """A bucket, by its name or as s3://NAME or s3://NAME/PREFIX."""
    if non_empty(text).startswith("arn:"):
        raise argparse.ArgumentTypeError(
            "is an ARN: pass the bucket's name, or the access point's alias, which ends in -s3alias"
        )
    bucket, slash, prefix = text.removeprefix("s3://").partition("/")
    # Old buckets of us-east-1 have capitals and underscores
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}", bucket):
        raise argparse.ArgumentTypeError(f"{bucket!r} cannot be the name of an S3 bucket")
    if slash and not text.startswith("s3://"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a bucket's name; is it s3://{text}?")
    prefix = prefix.rstrip("/")
    return LogLocation(bucket, log_prefix(prefix) if prefix else None)


def whole_number(least: int) -> Callable[[str], int]:
    """Type of a flag whose value is a whole number of at least `least`."""

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
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a duration such as 90, 90m or 2h"
        ) from None
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90, 90m or 2h")
    return seconds


def interval(text: str) -> float | None:
    """A duration of at least a second, or None for `off`."""
    if text == "off":
        return None
    seconds = duration(text)
    if seconds < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1 s; `off` turns it off")
    return seconds


def lease(text: str) -> int:
    """A lease in whole seconds: shorter than 2 it would end before it is renewed."""
    seconds = math.ceil(duration(text))
    if seconds < 2:
        raise argparse.ArgumentTypeError(f"{text} is less than 2 s")
    return seconds


def unique(values: Sequence[str]) -> list[str]:
    """The values in their order, each once."""
    return list(dict.fromkeys(values))
