"""The update of an item by one transition, as the expressions of DynamoDB put it.

Guaranteed: an update that is sent again writes the same once more, and can be found in an item that
has it already. Not guaranteed: that its condition holds; `table_writes` sends it and is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anamo.core.codec import Values, mapping
from anamo.core.item import NestedTask, State, nested_values
from anamo.core.log_entry import LogEntry

Results = Mapping[str, LogEntry] | LogEntry
"""What a claim writes: log entries of nested tasks by name, or that of the single task."""


@dataclass(slots=True)
class ItemUpdate:
    """What a transition's write needs beside its own clauses.

    Attributes:
        lock_id: The lockID of the claim; NULL where nobody claims the item.
        values: The expressions' values by placeholder.
        paths: Attribute names by placeholder.
        clauses: What SET has beside the transition's own clauses.
    """

    lock_id: str
    values: dict[str, Any]
    paths: dict[str, str] = field(default_factory=dict)
    clauses: list[str] = field(default_factory=list)

    def set_nested(self, nested: Sequence[NestedTask]) -> None:
        """Write the nested tasks: all at once, since an update expression has no room for hundreds
        of paths.
        """
        self.paths["#TaskScript"] = "TaskScript"
        self.values[":nested"] = nested_values(nested)
        self.clauses.append("#TaskScript = :nested")

    def add_results(self, results: Results, ended: int, *, statuses: bool = True) -> None:
        """Write results; with `statuses` those of nested tasks too."""
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
            self.paths |= {"#Log": "Log", f"#{key}": name}
            self.values[f":{key}"] = entry.to_values()
            self.clauses.append(f"#Log.#{key} = :{key}")
            if statuses:
                state = State.DONE if entry.succeeded else State.FAILED
                self.paths |= {"#TaskScript": "TaskScript", "#Status": "Status"}
                self.values[f":{state}"] = state.value
                self.clauses.append(f"#TaskScript.#{key}.#Status = :{state}")

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
