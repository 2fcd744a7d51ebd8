"""What an operator can do next: reasons, with command lines that can be pasted into a shell."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from anamo.core.item import State
from anamo.core.text import count, printable
from anamo.operator import output
from anamo.operator.counts import TableCounts
from anamo.operator.failures import Failures

Hint = tuple[str, str]
"""A reason and a command line."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Makes hints.

    Attributes:
        program: How the operator starts the program, as typed into a shell.
        region: The AWS region that was given on the command line, if any.
        bucket: The bucket for logs, or a word that stands for it.
    """

    program: str
    region: str | None
    bucket: str = "BUCKET"

    def command(self, name: str, tables: Sequence[str], *words: str) -> str:
        """The command line of a command ("" for a worker), quoted for a shell."""
        where = ["-r", self.region] if self.region else []
        typed = [*([name] if name else []), "-t", *tables, *where, *words]
        return f"{self.program} {shlex.join(typed)}"

    def after_failures(self, failures: Failures, table: str) -> list[Hint]:
        """What to do about the failed tasks of a table; there is at least one."""
        again = self.command("requeue", [table], "--state", "failed")
        hints = [("run them again once the cause is fixed", again)]
        # An item that was abandoned has no log
        examples = [each.example_with_log for each in failures if each.example_with_log]
        if examples:
            names = [examples[0]] if pasteable(examples[0]) else []
            # The name comes last: right after -t it could be taken for a table
            options = ["--state", "failed", "--stderr", "--tail", "20"]
            read = self.command("logs", [table], *options, *names)
            hints.insert(0, ("read the stderr of one of them", read))
        return hints

    def after_counting(self, counts: TableCounts, earlier: str | None = None) -> list[Hint]:
        """What to do about expired leases and held items of a table.

        Args:
            counts: The table's counts.
            earlier: The table of the step before; None if it is the first.
        """
        hints = []
        if counts.expired:
            them = "it" if counts.expired == 1 else "them"
            reason = (
                f"{count(counts.expired, 'locked item')} of {counts.table}, lease expired; workers "
                f"take {them} over, or requeue {them} now"
            )
            hints.append((reason, self.command("requeue", [counts.table], "--state", "locked")))
        held = counts.items[State.HELD.value]
        if held:
            # Not all: what has failed in the step before must not go on
            them = f"those that are done in {earlier}" if earlier else "all" if held > 1 else "it"
            items = f"{count(held, 'held item')} of {counts.table}"
            reason = f"{items}, which no worker claims; resume {them}"
            after = ["--after", earlier] if earlier else []
            hints.append((reason, self.command("resume", [counts.table], *after)))
        return hints

    def start_workers(self, steps: Sequence[TableCounts]) -> list[Hint]:
        """How to start a worker on all of the tables where items are left and none works."""
        idle = [counts.table for counts in steps if counts.left and not counts.workers]
        if not idle:
            return []
        start = self.command("", idle, "-b", self.bucket)
        return [(f"no worker is running on {', '.join(idle)} now; start one", start)]


def pasteable(task_id: str) -> bool:
    """Whether a task id can be typed: no control characters, and no flag to argparse."""
    return printable(task_id) == task_id and not task_id.startswith("-")


def print_hints(hints: list[Hint]) -> None:
    """Print reasons, each with its command line below."""
    console = output.stdout_console()
    for reason, command in hints:
        console.print(f"  {printable(reason)}:", style="dim")
        # Never wrapped, so that it can be copied
        output.print_unwrapped(console, f"    {command}")
