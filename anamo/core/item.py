"""Items of a workflow table: their states, their identity, their form in DynamoDB.

Guaranteed: `item_id` depends on what is to be run and on nothing else, so the same line is the
same item in every file and on every machine. Attributes another tool wrote are not read, and no
write of ours touches them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

Attribute = Mapping[str, Any]
"""One attribute value as DynamoDB's low-level interface has it, such as `{"N": "7"}`."""

Attributes = Mapping[str, Attribute]

NULL = "NULL"
"""Stands in `lockID`, `InstanceID`, `Lock_Date` and `Done_Date` before they mean anything: an
index key cannot be empty or absent if the index is to list the item."""

ITEM_LIMIT = 400 * 1024
"""Bytes an item may have in DynamoDB, attribute names included."""

ID_BITS = 53
"""JavaScript and jq read integers of up to 53 bits exactly."""

TASK_ID_LIMIT = 1024
"""Bytes of a sort key in DynamoDB; `taskID` is one in TaskStateIndex."""


class State(str, Enum):
    """The states of an item; of a nested task too, which is never `locked`."""

    TODO = "todo"
    LOCKED = "locked"
    DONE = "done"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class NestedTask:
    """One task of a nested item: `Task_0`, `Task_1`, … with its command line."""

    name: str
    script: str
    status: str = State.TODO.value


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a workflow table. `script` is None in a nested item, `nested` empty in a single
    one; `lease_expires` is in epoch seconds and None where no lease is held.
    """

    item_id: int
    task_id: str
    script: str | None
    nested: tuple[NestedTask, ...] = ()
    state: str = State.TODO.value
    lock_id: str = NULL
    instance_id: str = NULL
    lease_expires: int | None = None
    attempts: int = 0
    failures: int = 0
    log_length: int = 0

    @property
    def is_nested(self) -> bool:
        """Whether the item holds nested tasks."""
        return self.script is None

    @property
    def tasks(self) -> int:
        """How many tasks the item holds."""
        return len(self.nested) if self.is_nested else 1


def single_item(task_id: str, script: str) -> Item:
    """A todo item of one task."""
    return Item(_identity([task_id, script]), task_id, script)


def nested_item(task_id: str, scripts: Sequence[str]) -> Item:
    """A todo item of nested tasks `Task_0`, `Task_1`, … in the order of `scripts`."""
    tasks = tuple(NestedTask(f"Task_{k}", script) for k, script in enumerate(scripts))
    return Item(_identity([task_id, list(scripts)]), task_id, None, tasks)


def _identity(content: list[object]) -> int:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - ID_BITS)


def new_attributes(item: Item) -> dict[str, Attribute]:
    """The whole item as it is imported: in state todo, never claimed."""
    attributes: dict[str, Attribute] = {
        "itemID": {"N": str(item.item_id)},
        "taskID": {"S": item.task_id},
        "ItemState": {"S": State.TODO.value},
        "Log": {"M": {}},
        "Log_Length": {"N": "0"},
        "lockID": {"S": NULL},
        "InstanceID": {"S": NULL},
        "Lock_Date": {"S": NULL},
        "Done_Date": {"S": NULL},
        "Attempts": {"N": "0"},
    }
    if item.script is not None:
        attributes["TaskScript"] = {"S": item.script}
    else:
        attributes["Nested_Tasks"] = {"N": str(len(item.nested))}
        attributes["TaskScript"] = nested_attribute(item.nested)
    return attributes


def nested_attribute(nested: Sequence[NestedTask]) -> Attribute:
    """Nested tasks as the `TaskScript` of their item."""
    return {
        "M": {
            task.name: {"M": {"Status": {"S": task.status}, "Script": {"S": task.script}}}
            for task in nested
        }
    }


def from_attributes(attributes: Attributes) -> Item:
    """The item that DynamoDB returned. Attributes that another tool left out count as unset."""
    script = attributes.get("TaskScript", {})
    nested = _nested(script.get("M", {}))
    lease = attributes.get("Lease_Expires")
    return Item(
        item_id=int(attributes["itemID"]["N"]),
        task_id=_text(attributes, "taskID"),
        script=None if nested else str(script.get("S", "")),
        nested=nested,
        state=_text(attributes, "ItemState"),
        lock_id=_text(attributes, "lockID"),
        instance_id=_text(attributes, "InstanceID"),
        lease_expires=int(float(lease["N"])) if lease and "N" in lease else None,
        attempts=_number(attributes, "Attempts"),
        failures=_number(attributes, "Failures"),
        log_length=_number(attributes, "Log_Length"),
    )


def _text(attributes: Attributes, name: str) -> str:
    return str(attributes.get(name, {}).get("S", NULL))


def _number(attributes: Attributes, name: str) -> int:
    return int(float(attributes.get(name, {}).get("N", "0")))


def _nested(tasks: Attributes) -> tuple[NestedTask, ...]:
    """The nested tasks in the order of their numbers: Task_2 before Task_10. None where one of
    them is no map: the item is then one task without a script, which fails and says so.
    """
    if not all("M" in task for task in tasks.values()):
        return ()
    return tuple(
        NestedTask(
            name,
            str(tasks[name]["M"].get("Script", {}).get("S", "")),
            str(tasks[name]["M"].get("Status", {}).get("S", State.TODO.value)),
        )
        for name in sorted(tasks, key=task_order)
    )


def task_order(name: str) -> tuple[int, str]:
    """Sort key of a nested task's name: by number, names without one last."""
    number = name.rpartition("_")[2]
    return (int(number), name) if number.isascii() and number.isdigit() else (1 << 62, name)


def size_of(attributes: Attributes) -> int:
    """Bytes DynamoDB counts for attributes: names and strings in UTF-8, numbers by their digits,
    3 bytes for a list or map and 1 for each of its elements (the developer guide's item sizes).
    """
    return sum(text_size(name) + value_size(value) for name, value in attributes.items())


def value_size(value: Attribute) -> int:
    """Bytes of one attribute value."""
    ((kind, content),) = value.items()
    if kind == "S":
        return text_size(content)
    if kind == "N":
        return len(content) // 2 + 2
    if kind == "M":
        return 3 + len(content) + size_of(content)
    if kind == "L":
        return 3 + len(content) + sum(map(value_size, content))
    return len(content) if isinstance(content, (str, bytes)) else 1


def text_size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))
