"""Splits a Task Script into words: a POSIX shell's quoting and variables, and nothing else of it.

Guaranteed: no character of a variable's value is special. A value is one word, even an empty one;
there are no wildcards, pipes, redirections or command substitutions. A script that needs those is
written as `bash -c '…'`.
"""

import re
import shlex
from collections.abc import Mapping

# No argument of a process has a NUL, so no script that can be run contains these marks
_MARKED = re.compile(r"\0([^\0]*)\0")

_DOLLAR = "\0\0"

_REFERENCE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", re.ASCII)

_CLOSED = re.compile(
    r"""(?: [^\\'"]+ | \\. | '[^']*' | "[^"\\]*(?:\\.[^"\\]*)*" )*""", re.DOTALL | re.VERBOSE
)
"""The part of a script before a quote that is not closed, or a backslash at its end."""


def split(script: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a Task Script, with $NAME and ${NAME} expanded outside single quotes.

    Args:
        script: The command line.
        variables: Values by name; a name that it lacks is empty.

    Raises:
        ValueError: A quote is not closed, the script ends in a backslash, or it contains a NUL.
    """

    def value(mark: re.Match[str]) -> str:
        return variables.get(mark[1].strip("${}"), "") if mark[1] else "$"

    return [_MARKED.sub(value, word) for word in _marked_words(script)]


def program_as_written(script: str) -> str:
    """The first word of a Task Script with its variables unexpanded, for messages: the value of a
    variable may be a secret.

    Args:
        script: A command line that `split` splits into at least one word.
    """
    return _MARKED.sub(lambda mark: mark[1] or "$", _marked_words(script)[0])


def _marked_words(script: str) -> list[str]:
    if "\0" in script:
        raise ValueError("it contains a NUL character")
    return shlex.split(_mark_variables(script))


def check(script: str) -> None:
    """Checks that a script can be split, a hundred times as fast as `split`: an importer checks
    every argument of every line.

    Raises:
        ValueError: It cannot be split; the message says why.
    """
    if "\0" in script:
        raise ValueError("it contains a NUL character")
    closed = _CLOSED.match(script)
    rest = script[closed.end() :] if closed else script
    if rest:
        raise ValueError("it ends in a backslash" if rest == "\\" else "a quote is not closed")


def _mark_variables(script: str) -> str:
    r"""The script with each reference, and each \$, marked by NULs. It must happen before shlex
    removes the quotes, which tell `'$A'` from `$A` and end the name in `"$A"B`.
    """
    marked = []
    quote = ""
    position = 0
    while position < len(script):
        piece = script[position]
        length = 1
        if piece == "\\" and quote != "'":
            length = 2
            piece = script[position : position + length]
            piece = _DOLLAR if piece == "\\$" else piece
        elif piece in "'\"" and quote in ("", piece):
            quote = "" if quote else piece
        elif piece == "$" and quote != "'" and (reference := _REFERENCE.match(script, position)):
            length = len(reference[0])
            piece = f"\0{reference[0]}\0"
        marked.append(piece)
        position += length
    return "".join(marked)
