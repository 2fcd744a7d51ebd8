"""Types of arguments, and what all command lines share."""

import argparse
import difflib
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from anamo import __version__
from anamo.cli import help_text
from anamo.core.errors import UsageError
from anamo.core.log_entry import PREFIX_LIMIT, encoded_prefix
from anamo.core.text import is_table_name, printable

DEFAULT_PREFIX = "PyAnamo"
"""Prefix of log keys unless the command line gives one."""

TABLES = "PYANAMO_TABLES"
"""The variable with the tables of a project, separated by blanks or commas, if there is no -t."""

BUCKET = "PYANAMO_BUCKET"
"""The variable with the bucket for the logs, as -b takes it, if there is no -b."""

ENVIRONMENT = f"""defaults from the environment, set once per project:
  export {TABLES}="Align Call" {BUCKET}=my-bucket
  export AWS_DEFAULT_REGION=us-east-1"""
"""The paragraph of --help about them."""


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
        commands: The command lines of its commands, by name; empty where it has none.
    """

    commands: Mapping[str, "Parser"] = {}

    def parse_known_args(  # type: ignore[override]  # its overloads are for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the command line. A command reports what it does not know itself, so that the
        message names its own help.
        """
        if self.commands and args and args[0] not in [*self.commands, "-h", "--help"]:
            similar = difflib.get_close_matches(args[0], self.commands, n=1)
            meant = f"did you mean {similar[0]}?" if similar else f"use {', '.join(self.commands)}"
            self.error(f"there is no command {args[0]!r}; {meant}")
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown and not self.commands:
            flags = [flag for action in self.actions for flag in action.option_strings]
            similar = difflib.get_close_matches(unknown[0].partition("=")[0], flags, n=1)
            meant = f"; did you mean {similar[0]}?" if similar else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return parsed, unknown

    @property
    def actions(self) -> Sequence[argparse.Action]:
        """Its arguments. argparse itself has no public list of them."""
        return self._actions

    def format_help(self) -> str:
        """The text of --help, as wide as the terminal."""
        description, epilog = self.description, self.epilog
        width = shutil.get_terminal_size().columns - 2
        self.description = help_text.wrapped(description or "", width)
        self.epilog = help_text.wrapped(epilog or "", width)
        shown = super().format_help()
        self.description, self.epilog = description, epilog
        return shown

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the help is; exit with 2."""
        help_line = f"see {help_text.as_typed(self.prog)} --help"
        self.exit(2, f"{self.prog}: {printable(message)}\n{self.prog}: {help_line}\n")


def without_aliases(words: Sequence[str], aliases: Mapping[str, str]) -> list[str]:
    """The command line with each alias of a flag replaced by the flag.

    argparse takes no word that begins with `--` for the value of a flag, so that none can be meant.

    Args:
        words: The command line after the program's name.
        aliases: Flags by their aliases; all begin with `--`.
    """
    parts = [word.partition("=") for word in words]
    return [f"{aliases.get(flag, flag)}{equals}{value}" for flag, equals, value in parts]


def add_table_flag(parser: argparse.ArgumentParser) -> None:
    """Add -t: several words, several times, or by the environment; see `table_words`."""
    parser.add_argument(
        "-t",
        "--table",
        required=not _environment_tables(),
        action="append",
        nargs="+",
        type=non_empty,
        help=f"workflow tables; default: those in {TABLES}",
    )


def environment_bucket() -> str | None:
    """What stands in for -b, if anything does."""
    return os.environ.get(BUCKET, "").strip() or None


def add_bucket_flag(parser: argparse.ArgumentParser) -> None:
    """Add -b, which the environment may stand in for; see `bucket`."""
    parser.add_argument(
        "-b",
        "--bucket",
        required=environment_bucket() is None,
        type=log_location,
        help="S3 bucket for the logs; s3://BUCKET/PREFIX gives the log prefix, too; default: "
        f"that in {BUCKET}",
    )


def bucket(arguments: argparse.Namespace) -> LogLocation:
    """Where the logs go by -b, or else by the environment.

    Raises:
        UsageError: What is in the environment cannot be a bucket.
    """
    if arguments.bucket is None:
        with _named(BUCKET):
            return log_location(environment_bucket() or "")
    location: LogLocation = arguments.bucket
    return location


def table_words(arguments: argparse.Namespace) -> list[list[str]]:
    """The words of each -t, or else the tables in the environment, each on its own.

    The first word may hold several tables, separated by spaces: what AWS Batch passes on as a job's
    parameter is one word.

    Raises:
        UsageError: A name in the environment cannot be that of a table.
    """
    if not arguments.table:
        with _named(TABLES):
            return [[table_name(name)] for name in _environment_tables()]
    return [[*first.split(), *rest] for first, *rest in arguments.table]


def tables(arguments: argparse.Namespace) -> list[str]:
    """The tables of -t where all its words are tables, each once.

    Raises:
        UsageError: A name cannot be that of a table.
    """
    with _named("-t"):
        return unique([table_name(name) for words in table_words(arguments) for name in words])


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say where a value comes from that cannot be used."""
    try:
        yield
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{where}: {error}") from None


