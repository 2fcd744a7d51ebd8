"""A Task Script's words: quoting as in a POSIX shell, variables, and nothing else of a shell.

Guaranteed: no character of a variable's value has a meaning. A value stays one word, even an empty
one; there are no wildcards, pipes, redirections or substitutions. Whoever wants those writes
`bash -c '…'`.
"""

import re
import shlex
from collections.abc import Mapping

# A NUL cannot be part of an argument, so these cannot be in a script that can be run
_VARIABLE, _DOLLAR = "\0v", "\0d"

_REFERENCE = re.compile(r"\0v(?:(\w+)|\{(\w+)\})", re.ASCII)

_STARTS_REFERENCE = re.compile(r"\$(?=[A-Za-z_]|\{[A-Za-z_]\w*\})", re.ASCII)


def split(script: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a Task Script, with $NAME and ${NAME} replaced outside single quotes; a name
    that `variables` lacks counts as empty.

    Raises ValueError where a quote is not closed or a NUL stands in the script.
    """
    if "\0" in script:
        raise ValueError("it contains a NUL character")
    words = shlex.split(_mark_variables(script))

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1] or match[2], "")

    return [_REFERENCE.sub(value, word).replace(_DOLLAR, "$") for word in words]


def check(script: str) -> None:
    """Raises ValueError, saying what is wrong, where `split` would."""
    try:
        split(script, {})
    except ValueError as error:
        raise ValueError(
            str(error).replace("No closing quotation", "a quote is not closed")
        ) from None


def _mark_variables(script: str) -> str:
    r"""The script with each $ that starts a variable, and each \$, marked: shlex tells quotes and
    escapes apart but then forgets which were which.
    """
    marked = []
    quote = ""
    position = 0
    while position < len(script):
        character = script[position]
        step = 1
        if character == "\\" and quote != "'":
            step = 2
            character = script[position : position + 2]
            character = _DOLLAR if character == "\\$" else character
        elif character in "'\"" and quote in ("", character):
            quote = "" if quote else character
        elif character == "$" and quote != "'" and _STARTS_REFERENCE.match(script, position):
            character = _VARIABLE
        marked.append(character)
        position += step
    return "".join(marked)
