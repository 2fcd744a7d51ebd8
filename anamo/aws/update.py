"""What a transition's write sets besides the transition's own clauses: parts of an expression.

Guaranteed: results and statuses are set one by one, so what another tool keeps next to them stays.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anamo.core.codec import Values, mapping
from anamo.core.item import Item, State
from anamo.core.log_entry import MOST_PREFIXES, LogEntry, split_address

GROUP_LIMIT = 50
"""Results in one write, and as many statuses as well: an update expression has at most 4 KB and
300 operators."""

STATUS_LIMIT = 200
"""Statuses in one write without results, for the same reason."""

Results = Mapping[str, LogEntry] | LogEntry
"""What a claim writes: log entries of nested tasks by name, or that of the single task."""


@dataclass(slots=True)
class Update:
    """What a transition's write needs besides its own clauses.

    Attributes:
        lock_id: The lockID of the claim; NULL where nobody claims the item.
        values: The expressions' values by placeholder.
        paths: Attribute names by placeholder.
        clauses: What SET has besides the transition's own clauses.
        removed: What REMOVE has besides the transition's own attributes.
        results: The log entries of nested tasks that are written, by name.
    """

    lock_id: str
    values: dict[str, Any]
    paths: dict[str, str] = field(default_factory=dict)
    clauses: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)

    def set(self, name: str, value: Any) -> None:
        """Set an attribute of the item; None and 0 remove it."""
        if value:
            self.values[f":new{name}"] = value
            self.clauses.append(f"{name} = :new{name}")
        else:
            self.removed.append(name)

    def set_length(self, length: int) -> None:
        """Set Log_Length, to 0 too: a task that ended without output has ended."""
        self.values[":length"] = length
        self.clauses.append("Log_Length = :length")

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

    def add_results(
        self, item: Item, results: Results, ended: int, again: Collection[str] = ()
    ) -> None:
        """Write results, and the statuses of nested tasks; those in `again` become todo.

        Args:
            item: The item as it was claimed.
            results: The results.
            ended: How many nested tasks of the item have ended then.
            again: The names of those that run again.
        """
        if isinstance(results, LogEntry):
            self.values[":entry"] = results.to_values()
            self.paths["#Log"] = "Log"
            self.clauses.append("#Log = :entry")
            return
        if item.is_nested:
            # Absolute, since a write that is sent again must not count twice
            self.set("Ended_Tasks", ended)
        prefixes = item.s3_prefixes
        for position, (name, entry) in enumerate(results.items()):
            key = f"t{position}"
            state = State.DONE if entry.succeeded else State.FAILED
            state = State.TODO if name in again else state
            self.paths |= {"#Log": "Log", "#TaskScript": "TaskScript", "#Status": "Status"}
            self.paths[f"#{key}"] = name
            written = entry.to_values()
            prefix, rest = split_address(entry.s3, item.lock_id)
            if prefix and prefix not in prefixes and len(prefixes) < MOST_PREFIXES:
                prefixes = (*prefixes, prefix)
            if prefix in prefixes:
                written["S3"] = f"{prefixes.index(prefix)}:{rest}"
            self.results[name] = written
            self.values |= {f":{key}": written, f":{state}": state.value}
            self.clauses += [f"#Log.#{key} = :{key}", f"#TaskScript.#{key}.#Status = :{state}"]
        if prefixes != item.s3_prefixes:
            # The whole list, as nobody but the holder adds to it: the same in all its writes
            self.set("S3_Prefixes", list(prefixes))

    def is_in(self, values: Values) -> bool:
        """Whether an item has the results."""
        log = mapping(values, "Log")
        if ":entry" in self.values:
            return bool(log == self.values[":entry"])
        return all(log.get(name) == entry for name, entry in self.results.items())
