"""The report about items that are in no table, so that no server is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from anamo.core.record import Record
from anamo.operator.counts import TableCounts
from anamo.operator.hints import Hints
from anamo.operator.html import item_row, render
from anamo.operator.html.step_data import StepData
from tests.support.workflow import exact


def step_of(
    name: str, items: Iterable[Any], now: float, kinds: list[str] | None = None
) -> StepData:
    """What the report says of a step that has these items."""
    step = StepData(name, [*item_row.KINDS] if kinds is None else kinds)
    counts = TableCounts(name)
    counts.pace.now = now
    for item in items:
        record = Record.from_values(exact(item))
        counts.add(record, lambda: now)
        step.add(record, now)
    step.counts = counts
    return step


def report_of(steps: Mapping[str, Iterable[Any]], now: float, refresh: float | None = None) -> str:
    """The report about steps, by the names of their tables."""
    kinds = [*item_row.KINDS]
    made = [step_of(name, items, now, kinds) for name, items in steps.items()]
    return render.render(made, Hints("python pyanamo.py", "us-east-1"), now, refresh)
