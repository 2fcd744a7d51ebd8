"""Holding items back, and letting samples go on step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import workflow
from tests.support.both_kinds import both_kinds
from tests.support.proxy import dropping_reply, on
from tests.support.table import Table
from tests.support.waiting import eventually

Run = Callable[..., Any]


def states_by_task(table: Table) -> dict[str, str]:
    return {item["taskID"]: item["ItemState"] for item in table.items()}


@both_kinds
def test_an_import_with_hold_adds_items_that_no_worker_takes(
    run: Run, table: Table, bucket: str
) -> None:
    imported = ["import-items-generic.py", "-t", table.name, "-d", "-", "-s", "|"]
    lines = f"One|{table.name}|seq|1\nTwo|{table.name}|seq|2\n"
    ended = run(*imported, "--hold", stdin=lines)
    assert (ended.returncode, ended.stdout) == (
        0,
        f"{table.name}: 2 new items (held), 0 already there\n",
    )
    assert table.states() == {"held": 2}
    assert run("pyanamo.py", "-t", table.name, "-b", bucket).returncode == 0
    assert table.states() == {"held": 2}
    ended = run("pyanamo.py", "resume", "-t", table.name)
    assert (ended.returncode, ended.stdout) == (0, f"{table.name}: resumed 2 items\n")
    assert run("pyanamo.py", "-t", table.name, "-b", bucket).returncode == 0
    assert table.states() == {"done": 2}


def test_items_that_are_there_already_are_not_held_by_another_import(run: Run, small: Any) -> None:
    imported = ["import-items-generic.py", "-d", "-", "-s", "|"]
    table = small()
    line = f"One|{table.name}|seq|1\n"
    run(*imported, "-t", table.name, stdin=line)
    assert run(*imported, "-t", table.name, "--hold", stdin=line).returncode == 0
    assert table.states() == {"todo": 1}


@both_kinds
def test_todo_items_are_held_and_others_are_not(run: Run, small: Any) -> None:
    table = small(
        workflow.item("A", "todo", 2), workflow.item("B", "todo"), workflow.item("C", "done")
    )
    ended = run("pyanamo.py", "hold", "A", "-t", table.name)
    assert (ended.returncode, ended.stdout) == (0, f"{table.name}: held 1 item\n")
    assert states_by_task(table) == {"A": "held", "B": "todo", "C": "done"}
    ended = run("pyanamo.py", "hold", "A", "C", "-t", table.name)
    assert ended.returncode == 1
    assert "is held, not todo; left as it is" in ended.stderr
    assert "is done, not todo; left as it is" in ended.stderr
    assert run("pyanamo.py", "hold", "-t", table.name).returncode == 0
    assert states_by_task(table) == {"A": "held", "B": "held", "C": "done"}


def test_holding_and_resuming_change_nothing_but_the_state(run: Run, small: Any) -> None:
    table = small(workflow.item("A", "todo", 3, Log_Length=1, Attempts=2))
    before = table.items()
    assert run("pyanamo.py", "hold", "-t", table.name).returncode == 0
    assert table.items() == [{**before[0], "ItemState": "held"}]
    assert run("pyanamo.py", "resume", "-t", table.name).returncode == 0
    assert table.items() == before


@pytest.mark.parametrize(("command", "state"), [("hold", "todo"), ("resume", "held")])
def test_a_lost_reply_is_not_a_refusal(
    run: Run, small: Any, make_proxy: Any, dynamodb: str, command: str, state: str
) -> None:
    table = small(workflow.item("A", state))
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on("UpdateItem", dropping_reply, 1)
    through = {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}
    ended = run("pyanamo.py", command, "-t", table.name, env=through)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "1 item" in ended.stdout


def test_status_counts_held_items_and_says_how_to_resume_them(run: Run, small: Any) -> None:
    table = small(workflow.item("A", "held"), workflow.item("B", "done"))
    shown = run("pyanamo.py", "status", "-t", table.name).stdout
    assert "held" in shown.splitlines()[0].split()
    assert f"1 held item of {table.name}, which no worker claims; resume it:" in shown
    assert f"pyanamo.py resume -t {table.name}" in shown
    assert '"held": 1' in run("pyanamo.py", "status", "-t", table.name, "--output", "json").stdout
    assert "held=1" in run("pyanamo.py", "status", "-t", table.name, "--output", "tsv").stdout
    assert "A" in run("pyanamo.py", "status", "-t", table.name, "--state", "held").stdout


def test_held_items_can_be_removed(run: Run, small: Any) -> None:
    table = small(workflow.item("A", "held"))
    words = ["remove", "-t", table.name, "--state", "held", "--yes"]
    assert run("pyanamo.py", *words).returncode == 0
    assert table.states() == {}


# Step by step


def test_only_samples_that_are_through_go_on(run: Run, small: Any) -> None:
    align = small(
        workflow.item("Through", "done"),
        workflow.item("Partly", "done", 2),
        workflow.item("Partly", "todo"),
        workflow.item("Failed", "failed"),
        workflow.item("Running", "locked", Lease_Expires=1),
        workflow.item("Held", "held"),
    )
    quality = small(*(workflow.item(name, "done") for name in ("Through", "Partly", "Late")))
    samples = ["Through", "Partly", "Failed", "Running", "Held", "Late"]
    call = small(*(workflow.item(name, "held") for name in samples))
    command = ["resume", "-t", call.name, "--after", align.name, quality.name]
    for resumed in (1, 0):
        ended = run("pyanamo.py", *command)
        assert ended.returncode == 0
        assert ended.stdout.splitlines() == [
            f"{call.name}: resumed {resumed} item{'' if resumed == 1 else 's'}",
            f"{call.name}: 5 items still held, waiting for",
            f"  {align.name}: 1 failed, 1 held, 1 locked, 1 not imported, 1 todo",
            f"  {quality.name}: 3 not imported",
        ]
        assert states_by_task(call) == dict.fromkeys(samples, "held") | {"Through": "todo"}


@pytest.mark.parametrize("state", ["held", "todo"])
def test_an_earlier_step_that_does_not_exist_is_an_error(run: Run, small: Any, state: str) -> None:
    call = small(workflow.item("A", state))
    ended = run("pyanamo.py", "resume", "-t", call.name, "--after", "NoSuchTable")
    assert ended.returncode == 3
    assert "table NoSuchTable does not exist" in ended.stderr
    assert call.states() == {state: 1}


def test_a_step_does_not_wait_for_itself(run: Run, small: Any) -> None:
    align, call = small(workflow.item("A", "done")), small(workflow.item("A", "held"))
    ended = run("pyanamo.py", "resume", "-t", call.name, "--after", align.name, call.name,
                "--watch", "1")  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"--after {call.name}: items of {call.name} would wait for themselves" in ended.stderr
    assert call.states() == {"held": 1}


def test_where_nothing_is_held_there_is_nothing_to_do(run: Run, small: Any) -> None:
    call, align = small(workflow.item("A", "todo")), small(workflow.item("A", "done"))
    ended = run("pyanamo.py", "resume", "-t", call.name, "--after", align.name)
    assert (ended.returncode, ended.stdout) == (0, f"{call.name}: no item is held\n")


def test_watching_goes_on_until_nothing_is_held(start: Run, small: Any) -> None:
    align = small(workflow.item("A", "done"), workflow.item("B", "failed"))
    call = small(workflow.item("A", "held"), workflow.item("B", "held"))
    watching = start(
        "pyanamo.py", "resume", "-t", call.name, "--after", align.name, "--watch", "0.2"
    )
    eventually(lambda: states_by_task(call) == {"A": "todo", "B": "held"})
    assert watching.process.poll() is None
    workflow.put_all(align.client, align, [workflow.item("B", "done")])
    assert watching.wait().returncode == 0
    assert states_by_task(call) == {"A": "todo", "B": "todo"}


def test_samples_flow_through_three_steps_with_failures_in_the_middle(
    run: Run, make_table: Callable[[], Table], bucket: str, tmp_path: Path
) -> None:
    steps = [make_table() for _ in range(3)]
    align, call, merge = steps
    (tmp_path / "broken").touch()
    samples = [f"Sample{number}" for number in range(6)]
    for step, table in enumerate(steps):
        # Each task fails unless its sample is through the step before; Sample3 fails in the middle
        before = f"test -e {tmp_path}/{step - 1}-$1" if step else "true"
        fault = f"test $1 != Sample3 -o ! -e {tmp_path}/broken" if step == 1 else "true"
        script = f"bash -c '{before} && {fault} && touch {tmp_path}/{step}-$1' _"
        lines = "".join(f"{name}|{table.name}|{script}|{name}\n" for name in samples)
        words = ["import-items-generic.py", "-t", table.name, "-d", "-", "-s", "|"]
        assert run(*words, *(["--hold"] if step else []), stdin=lines).returncode == 0

    def pass_on() -> None:
        """What cron does every few minutes."""
        for earlier, table in ((None, align), (align, call), (call, merge)):
            if earlier:
                resumed = run("pyanamo.py", "resume", "-t", table.name, "--after", earlier.name)
                assert resumed.returncode == 0
            assert run("pyanamo.py", "-t", table.name, "-b", bucket).returncode in (0, 1)

    pass_on()
    assert states_by_task(call) == dict.fromkeys(samples, "done") | {"Sample3": "failed"}
    assert states_by_task(merge) == dict.fromkeys(samples, "done") | {"Sample3": "held"}
    (tmp_path / "broken").unlink()
    words = ["requeue", "-t", call.name, "--state", "failed", "--yes"]
    assert run("pyanamo.py", *words).returncode == 0
    pass_on()
    for table in steps:
        assert states_by_task(table) == dict.fromkeys(samples, "done")


def test_a_mistyped_name_is_reported_while_nothing_is_held(run: Run, small: Any) -> None:
    align, call = small(workflow.item("S1", "done")), small(workflow.item("S1", "todo"))
    ended = run("pyanamo.py", "resume", "-t", call.name, "Filtr", "--after", align.name)
    assert ended.returncode == 2
    assert "no item has the taskID or itemID Filtr" in ended.stderr
