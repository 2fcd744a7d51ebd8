"""Text for people, made safe for terminals, and names that are checked before AWS is asked."""

import re
from collections.abc import Sequence

# C0 and C1 control characters, and those that reorder or hide text on a line
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def count(number: int, noun: str) -> str:
    """A number and its noun, such as "1 item" and "2,000 items"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def is_table_name(text: str) -> bool:
    """Whether DynamoDB takes it for a table's name, or for its ARN."""
    return bool(re.fullmatch(r"arn:.+|[A-Za-z0-9_.-]{3,255}", text))


def percent(part: int, whole: int) -> str:
    """A share; 100% only if nothing is missing, 0% only if there is nothing."""
    if not whole:
        return "-"
    share = 100 * part / whole
    return f"{min(max(round(share), 1), 99) if 0 < part < whole else round(share)}%"


def format_rate(rate: float) -> str:
    """Tasks per second, minute or hour: the first of them that gives at least one."""
    if rate >= 1:
        return f"{rate:,.1f} tasks/s"
    if rate * 60 >= 1:
        return f"{rate * 60:,.1f} tasks/min"
    return f"{rate * 3600:,.1f} tasks/h"


def format_duration(seconds: float) -> str:
    """A duration such as "2 h 30 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24:,} d {hours % 24} h"


def printable_lines(text: str) -> str:
    """Text of many lines made printable; line breaks and tabs stay."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines)


def printable(text: str) -> str:
    """The text with control characters escaped, and those that hide or reorder text: task ids and
    logs are data, and must not move a terminal's cursor or set its title.
    """
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def natural_sort_key(name: str) -> tuple[object, ...]:
    """Sort key that puts Sample9 before Sample10."""
    parts = re.split("0*([0-9]+)", name)
    # Of two numbers the longer is the larger; Python makes no int of more than 4,300 digits
    return tuple((len(part), part) if odd % 2 else part for odd, part in enumerate(parts))


def in_words(parts: Sequence[str], word: str) -> str:
    """The parts as a sentence lists them, with "and" or "or" before the last."""
    *some, last = parts
    return f"{', '.join(some)} {word} {last}" if some else last
