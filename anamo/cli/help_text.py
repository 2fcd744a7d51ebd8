"""Text of --help.

Guaranteed: what one types stays on lines of its own, as it was written.
"""

import re
import textwrap
from collections.abc import Mapping

_EXIT_CODE = re.compile(r"  \d+ +")


def as_typed(prog: str) -> str:
    """A program's name, and perhaps a command's, as they are typed to start it."""
    return f"python {prog}" if prog.partition(" ")[0].endswith(".py") else prog


def as_started(text: str, program: str) -> str:
    """Help text as it is right for the program that was started.

    Args:
        text: Names the scripts of a checkout, as `python pyanamo.py`.
        program: What was started: such a script, or a command that an installation made.
    """
    return re.sub(r"python (pyanamo|import-items-generic)\.py", as_typed(program), text)


def wrapped(text: str, width: int) -> str:
    """Help text with lines as long as the width allows.

    Paragraphs are filled, and so is what each exit code means. Other lines that are indented are
    what one types, and stay as they are.

    Args:
        text: The text. A line that is not indented continues the one before it.
        width: Characters per line.
    """
    lines: list[str] = []
    # A paragraph, or an exit code with its meaning, and how far its further lines are indented
    part, indent = "", 0

    def end_part() -> None:
        nonlocal part
        code, rest = part[:indent], part[indent:]
        lines.extend(
            textwrap.wrap(
                rest,
                width,
                initial_indent=code,
                subsequent_indent=" " * indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
        part = ""

    for line in text.splitlines():
        code = _EXIT_CODE.match(line)
        begins = len(line) - len(line.lstrip())
        if part and line and not code and begins == indent:
            part += f" {line.strip()}"
            continue
        end_part()
        if code or (line and not begins):
            part, indent = line, code.end() if code else 0
        else:
            lines.append(line)
    end_part()
    return "\n".join(lines)


def original_flags_help(aliases: Mapping[str, str]) -> str:
    """The paragraph of --help that names the original's long flags."""
    return f"The original's long flags work too: {', '.join(aliases)}."
