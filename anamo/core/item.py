"""Items of a workflow table: their states, their identity, their attributes.

Guaranteed: `item_id` depends on what is to be run and on nothing else, so the same line is the
same item in every file and on every machine. Attributes that another tool added are neither read
nor written.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from typing import Any

from anamo.core.codec import ItemId, Values, key_of, mapping, number, text, texts, whole

NULL = "NULL"
"""Stands for an attribute that an item does not have. Other tools and earlier versions wrote it
where an attribute says nothing yet: there it means the same."""

SINGLE = ""
"""The name of a single item's task among results."""

ID_BITS = 53
"""JavaScript and jq read integers of up to 53 bits exactly."""

TASK_ID_LIMIT = 1024
"""Bytes of a sort key in DynamoDB; `taskID` is one in TaskStateIndex."""


class State(str, Enum):
    """The states of an item; of a nested task too, which is never `locked` or `held`."""

    TODO = "todo"
    LOCKED = "locked"
    DONE = "done"
    FAILED = "failed"
    HELD = "held"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class NestedTask:
    """One task of a nested item.

    Attributes:
        name: `Task_0`, `Task_1` and so on.
        script: Its command line.
        status: `todo`, `done` or `failed`.
    """

    name: str
    script: str
    status: str = State.TODO.value


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a workflow table, without its results.

    Attributes:
        item_id: The key, made of what is to be run; a Decimal only in another tool's item.
        task_id: The user's name for it, which several items may share.
        script: A single item's command line; None in a nested one.
        nested: A nested item's tasks in the order of their numbers; empty in a single one.
        state: One of `State`, or another tool's.
        lock_id: The token of the last claim, or of the import before the first; NULL in an item of
            another tool or an earlier version that nobody has claimed.
        instance_id: The host or job of the last claim.
        lease_expires: Epoch seconds; None where no lease is held.
        attempts: Claims so far that were not given back in good order.
        failures: How often it has ended as failed or been retried.
        host_errors: How many of its attempts ended in a host error.
        host_error: The last of these, else empty.
        s3_prefixes: What the addresses in the log entries of nested tasks begin with.
        log_so_far: The s3:// address of the output so far of its tasks that run, or ran until their
            worker died; else empty.
    """

    item_id: ItemId
    task_id: str
    script: str | None
    nested: tuple[NestedTask, ...] = ()
    state: str = State.TODO.value
    lock_id: str = NULL
    instance_id: str = NULL
    lease_expires: int | None = None
    attempts: int = 0
    failures: int = 0
    host_errors: int = 0
    host_error: str = ""
    s3_prefixes: tuple[str, ...] = ()
    log_so_far: str = ""

    @classmethod
    def from_values(cls, values: Values) -> "Item":
        """The item that a table holds. What another tool left out, or wrote in another form, counts
        as unset.
        """
        nested = _nested(mapping(values, "TaskScript"))
        lease = number(values, "Lease_Expires")
        return cls(
            item_id=key_of(values),
            task_id=text(values, "taskID", NULL),
            script=None if nested else text(values, "TaskScript"),
            nested=nested,
            state=text(values, "ItemState", NULL),
            lock_id=text(values, "lockID", NULL),
            instance_id=text(values, "InstanceID", NULL),
            lease_expires=None if lease is None else int(lease),
            attempts=whole(values, "Attempts"),
            failures=whole(values, "Failures"),
            host_errors=whole(values, "Host_Errors"),
            host_error=text(values, "Host_Error"),
            s3_prefixes=texts(values, "S3_Prefixes"),
            log_so_far=text(values, "Log_So_Far"),
        )

    @property
    def is_nested(self) -> bool:
        """Whether the item has nested tasks."""
        return self.script is None

    @property
    def scripts(self) -> list[str]:
        """The command lines of its tasks."""
        return [task.script for task in self.nested] if self.script is None else [self.script]

    @property
    def arguments(self) -> dict[str, str]:
        """What tells each nested task from the others of its item, by its name: of the words of its
        command line those between the first and the last that differ, such as "chr4". With one
        nested task, the last word. Empty where the Task Scripts were not read.
        """
        words = {task.name: task.script.split() for task in self.nested if task.script.strip()}
        if len(words) < 2:
            return {name: each[-1] for name, each in words.items()}
        alike = _alike([*words.values()])
        rest = {name: each[alike:] for name, each in words.items()}
        end = _alike([each[::-1] for each in rest.values()])
        return {name: " ".join(each[: len(each) - end]) for name, each in rest.items()}

    @property
    def tasks(self) -> int:
        """How many tasks the item has."""
        return len(self.nested) if self.is_nested else 1


def _alike(lists: Sequence[Sequence[str]]) -> int:
    """How many first words all of them share."""
    alike = takewhile(lambda words: len(set(words)) == 1, zip(*lists, strict=False))
    return len(list(alike))


def single_item(task_id: str, script: str) -> Item:
    """A todo item of one task."""
    return Item(_identity([task_id, script]), task_id, script)


def nested_item(task_id: str, scripts: Sequence[str]) -> Item:
    """A todo item of nested tasks `Task_0`, `Task_1`, … in the order of `scripts`."""
    tasks = tuple(NestedTask(f"Task_{k}", script) for k, script in enumerate(scripts))
    return Item(_identity([task_id, list(scripts)]), task_id, None, tasks)


def _identity(content: list[object]) -> int:
    encoded = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.blake2b(encoded.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - ID_BITS)


def new_values(item: Item) -> dict[str, Any]:
    """The whole item as it is imported: in its state, todo or held, and never claimed.

    What says nothing yet is absent, and an index does not list an item that lacks its key: two of
    the four indexes do not list an item that was never claimed.
    """
    values: dict[str, Any] = {
        "itemID": item.item_id,
        "taskID": item.task_id,
        "ItemState": item.state,
    }
    if item.script is not None:
        values["TaskScript"] = item.script
    else:
        values["Nested_Tasks"] = len(item.nested)
        values["TaskScript"] = {
            task.name: {"Status": task.status, "Script": task.script} for task in item.nested
        }
    return values


def _nested(tasks: Values) -> tuple[NestedTask, ...]:
    """The nested tasks in the order of their numbers: Task_2 before Task_10. None where one of
    them is not a map: the item is then one task without a script, which fails with that reason.
    """
    if not tasks or not all(isinstance(task, dict) for task in tasks.values()):
        return ()
    return tuple(
        NestedTask(name, text(tasks[name], "Script"), text(tasks[name], "Status", State.TODO.value))
        for name in sorted(tasks, key=task_order)
    )


def task_order(name: str) -> tuple[int, str]:
    """Sort key of nested tasks' names: by number, names without one last."""
    digits = name.rpartition("_")[2]
    if digits.isascii() and digits.isdigit() and len(digits) < 19:
        return (int(digits), name)
    return (1 << 62, name)