def _environment_tables() -> list[str]:
    return re.findall(r"[^\s,]+", os.environ.get(TABLES, ""))


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that all command lines have."""
    parser.add_argument(
        "-r",
        "--region",
        type=non_empty,
        help="AWS region; default: AWS_DEFAULT_REGION, or the AWS configuration",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print more")
    parser.add_argument(
        "--debug",
        action="store_true",
        help="print everything, with versions, environment and tracebacks",
    )
    parser.add_argument(
        "--version", action="version", version=f"PyAnamo {__version__}", help="print the version"
    )


def non_empty(text: str) -> str:
    """A value that is not empty: in a pasted line, an unset variable leaves nothing behind.

    Raises:
        ArgumentTypeError: It is empty.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty (unset shell variable?)")
    return text


def table_name(text: str) -> str:
    """A table's name by DynamoDB's rules, or its ARN.

    Raises:
        ArgumentTypeError: It is neither.
    """
    if is_table_name(non_empty(text)):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} cannot be the name of a DynamoDB table: 3 to 255 of A-Z a-z 0-9 _ . -"
    )


def separator(text: str) -> str:
    r"""A separator of fields; a tab may be typed as \t, since shells make it hard to type.

    Raises:
        ArgumentTypeError: It is empty or contains a line break.
    """
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    if "\n" in text or "\r" in text:
        raise argparse.ArgumentTypeError("contains a line break")
    return text.replace("\\t", "\t")


def log_prefix(text: str) -> str:
    """A prefix of log keys, short enough for S3 keys and for the items' log entries.

    Raises:
        ArgumentTypeError: It is longer.
    """
    size = len("/".join(encoded_prefix(text)))
    if size > PREFIX_LIMIT:
        raise argparse.ArgumentTypeError(f"has {size} bytes encoded; at most {PREFIX_LIMIT} fit")
    return text


def log_location(text: str) -> LogLocation:
    """A bucket, by its name or as s3://NAME or s3://NAME/PREFIX.

    Raises:
        ArgumentTypeError: It is none of these, or the prefix is too long.
    """
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


def metrics_target(text: str) -> str | Path:
    """Where metrics go: "emf", or the file of prom:FILE.

    Raises:
        ArgumentTypeError: It is neither, or the file is not one that collectors read.
    """
    kind, colon, path = text.partition(":")
    if text == "emf":
        return text
    if kind != "prom" or not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is neither emf nor prom:FILE.prom")
    if not path.endswith(".prom"):
        raise argparse.ArgumentTypeError(
            f"{path!r} does not end in .prom: node_exporter's textfile collector reads no other"
        )
    return Path(path)


def whole_number(least: int) -> Callable[[str], int]:
    """Type of a flag whose value is a whole number of at least `least`. It raises
    ArgumentTypeError.
    """

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
    """Seconds: a number, or one followed by s, m, h or d, such as 90m.

    Raises:
        ArgumentTypeError: It is not a duration.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    unit = units.get(text[-1:].lower())
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90, 90m or 2h")
    return seconds


def positive_duration(text: str) -> float:
    """As `duration`, but not 0.

    Raises:
        ArgumentTypeError: It is 0 or not a duration.
    """
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: it must be more than 0")
    return seconds


def price(text: str) -> float:
    """An amount of money.

    Raises:
        ArgumentTypeError: It is not an amount.
    """
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a price such as 0.625")
    return amount


def interval(text: str) -> float | None:
    """A duration of at least a second, or None for `off`.

    Raises:
        ArgumentTypeError: It is neither.
    """
    if text == "off":
        return None
    seconds = duration(text)
    if seconds < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1 s; use `off` to disable")
    return seconds


def lease(text: str) -> int:
    """A lease in whole seconds: shorter than 2 it would end before it is renewed.

    Raises:
        ArgumentTypeError: It is not a duration, or shorter.
    """
    seconds = math.ceil(duration(text))
    if seconds < 2:
        raise argparse.ArgumentTypeError(f"{text} is less than 2 s")
    return seconds


def unique(values: Sequence[str]) -> list[str]:
    """The values in their order, each once."""
    return list(dict.fromkeys(values))
