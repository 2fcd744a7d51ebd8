"""What the operator sees of a worker's work, on stderr."""

from collections.abc import Callable

from anamo.core.text import count
from anamo.worker.messages import ItemEnded
from anamo.worker.pool import WorkerTotals
from anamo.worker.recorder import LOST

SHOWN_FAILURES = 3
"""Failed tasks of an item that its line names."""


def item_line(ended: ItemEnded) -> str:
    """The line for a claim that ended: state, task id, tasks, seconds, what failed."""
    state = "given back" if ended.state == "todo" else ended.state
    line = f"{state:<6} {ended.task_id}"
    if ended.tasks > 1 or ended.state == "todo":
        line += f"  {ended.all_done} of {ended.tasks} tasks done"
    line += f"  {ended.seconds:.1f} s"
    shown = [
        f"{name} {_reason(status)}".strip() for name, status in ended.failures[:SHOWN_FAILURES]
    ]
    more = len(ended.failures) - len(shown)
    if shown:
        line += "  " + ", ".join(shown) + (f" and {more:,} more" if more else "")
    return line


def _reason(status: str) -> str:
    return status.removeprefix("Execution Failed: ")


def summarise(
    tally: WorkerTotals, table: str, seconds: float, logs: str, say: Callable[[str], object]
) -> None:
    """Say what all processes did, and what to do about what went wrong."""
    if not tally.items and not tally.errors:
        held = f"; other workers hold {count(tally.held, 'item')}" if tally.held else ""
        what = "stopped before anything was begun" if tally.stopped else "nothing to do"
        say(f"table {table}: {what}{held}")
        return
    items = ", ".join(
        f"{number:,} {_plainly(state)}" for state, number in sorted(tally.items.items())
    )
    again = f", {tally.again:,} failed and to be tried again" if tally.again else ""
    say(f"items: {items or 'none'}; tasks: {tally.done:,} done, {tally.failed:,} failed{again}")
    say(f"{seconds:.1f} s; logs in {logs}")
    if tally.items and tally.consumed.requests:
        say(_cost(tally))
    if tally.held and not tally.stopped:
        say(f"other workers hold {count(tally.held, 'item')}; what they lose can be taken over")
    for path in tally.kept:
        say(f"a log that S3 did not take is kept in {path}")


def _cost(tally: WorkerTotals) -> str:
    """What it took, for each claim that ended."""
    consumed, items = tally.consumed, tally.items.total()
    return (
        f"for each item: {consumed.requests / items:.2f} requests to DynamoDB, "
        f"{consumed.write_units / items:.1f} write and "
        f"{consumed.read_units / items:.2f} read units, "
        f"{consumed.objects / items:.2f} log objects"
    )


def _plainly(state: str) -> str:
    return {"todo": "given back", LOST: "lost to other workers"}.get(state, state)
