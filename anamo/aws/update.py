"""What a transition's write sets beside the transition's own clauses: an update expression's parts.

Guaranteed: results and statuses are set one by one, so what another tool keeps beside them stays.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anamo.core.codec import Values, mapping
from anamo.core.item import State
from anamo.core.log_entry import LogEntry

GROUP_LIMIT = 50
"""Results in one write, and as many statuses beside them: an update expression has at most 4 KB and
300 operators."""

STATUS_LIMIT = 200
"""Statuses in one write without results, for the same reason."""

Results = Mapping[str, LogEntry] | LogEntry
"""What a claim writes: log entries of nested tasks by name, or that of the single task."""


@dataclass(slots=True)
class Update:
    """What a transition's write needs beside its own clauses.

    Attributes:
        lock_id: The lockID of the claim; NULL where nobody claims the item.
        values: The expressions' values by placeholder.
        paths: Attribute names by placeholder.
        clauses: What SET has beside the transition's own clauses.
        removed: What REMOVE has beside the transition's own.
    """

    lock_id: str
    values: dict[str, Any]
    paths: dict[str, str] = field(default_factory=dict)
    clauses: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def set_todo(self, names: Sequence[str]) -> None:
        """Set the statuses of nested tasks, at most STATUS_LIMIT, to todo; nothing else of them."""
        for position, name in enumerate(names):
            # Short placeholders: the expression holds each of them
            self.paths |= {"#T": "TaskScript", "#S": "Status", f"#{position}": name}
            self.values[":todo"] = State.TODO.value
            self.clauses.append(f"#T.#{position}.#S=:todo")

    def remove_nested(self, names: Sequence[str]) -> None:
        """Take nested tasks out of the item, at most STATUS_LIMIT; their log entries stay."""
        for position, name in enumerate(names):
            self.paths |= {"#T": "TaskScript", f"#{position}": name}
            self.removed.append(f"#T.#{position}")

    def add_results(self, results: Results, ended: int, again: Collection[str] = ()) -> None:
        """Write results, and the statuses of nested tasks; those in `again` become todo."""
        if isinstance(results, LogEntry):
            self.values |= {":entry": results.to_values(), ":n": results.lines}
            self.paths["#Log"] = "Log"
            self.clauses += ["#Log = :entry", "Log_Length = :n"]
            return
        # Absolute, since a write that is sent again must not count twice
        self.values[":n"] = ended
        self.clauses.append("Log_Length = :n")
        for position, (name, entry) in enumerate(results.items()):
            key = f"t{position}"
            state = State.DONE if entry.succeeded else State.FAILED
            state = State.TODO if name in again else state
            self.paths |= {"#Log": "Log", "#TaskScript": "TaskScript", "#Status": "Status"}
            self.paths[f"#{key}"] = name
            self.values |= {f":{key}": entry.to_values(), f":{state}": state.value}
            self.clauses += [f"#Log.#{key} = :{key}", f"#TaskScript.#{key}.#Status = :{state}"]

    def is_in(self, values: Values) -> bool:
        """Whether an item has the results."""
        log = mapping(values, "Log")
        if ":entry" in self.values:
            return bool(log == self.values[":entry"])
        return all(
            log.get(self.paths[f"#{key[1:]}"]) == entry
            for key, entry in self.values.items()
            if f"#{key[1:]}" in self.paths
        )
