"""Which worker ran what, and when: lanes of bars for each instance.

Times are whole seconds, so two short items of one worker may seem to overlap, and two of two
workers may not: a claim's token tells which worker made it. A worker whose token is seen only once,
as are all tokens of earlier versions, gets a free lane.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from anamo.operator.html.item_row import LOST, ItemRow

MAX_LANES = 16
"""Lanes of an instance; what does not fit is drawn over the last."""

MAX_INSTANCES = 60
"""Instances in the timeline: those that ran the most items."""

MAX_BARS = 1500
"""With more items than this, neighbours of the same kind are drawn as one bar."""

CLOSEST = 600
"""Such neighbours are less than this part of the whole time apart."""

SLACK = 1.0
"""Seconds by which items of one worker may seem to overlap: it claims one while the end of the last
is being written."""

TimelineBar = list[Any]
"""Begin, seconds, kind, step and the position of the item; of several the negated number."""

ItemSpan = tuple[float, float, int, ItemRow, int]
"""Begin, end, step, row, position of the row."""


def timeline(steps: Sequence[Sequence[ItemRow]]) -> dict[str, Any]:
    """The timeline as the report's script draws it.

    Returns:
        Empty if no item has been run; else `begin`, in epoch seconds; the `seconds` that it spans;
        `hosts`, each [name, items, lanes], in the order of their first item, a lane being a list of
        bars whose times count from `begin`; and the number of `hidden` hosts.
    """
    spans: list[ItemSpan] = sorted(
        (
            (*row.claim_span, step, row, position)
            for step, rows in enumerate(steps)
            for position, row in enumerate(rows)
            if row.claim_span and row.instance and row.kind != LOST
        ),
        key=lambda span: span[:3],
    )
    if not spans:
        return {}
    begin, end = spans[0][0], max(span[1] for span in spans)
    gap = (end - begin) / CLOSEST if len(spans) > MAX_BARS else -math.inf
    hosts: dict[str, list[ItemSpan]] = {}
    for span in spans:
        hosts.setdefault(span[3].instance, []).append(span)
    shown = set(sorted(hosts, key=lambda name: -len(hosts[name]))[:MAX_INSTANCES])
    return {
        "begin": round(begin),
        "seconds": max(round(end - begin), 1),
        "hosts": [
            [name, len(held), [list(_bars(lane, begin, gap)) for lane in lanes(held)]]
            for name, held in hosts.items()
            if name in shown
        ],
        "hidden": len(hosts) - len(shown),
    }


def lanes(spans: Sequence[ItemSpan]) -> list[list[ItemSpan]]:
    """The spans of one instance, a lane for each of the workers that ran at once.

    Args:
        spans: Sorted by time.
    """
    numbers = Counter(span[3].worker for span in spans)
    runs: dict[object, list[ItemSpan]] = {}
    for position, span in enumerate(spans):
        worker = span[3].worker
        known = worker and numbers[worker] > 1
        runs.setdefault(worker if known else position, []).append(span)
    found: list[list[ItemSpan]] = []
    ends: list[float] = []
    for run in runs.values():
        free = next((k for k, end in enumerate(ends) if end <= run[0][0] + _slack(run)), None)
        if free is None and len(found) < MAX_LANES:
            free = len(found)
            found.append([])
            ends.append(0.0)
        lane = len(found) - 1 if free is None else free
        found[lane] += run
        ends[lane] = max(ends[lane], *(span[1] for span in run))
    return [sorted(lane, key=lambda span: span[:3]) for lane in found]


def _slack(run: Sequence[ItemSpan]) -> float:
    """Seconds by which a run may overlap the one before it in its lane: fewer for brief items."""
    return min(SLACK, (run[0][1] - run[0][0]) / 2)


def _bars(lane: Iterable[ItemSpan], begin: float, gap: float) -> Iterable[TimelineBar]:
    """The bars of a lane.

    Args:
        lane: Its spans, sorted by time.
        begin: When the timeline begins, in epoch seconds.
        gap: Neighbours of the same kind that are fewer seconds apart are drawn as one bar;
            -math.inf for none. Spans that overlap are a negative number of seconds apart.
    """
    last: TimelineBar | None = None
    for start, end, step, row, position in lane:
        left, seconds = round(start - begin), round(end - start)
        if last and last[2:4] == [row.kind, step] and left - last[0] - last[1] < gap:
            last[1] = max(left + seconds - last[0], last[1])
            last[4] = last[4] - 1 if last[4] < 0 else -2
            continue
        if last:
            yield last
        last = [left, seconds, row.kind, step, position]
    if last:
        yield last
