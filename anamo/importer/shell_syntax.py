"""What a shell would act on in a Task Script, which runs without one: refusals and warnings.

Guaranteed: no operator inside quotes or behind a backslash is refused; each refusal shows the form
that works. Not guaranteed: that the text of a `bash -c '…'` does what it should.
"""

import re
from contextlib import suppress

from anamo.core import command_line
from anamo.core.text import in_words

LONGEST_FORM = 100
"""Characters of a suggested command line; a longer one is shown as `bash -c '…'`."""

ZEROTH = "without the _, the argument is $0"

_SUSPICIOUS = re.compile(r"[<>|;&`*?~]|\$[({]")
"""What every operator and warning has; most scripts have none of it and pass at once."""

_QUOTED = re.compile(
    rf"""\\.|'[^']*'|"(?:[^"\\]|\\.)*"|{command_line.REFERENCE.pattern}""", re.DOTALL | re.ASCII
)

_ESCAPED = re.compile(r"\\.|'[^']*'", re.DOTALL)

_PLAIN = re.compile(rf"{_ESCAPED.pattern}|{command_line.REFERENCE.pattern}", re.DOTALL | re.ASCII)

# An & inside a word, as in a URL, is part of it
_OPERATOR = re.compile(r"(?:(?<!\S)[0-9]+)?(?:>>|<<|[<>])|\|\||&&|&>|[|;`]|\$\(|&(?!\S)")

_PATTERN = re.compile(r"[*?]|(?<!\S)~")

_SUBSTITUTION = re.compile(r"`|\$\(|\$\{[^}]*\}")

_CODE_FLAG = re.compile(r"(?<!\S)-\w*[ce](?!\S)")
"""The flag before code for another program: bash -c, python -c, perl -e."""

_SHELLS = re.compile(r"(?:.*/)?(?:ba|da|k|z)?sh")

_TEXT_FLAG = re.compile(r"-\w*c")

_FIRST_ARGUMENT = re.compile(r"\$(?:1(?![0-9])|\{1\})")

_ARGUMENTS = re.compile(rf"{_FIRST_ARGUMENT.pattern}|\$[@*]|\$\{{[@*]\}}")

_KNOWS = re.compile(r"\$0|\(\s*\)|\bfunction\s|(?<![\w-])set\s+(?:[^-+\s]|[^;|&\n]*--)")
"""A function's $1 is its own, `set -- …` makes another one, and who uses $0 knows what it is."""

_APPENDS = re.compile(r"(?:.*/)?(?:xargs|parallel)")
"""Programs that add words to a command line."""


def refusal(script: str, argument: str | None = None) -> str | None:
    """Why a task must not be imported as it is; None if it may be.

    Args:
        script: The Task Script; of a nested item, without its nested argument.
        argument: The nested argument, if there is one.
    """
    for part in (script, argument or ""):
        if operator := unquoted_operator(part):
            return (
                f"{operator} needs a shell, and a Task Script runs without one: "
                f"write {_in_shell(script, argument)}; "
                "quote it, or add --literal, if it is an argument"
            )
    if not _lacks_zeroth(script if argument is None else f"{script} {argument}"):
        return None
    form = "bash -c '… \"$1\"' _ ARGUMENT" if argument is None else f"{script} _"
    if len(form) > LONGEST_FORM or _lacks_zeroth(f"{script} _ x"):
        form = "bash -c '… \"$1\"' _"
    return f"$1 in bash -c is empty: write {form} ({ZEROTH})"


def unquoted_operator(script: str) -> str | None:
    """The first shell operator outside quotes; None if there is none."""
    if not _SUSPICIOUS.search(script):
        return None
    # A quoted part is part of a word
    found = _OPERATOR.search(_QUOTED.sub("_", script))
    return found[0] if found else None


def warning(script: str) -> str | None:
    """What a shell would expand in a script and nothing else does; None if there is nothing."""
    if not _SUSPICIOUS.search(script):
        return None
    bare = _QUOTED.sub("_", script)
    found = list(dict.fromkeys(match[0] for match in _PATTERN.finditer(bare)))
    # In double quotes a shell runs it; but so may the program whose code it is part of
    if not found and not _CODE_FLAG.search(bare):
        match = _SUBSTITUTION.search(_PLAIN.sub("_", script))
        found = [match[0]] if match else []
    if not found:
        return None
    verb, them = ("is", "it") if len(found) == 1 else ("are", "them")
    said = f"{in_words(found, 'and')} {verb} passed literally: no shell expands {them}"
    return f"{said} (write bash -c '…')"


def _in_shell(script: str, argument: str | None) -> str:
    first = "" if argument is None else ' "$1"'
    text = f"{script}{first}"
    if "'" in script or len(text) > LONGEST_FORM or unquoted_operator(argument or ""):
        text = f"…{first}"
    return f"bash -c '{text}'" + ("" if argument is None else f" _ ({ZEROTH})")


def _lacks_zeroth(script: str) -> bool:
    """Whether the text of a bash -c uses $1, and nothing is there for it since $0 comes first."""
    if "$" not in script or not _CODE_FLAG.search(script):
        return False
    words: list[str] = []
    with suppress(ValueError):
        words = command_line.words(script)
    for position, word in enumerate(words):
        if _APPENDS.fullmatch(word):
            return False
        if _SHELLS.fullmatch(word):
            rest = words[position + 1 :]
            text = next((at for at, flag in enumerate(rest, 1) if _TEXT_FLAG.fullmatch(flag)), 0)
            return 0 < text < len(rest) and _wants_more(rest[text], rest[text + 1 :])
    return False


def _wants_more(text: str, arguments: list[str]) -> bool:
    used = _ESCAPED.sub("_", text)
    if _KNOWS.search(used):
        return False
    if not arguments:
        return bool(_FIRST_ARGUMENT.search(used))
    return len(arguments) == 1 and arguments != ["_"] and bool(_ARGUMENTS.search(used))
