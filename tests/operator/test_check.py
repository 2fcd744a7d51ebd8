"""The gate between two steps: `status --check`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.operator.conftest import held
from tests.support import workflow
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.waiting import eventually

Run = Callable[..., Any]

CHECK = 1
"""Queries of one check of a table whose items are all in one state."""

DONE, FAILED, TODO = (workflow.item(name, name) for name in ("done", "failed", "todo"))


@pytest.mark.parametrize(
    ("items", "code", "line"),
    [
        ([DONE], 0, "1 of 1 item done"),
        ([DONE, FAILED], 1, "1 of 2 items done, 1 failed"),
        ([DONE, FAILED, TODO], 75, "1 of 3 items done, 1 failed, 1 todo"),
        ([held("Locked")], 75, "0 of 1 item done, 1 locked"),
        ([DONE, workflow.item("Held", "held")], 75, "1 of 2 items done, 1 held"),
        ([DONE, workflow.item("Theirs", "paused")], 75, "1 of 2 items done, 1 paused"),
        ([], 0, "no items: was the step imported?"),
    ],
)
def test_the_exit_code_says_whether_a_step_is_done(
    run: Run, small: Any, items: list[dict[str, Any]], code: int, line: str
) -> None:
    table = small(*items)
    ended = run("pyanamo.py", "status", "-t", table.name, "--check")
    assert (ended.returncode, ended.stdout) == (code, f"{table.name}: {line}\n")


def test_of_several_steps_all_must_be_done(run: Run, small: Any) -> None:
    first, second = small(DONE), small(TODO)
    ended = run("pyanamo.py", "status", "-t", first.name, second.name, "--check")
    assert ended.returncode == 75
    assert f"{first.name}: 1 of 1 item done\n" in ended.stdout


def test_a_table_that_does_not_exist_is_reported_once(run: Run, small: Any) -> None:
    ended = run("pyanamo.py", "status", "-t", small(DONE).name, "Missing", "--check")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.count("table Missing does not exist") == 1


def test_the_table_decides_and_not_its_index(
    run: Run, small: Any, make_proxy: Callable[[str], Proxy], dynamodb: str
) -> None:
    """An index that lags lists an item as done that has been requeued since."""
    table = small(workflow.item("A", "done"))
    proxy = make_proxy(dynamodb)
    answers: dict[bytes, Reply] = {}

    def as_it_was(request: Request, forward: Forward) -> Reply:
        return answers.setdefault(request.body, answers.get(request.body) or forward(request))

    def of_the_index(request: Request, forward: Forward) -> Reply:
        return as_it_was(request, forward) if b"IndexName" in request.body else forward(request)

    proxy.behaviour = of_the_index
    through = {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}
    check = ["pyanamo.py", "status", "-t", table.name, "--check"]
    assert run(*check, env=through).returncode == 0
    workflow.put_all(table.client, table, [workflow.item("A", "todo")])
    ended = run(*check, env=through)
    assert (ended.returncode, ended.stdout) == (75, f"{table.name}: 0 of 1 item done, 1 todo\n")


def test_waiting_ends_when_the_step_is_done(start: Run, run: Run, small: Any, bucket: str) -> None:
    table = small(workflow.item("A", "todo") | {"TaskScript": "true"})
    waiting = start("pyanamo.py", "status", "-t", table.name, "--check", "--wait")
    assert run("pyanamo.py", "-t", table.name, "-b", bucket).returncode == 0
    ended = waiting.wait()
    assert (ended.returncode, ended.stdout) == (0, f"{table.name}: 1 of 1 item done\n")


def test_waiting_ends_when_nobody_works_on_what_is_left(run: Run, small: Any) -> None:
    table = small(DONE, held("Lost", seconds=-100))
    ended = run("pyanamo.py", "status", "-t", table.name, "--check", "--wait", "1")
    assert ended.returncode == 75
    assert "no worker has worked on the remaining items for 1 s\n" in ended.stderr


def test_waiting_for_held_items_ends_with_how_to_release_them(run: Run, small: Any) -> None:
    first, second = small(DONE, workflow.item("A", "held")), small(workflow.item("A", "held"))
    ended = run("pyanamo.py", "status", "-t", first.name, second.name, "--check", "--wait", "1")
    assert ended.returncode == 75
    assert ended.stderr.endswith("items for 1 s; 2 of them are held, and `resume` releases them\n")


def test_waiting_goes_on_while_a_worker_holds_something(
    start: Run, small: Any, make_proxy: Callable[[str], Proxy], dynamodb: str
) -> None:
    table = small(held("Long", seconds=3600))
    proxy = make_proxy(dynamodb)
    through = {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}
    waiting = start("pyanamo.py", "status", "-t", table.name, "--check", "--wait", "0", env=through)
    # Once the idle limit is over, a check would be the last if nothing were held
    eventually(lambda: proxy.operations["Query"] > 2 * CHECK)
    assert waiting.process.poll() is None


def test_waiting_without_checking_is_wrong_usage(run: Run) -> None:
    ended = run("pyanamo.py", "status", "-t", "T", "--wait")
    assert ended.returncode == 2
    assert "--wait goes with --check" in ended.stderr
