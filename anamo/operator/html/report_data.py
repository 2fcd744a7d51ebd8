"""The state of each sample over all steps, and the data that the report's script reads."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from anamo.core.text import natural_sort_key, printable
from anamo.operator.hints import Hints, pasteable
from anamo.operator.html.item_row import DETAIL_SIZE, KINDS, to_json
from anamo.operator.html.step_data import StepData
from anamo.operator.html.timeline import timeline

SAMPLE_STATES = ("failed", "running", "other", "held", "waiting", "done")
"""States of a sample over all steps: the first that one of its items is in, and `done` if every
step has it and all its items are done."""


class ReportData:
    """The samples of steps.

    Attributes:
        samples: Their task ids in natural order.
        states: The state of each.
    """

    def __init__(self, steps: Sequence[StepData]) -> None:
        self._steps = steps
        found: dict[str, list[set[str]]] = {}
        for position, step in enumerate(steps):
            for row in step.rows:
                states = found.setdefault(row.task_id, [set() for _ in steps])
                states[position].add(KINDS[row.kind] if row.kind < len(KINDS) else "other")
        self.samples = sorted(found, key=natural_sort_key)
        self.states = [_state(found[sample]) for sample in self.samples]

    def counts(self) -> dict[str, int]:
        """How many samples are in each state."""
        counts = Counter(self.states)
        return {state: counts[state] for state in SAMPLE_STATES}

    def to_json(self, hints: Hints, now: float, refresh: float | None) -> str:
        """Everything that the report's script needs.

        Args:
            hints: Makes the command lines.
            now: Epoch seconds.
            refresh: After how many seconds the file is written again; None for never.
        """
        position = {sample: k for k, sample in enumerate(self.samples)}
        for step in self._steps:
            step.rows.sort(key=lambda row: position[row.task_id])
        found = dict.fromkeys(row.instance for step in self._steps for row in step.rows)
        instances = [name for name in found if name]
        head: dict[str, Any] = {
            "now": round(now),
            "refresh": refresh,
            "kinds": list(map(printable, self._steps[0].kinds if self._steps else [])),
            "states": SAMPLE_STATES,
            "steps": [_step(step, hints) for step in self._steps],
            "hosts": list(map(printable, instances)),
            "samples": list(map(printable, self.samples)),
            "stateOf": "".join(str(SAMPLE_STATES.index(state)) for state in self.states),
            "unpasteable": [k for k, each in enumerate(self.samples) if not pasteable(each)],
            "timeline": _timeline(self._steps),
        }
        host = {name: k for k, name in enumerate(instances)}
        shown = self._detailed()
        items = [
            [
                row.to_json(position[row.task_id], host.get(row.instance, -1), now, detailed=d)
                for row, d in zip(step.rows, detailed, strict=True)
            ]
            for step, detailed in zip(self._steps, shown, strict=True)
        ]
        head["scripts"] = [_scripts(*each) for each in zip(self._steps, shown, strict=True)]
        rows = ",".join(f"[{','.join(each)}]" for each in items)
        return f'{to_json(head)[:-1]},"items":[{rows}]}}'

    def _detailed(self) -> list[list[bool]]:
        """Whether the report has room for the details of each row, by step. Where not all rows of
        one priority fit, the steps get equal shares of the room that is left.
        """
        sizes = [
            sum(each) for each in zip(*(step.details.sizes for step in self._steps), strict=True)
        ]
        most = 0
        while most < len(sizes) and sum(sizes[: most + 1]) <= DETAIL_SIZE:
            most += 1
        part = (DETAIL_SIZE - sum(sizes[:most])) // max(len(self._steps), 1)
        found = []
        for step in self._steps:
            rest, detailed = part, []
            scripts = [*step.details.scripts]
            for row in step.rows:
                if row.priority == most and row.details:
                    rest -= len(row.details) + len(scripts[row.script])
                detailed.append(row.priority < most or (row.priority == most and rest >= 0))
            found.append(detailed)
        return found


def _state(steps: Sequence[set[str]]) -> str:
    found = set().union(*steps)
    if "done" in found and not all(steps):
        found.add("waiting")
    return next(state for state in SAMPLE_STATES if state in found)


def _step(step: StepData, hints: Hints) -> dict[str, Any]:
    return {
        "name": printable(step.name),
        "logs": printable(hints.command("logs", [step.name])),
        "requeue": printable(hints.command("requeue", [step.name])),
        "status": printable(hints.command("status", [step.name])),
        "folder": printable(step.details.folder),
    }


def _scripts(step: StepData, detailed: Sequence[bool]) -> list[str]:
    """The scripts that a step's details name; empty ones in place of the others."""
    named = {row.script for row, shown in zip(step.rows, detailed, strict=True) if shown}
    return [script if k in named else "" for k, script in enumerate(step.details.scripts)]


def _timeline(steps: Sequence[StepData]) -> dict[str, Any]:
    drawn = timeline([step.rows for step in steps])
    if drawn:
        drawn["hosts"] = [[printable(name), *rest] for name, *rest in drawn["hosts"]]
        drawn["steps"] = [_extent(step, drawn["begin"]) for step in steps]
    return drawn


def _extent(step: StepData, begin: int) -> list[int]:
    """When a step began and ended, from `begin` on; empty if no item of it has been run."""
    first, last = step.counts.pace.first, step.counts.pace.last
    return [] if first is None or last is None else [round(first - begin), round(last - begin)]
