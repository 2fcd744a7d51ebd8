"""The promises of a table, checked on each image of an item and on each change of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anamo.core.item import SINGLE
from tests.model.table_steps import AGAIN, EDGES, ENDED, SETTLING, Image, Step
from tests.support.reference import ended, statuses
from tests.support.table import plain


def readable(raw: Mapping[int, Any]) -> dict[int, Image]:
    """Items as plain values."""
    return {key: plain({"M": image}) for key, image in raw.items()}


def log(image: Image) -> list[tuple[str, Image]]:
    """The log entries of an item by the names of their tasks."""
    if "Nested_Tasks" in image:
        return list(image.get("Log", {}).items())
    return [(SINGLE, image["Log"])] if image.get("Log") else []


def check_image(image: Image, lines: Mapping[str, int]) -> None:
    """What holds for an item at any time."""
    state, states = image["ItemState"], statuses(image)
    assert ("Lease_Expires" in image) is (state == "locked"), "a lease without a holder, or none"
    assert ("InstanceID" in image) is (state != "todo")
    assert ("Log_Length" in image) is (state in ENDED)
    assert image.get("Attempts", 0) >= (state != "todo"), "too few attempts"
    if states:
        assert image.get("Ended_Tasks", 0) == ended(image), "Ended_Tasks is not what has ended"
        assert {name for name, now in states.items() if now in ENDED} <= set(image.get("Log", {}))
        assert state != "done" or set(states.values()) == {"done"}, "done, but not all of it"
    elif state in ENDED:
        assert image["Log_Length"] == lines[image["Log"]["stdout"]], "not the lines it printed"


def check_change(before: Image | None, now: Image | None, step: Step, time: float) -> None:
    """What holds for a change of an item, by what was done."""
    was, then = (image["ItemState"] if image else None for image in (before, now))
    assert (was, then) in EDGES[step.name], f"{step.name} made {was} {then}"
    if before is None:
        return
    if step.name in SETTLING:
        assert before["lockID"] == step.lock, f"{step.name} by another than the holder"
    if now is not None and was == then == "locked" and step.name != "take over":
        assert before["Lease_Expires"] <= now["Lease_Expires"], "the lease moved back"
        assert before.get("Ended_Tasks", 0) <= now.get("Ended_Tasks", 0), "fewer tasks have ended"
    if step.name in {"take over", "requeue", "requeue all", "remove"}:
        assert before.get("Lease_Expires", 0) < time, f"{step.name} while a lease goes on"
    if now is not None:
        check_attempts(before, now, step)
        check_tasks(before, now, step)


def check_attempts(before: Image, now: Image, step: Step) -> None:
    """A claim counts, one handed back in good order does not, and requeueing starts afresh."""
    counts = {"claim": 1, "take over": 1, "release": -1, "retry": -1}
    if step.name.startswith("requeue"):
        assert "Attempts" not in now, "attempts miscounted"
    else:
        more = now.get("Attempts", 0) - before.get("Attempts", 0)
        assert more == counts.get(step.name, 0), "attempts miscounted"
    claimed = step.name in {"claim", "take over"}
    assert (before["lockID"] != now["lockID"]) is claimed, "a lock changed, or not"


def check_tasks(before: Image, now: Image, step: Step) -> None:
    """A nested task that has ended stays so, with its outcome, unless it failed and runs again."""
    for name, status in statuses(before).items():
        if status in ENDED:
            again = step.name == "requeue all" or (status == "failed" and step.name in AGAIN)
            assert statuses(now)[name] == ("todo" if again else status), f"{name} left {status}"
            assert now["Log"][name] == before["Log"][name], f"{name} has a second outcome"
