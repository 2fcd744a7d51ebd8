"""Splits a Task Script into words: a POSIX shell's quoting and variables, and nothing else of it.

Guaranteed: no character of a variable's value is special. A value is one word, even an empty one; a
variable that is not set is an error unless a default stands with it, `${NAME:-default}`. There are
no wildcards, pipes, redirections or command substitutions. A script that needs those is
written as `bash -c '…'`.
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence

# No argument of a process has a NUL, so no script that can be run contains these marks
_MARKED = re.compile(r"\0([0-9]+)\0")

REFERENCE = re.compile(
    r"""\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::-([^{}$"'`\\]*))?\})""", re.ASCII
)
"""$NAME, ${NAME} or ${NAME:-default}, where the default is plain text and may be empty."""

_CLOSED = re.compile(
    r"""(?: [^\\'"]+ | \\. | '[^']*' | "[^"\\]*(?:\\.[^"\\]*)*" )*""", re.DOTALL | re.VERBOSE
)
"""The part of a script before a quote that is not closed, or a backslash at its end."""


def split(script: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a Task Script, with $NAME, ${NAME} and ${NAME:-default} expanded outside single
    quotes.

    Args:
        script: The command line.
        variables: Values by name.

    Raises:
        ValueError: A quote is not closed, the script ends in a backslash, or it contains a NUL; or
            it names a variable that is not set, and no default.
    """

    def value(reference: re.Match[str]) -> str:
        name, default = reference[1] or reference[2], reference[3]
        if default is not None:
            return variables.get(name) or default
        # A shell would put nothing in its place: $OUT/x would be /x
        if name not in variables:
            raise ValueError(f"{name} is not set; write ${{{name}:-}} where it may be empty")
        return variables[name]

    return _split(script, value)


def words(script: str) -> list[str]:
    """The words of a Task Script, with its variables as they are written.

    Raises:
        ValueError: It cannot be split.
    """
    return _split(script, lambda reference: reference[0])


def as_run(script: str) -> str:
    """A Task Script as its words are run, quoted for a shell, with its variables unexpanded.

    Raises:
        ValueError: It cannot be split.
    """
    marked, values = _marked_words(script, lambda reference: reference[0])

    def reference(mark: re.Match[str]) -> str:
        each = values[int(mark[1])]
        if each == "$":
            return r"\$"
        # Without the quotes that end the name in "$A"B
        joined = re.match(r"\w", mark.string[mark.end() :])
        return f"${{{each[1:]}}}" if joined and each[1] != "{" else each

    def quoted(word: str) -> str:
        plain = _filled(word, values)
        if all(values[int(mark)] == "$" for mark in _MARKED.findall(word)):
            return shlex.quote(plain)
        escaped = re.sub(r'[\\"$`]', r"\\\g<0>", word)
        return f'"{_MARKED.sub(reference, escaped)}"'

    return " ".join(map(quoted, marked))


def _split(script: str, value: Callable[[re.Match[str]], str]) -> list[str]:
    marked, values = _marked_words(script, value)
    return [_filled(word, values) for word in marked]


def _marked_words(
    script: str, value: Callable[[re.Match[str]], str]
) -> tuple[list[str], list[str]]:
    """The words, with numbers of values between NULs in place of references; and the values."""
    if "\0" in script:
        raise ValueError("it contains a NUL character")
    marked, values = _mark_variables(script, value)
    return shlex.split(marked), values


def _filled(word: str, values: Sequence[str]) -> str:
    return _MARKED.sub(lambda mark: values[int(mark[1])], word)


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


def _mark_variables(script: str, value: Callable[[re.Match[str]], str]) -> tuple[str, list[str]]:
    r"""The script with the number of a value, between NULs, in place of each reference and each \$.
    It must happen before shlex removes the quotes, which tell `'$A'` from `$A` and end the name in
    `"$A"B`.
    """
    marked: list[str] = []
    values: list[str] = []
    quote = ""
    position = 0
    while position < len(script):
        piece = script[position]
        length = 1
        if piece == "\\" and quote != "'":
            length = 2
            piece = script[position : position + length]
            if piece == "\\$":
                piece = f"\0{len(values)}\0"
                values.append("$")
        elif piece in "'\"" and quote in ("", piece):
            quote = "" if quote else piece
        elif piece == "$" and quote != "'" and (reference := REFERENCE.match(script, position)):
            length = len(reference[0])
            piece = f"\0{len(values)}\0"
            values.append(value(reference))
        marked.append(piece)
        position += length
    return "".join(marked), values
