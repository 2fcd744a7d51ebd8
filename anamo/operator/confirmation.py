"""Asks the operator before something is done, on the terminal."""

import sys


def confirmed(question: str) -> bool:
    """Whether the operator answers the question with yes."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = ""
    try:
        answer = sys.stdin.readline()
    finally:
        # After Ctrl-C or Ctrl-D, the cursor is still behind the question
        if not answer.endswith("\n"):
            print(file=sys.stderr, flush=True)
    return answer.strip().lower() in ("y", "yes")
