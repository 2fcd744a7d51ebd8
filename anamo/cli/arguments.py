"""Types of arguments, and the flags that all command lines share."""

import argparse
from collections.abc import Callable, Sequence

from anamo import __version__
from anamo.core.log_entry import PREFIX_LIMIT, encoded_prefix


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """The flags both scripts have."""
    parser.add_argument(
        "-r", "--region", type=non_empty, help="AWS region; default: where boto3 finds one"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    parser.add_argument("--debug", action="store_true", help="say everything, with tracebacks")
    parser.add_argument(
        "--version", action="version", version=f"PyAnamo {__version__}", help="print the version"
    )


def non_empty(text: str) -> str:
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
