"""A Task Script's words: quoting as in a POSIX shell, variables, and nothing else of a shell.

Guaranteed: no character of a variable's value has a meaning. A value stays one word, even an empty
one; there are no wildcards, pipes, redirections or substitutions. Whoever wants those writes
`bash -c '…'`.
"""

import re
import shlex
from collections.abc import Mapping

# A NUL cannot be part of an argument, so these cannot be in a script that can be run
_MARKED = re.compile(r"\0(\w*)\0", re.ASCII)

_DOLLAR = "\0\0"

_REFERENCE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", re.ASCII)

_CLOSED = re.compile(
    r"""(?: [^\\'"]+ | \\. | '[^']*' | "[^"\\]*(?:\\.[^"\\]*)*" )*""", re.DOTALL | re.VERBOSE
)
"""The part of a script before a quote or escape that stays open."""


def split(script: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a Task Script, with $NAME and ${NAME} replaced outside single quotes; a name
    that `variables` lacks counts as empty.

    Raises ValueError where a quote is not closed or a NUL stands in the script.
    """
    if "\0" in script:
        raise ValueError("it contains a NUL character")
    words = shlex.split(_mark_variables(script))

    def value(mark: re.Match[str]) -> str:
        return variables.get(mark[1], "") if mark[1] else "$"

    return [_MARKED.sub(value, word) for word in words]


def check(script: str) -> None:
    """Raises ValueError, saying what is wrong, where `split` would; a hundred times as fast, since
    an importer asks for every argument of every line.
    """
    if "\0" in script:
        raise ValueError("it contains a NUL character")
    closed = _CLOSED.match(script)
    rest = script[closed.end() :] if closed else script
    if rest:
        raise ValueError("it ends in a backslash" if rest == "\\" else "a quote is not closed")


def _mark_variables(script: str) -> str:
    r"""The script with each reference, and each \$, between NULs: shlex tells quotes and escapes
    apart but then forgets which were which, and where a name ended before `"$A"B` became one word.
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
            piece = f"\0{reference[1] or reference[2]}\0"
        marked.append(piece)
        position += length
    return "".join(marked)
