"""What may be wrong with a task file although its lines are items, and what a bad line may be."""

from collections.abc import Sequence

HEADER = "is line 1 a header? Then take it out"

COMMENT = "a # does not begin a comment; is it one? Then take it out"


def of_line(line: bytes, argument: str | None) -> str:
    """What may be wrong with a line that is an item; empty where nothing is.

    Args:
        line: The line.
        argument: The last of its four fields, unless it is split into nested arguments.
    """
    if line.lstrip().startswith(b"#"):
        return COMMENT
    if argument and "," in argument and not set(argument) & set("'\"\\"):
        return "arguments contain ',': did you forget -n ','?"
    return ""


def of_bad_lines(problems: Sequence[tuple[int, str]], lines: int) -> Sequence[tuple[int, str]]:
    """The problems of bad lines, of which the first has other fields than a task, with a hint where
    other lines are good.
    """
    if len(problems) < lines:
        return [(1, f"{problems[0][1]}; {HEADER}"), *problems[1:]]
    return problems
