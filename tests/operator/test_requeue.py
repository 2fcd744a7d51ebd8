from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anamo.operator.change import WRITE_THREADS
from tests.operator.conftest import held
from tests.support import workflow
from tests.support.fleet import Fleet
from tests.support.proxy import Forward, Proxy, Reply, Request, dropping_reply, failing, on
from tests.support.scripts import ROOT, Scripts
from tests.support.table import Table
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Run = Callable[..., Any]


def half_failed(task_id: str = "Half") -> dict[str, Any]:
    """Return a failed item whose Task_1 failed, with attributes left by its run."""
    made = workflow.item(task_id, "failed", 3, Attempts=4, Failures=2, Failed_Tasks=1)
    made["TaskScript"]["Task_0"]["Status"] = made["TaskScript"]["Task_2"]["Status"] = "done"
    made["Log"] = {f"Task_{k}": workflow.entry(task_id) for k in range(3)}
    return made


def statuses(item: dict[str, Any]) -> list[str]:
    return [item["TaskScript"][f"Task_{k}"]["Status"] for k in range(item["Nested_Tasks"])]


def test_failed_nested_tasks_are_todo_again(run: Run, small: Any) -> None:
    table = small(half_failed(), workflow.item("Good", "done"))
    ended = run("pyanamo.py", "requeue", "-t", table.name, "--state", "failed", "--yes")
    assert (ended.returncode, ended.stdout) == (0, f"{table.name}: requeued 1 item\n")
    item = table.item(half_failed()["itemID"])
    assert statuses(item) == ["done", "todo", "done"]
    assert (item["ItemState"], item["Ended_Tasks"]) == ("todo", 2)
    gone = {"InstanceID", "Done_Date", "Attempts", "Failures", "Failed_Tasks", "Log_Length"}
    assert not gone & set(item), "nothing says anything yet"
    assert len(item["Log"]) == 3
    assert table.states() == {"todo": 1, "done": 1}


def test_nested_all_runs_everything_again(run: Run, small: Any) -> None:
    table = small(half_failed())
    words = ["requeue", "-t", table.name, "--state", "failed", "--nested", "all", "--yes"]
    assert run("pyanamo.py", *words).returncode == 0
    (item,) = table.items()
    assert (statuses(item), "Ended_Tasks" in item) == (["todo"] * 3, False)


def test_done_items_run_again_whole(run: Run, small: Any) -> None:
    table = small(workflow.item("N", "done", 2), workflow.item("S", "done"))
    words = ["requeue", "-t", table.name, "--state", "done", "--yes"]
    assert run("pyanamo.py", *words).returncode == 0
    assert table.states() == {"todo": 2}
    (nested,) = (item for item in table.items() if "Nested_Tasks" in item)
    assert statuses(nested) == ["todo", "todo"]


def test_a_worker_takes_what_was_requeued_and_leaves_what_was_done(
    run: Run, fleet: Fleet, table: Table, bucket: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    script = f"bash -c 'echo $0 >>{tmp_path}/ran; test $0 != 2 -o ! -e {broken}'"
    fleet.add([f"{script}|1,2,3"], "-n", ",", task_ids=["One"])
    assert run("pyanamo.py", "-t", table.name, "-b", bucket).returncode == 1
    broken.unlink()
    run("pyanamo.py", "requeue", "-t", table.name, "--state", "failed", "One", "--yes")
    assert run("pyanamo.py", "-t", table.name, "-b", bucket).returncode == 0
    assert sorted((tmp_path / "ran").read_text().split()) == ["1", "2", "2", "3"]
    assert table.states() == {"done": 1}


def test_3000_items_are_requeued_and_counted(run: Run, small: Any) -> None:
    table = small(*(workflow.item(f"T{k}", "failed") for k in range(3000)))
    ended = run("pyanamo.py", "requeue", "-t", table.name, "--state", "failed", "--yes")
    assert ended.stdout == f"{table.name}: requeued 3,000 items\n"
    assert table.states() == {"todo": 3000}


# Whom it asks


def test_somebody_is_asked(typing: Run, small: Any) -> None:
    table = small(half_failed())
    for typed, code, state in (("n\n", 1, "failed"), ("\n", 1, "failed"), ("y\n", 0, "todo")):
        ended = typing("requeue", "-t", table.name, "--state", "failed", typed=typed)
        assert f"Requeue 1 failed item of table {table.name} (1 task to run)?" in ended.stdout
        assert ended.returncode == code
        assert table.states() == {state: 1}


def test_the_message_after_ctrl_d_begins_a_line(typing: Run, small: Any) -> None:
    table = small(half_failed())
    ended = typing("requeue", "-t", table.name, "--state", "failed", typed="\x04")
    assert ended.returncode == 1
    question, said = ended.stdout.splitlines()[-2:]
    assert question.endswith("[y/N] ")
    assert said == "pyanamo.py: nothing was changed"
    assert table.states() == {"failed": 1}


@pytest.mark.parametrize("command", ["requeue", "remove"])
def test_nobody_to_ask_is_refused(run: Run, small: Any, command: str) -> None:
    table = small(half_failed())
    ended = run("pyanamo.py", command, "-t", table.name, "--state", "failed")
    assert ended.returncode == 2
    assert "stdin is not a terminal: pass --yes" in ended.stderr
    assert table.states() == {"failed": 1}


# Which items


def test_items_in_another_state_are_named_and_left_alone(run: Run, small: Any) -> None:
    done = workflow.item("Good", "done")
    table = small(half_failed(), done)
    words = ["requeue", "-t", table.name, "--state", "failed", "Half", "Good", "--yes"]
    ended = run("pyanamo.py", *words)
    assert ended.returncode == 1
    assert f"Good (item {done['itemID']}) is done, not failed; left as it is" in ended.stderr
    assert table.states() == {"todo": 1, "done": 1}


def test_a_name_that_means_nothing_changes_nothing(run: Run, small: Any) -> None:
    table = small(half_failed())
    words = ["requeue", "-t", table.name, "--state", "failed", "Half", "Nobody", "--yes"]
    ended = run("pyanamo.py", *words)
    assert ended.returncode == 2
    assert "no item has the taskID or itemID Nobody" in ended.stderr
    assert table.states() == {"failed": 1}


@pytest.mark.parametrize(
    ("command", "state", "others"),
    [
        ("requeue", "held", "failed, done or locked"),
        ("requeue", "waiting", "failed, done or locked"),
        ("remove", "waiting", "todo, held, locked, done or failed"),
    ],
)
def test_a_state_that_cannot_be_changed_so_is_refused_before_anybody_is_asked(
    run: Run, small: Any, command: str, state: str, others: str
) -> None:
    table = small(workflow.item("Ours", "held"), workflow.item("Theirs", "waiting"))
    for words in ([], ["--yes"], ["--yes", "Ours", "Theirs"]):
        ended = run("pyanamo.py", command, "-t", table.name, "--state", state, *words)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert f"are {state} cannot be {command}d, only" in ended.stderr
        assert ended.stderr.endswith(f"those that are {others}\n")
    assert table.states() == {"held": 1, "waiting": 1}


@pytest.mark.parametrize("command", ["requeue", "remove"])
def test_only_items_nobody_holds_are_freed(run: Run, small: Any, command: str) -> None:
    items = [held("Live"), held("Dead", seconds=-60), workflow.item("Foreign", "locked")]
    table = small(*items)
    words = [command, "-t", table.name, "--state", "locked", "--yes"]
    ended = run("pyanamo.py", *words)
    assert ended.returncode == 0
    assert "1 item was left because a worker holds it (--force takes it)" in ended.stderr
    assert [item["taskID"] for item in table.items() if item["ItemState"] == "locked"] == ["Live"]
    named = run("pyanamo.py", *words, "Live")
    assert named.returncode == 1, "what is named and left counts"
    assert f"is locked by {items[0]['InstanceID']}" in named.stderr
    assert run("pyanamo.py", *words, "--force").returncode == 0
    assert table.states()["locked"] == 0


def test_items_that_workers_hold_and_nobody_named_do_not_count_as_left(
    run: Run, small: Any
) -> None:
    table = small(held("One"), held("Two"))
    ended = run("pyanamo.py", "requeue", "-t", table.name, "--state", "locked", "--yes")
    assert ended.returncode == 0
    assert "2 items were left because workers hold them (--force takes them)" in ended.stderr
    assert table.states() == {"locked": 2}


def test_remove_deletes_what_was_asked_for(run: Run, typing: Run, small: Any) -> None:
    items = [workflow.item(f"T{k}", "done") for k in range(5)]
    table = small(*items, half_failed())
    words = ["remove", "-t", table.name, "--state", "done"]
    assert run("pyanamo.py", *words, "T1", str(items[2]["itemID"]), "--yes").returncode == 0
    assert {item["taskID"] for item in table.items()} == {"T0", "T3", "T4", "Half"}
    ended = typing(*words, typed="yes\n")
    assert "Their logs in S3 stay." in ended.stdout
    assert table.states() == {"failed": 1}


# Races


def test_a_worker_that_is_robbed_finds_its_claim_lost(
    run: Run, start: Run, fleet: Fleet, table: Table, bucket: str
) -> None:
    fleet.add(["sleep 600"], task_ids=["One"])
    worker = start("pyanamo.py", "-t", table.name, "-b", bucket)
    eventually(lambda: table.states()["locked"])
    words = ["--state", "locked", "One", "--yes"]
    assert run("pyanamo.py", "requeue", "-t", table.name, *words).returncode == 1
    assert run("pyanamo.py", "remove", "-t", table.name, *words, "--force").returncode == 0
    worker.signal(15)
    assert worker.wait().returncode == 143
    assert table.items() == []


def recording(table: Table, item: dict[str, Any], done: list[int]) -> Any:
    """Have the item's holder record a nested task as done just before it is requeued."""

    def behaviour(request: Any, forward: Any) -> Reply:
        if not done:
            done.append(1)
            table.client.update_item(
                TableName=table.name,
                Key={"itemID": {"N": str(item["itemID"])}},
                ConditionExpression="ItemState = :locked AND lockID = :mine",
                UpdateExpression="SET TaskScript.Task_0.#S = :done, Ended_Tasks = :one",
                ExpressionAttributeNames={"#S": "Status"},
                ExpressionAttributeValues={
                    ":locked": {"S": "locked"},
                    ":mine": {"S": item["lockID"]},
                    ":done": {"S": "done"},
                    ":one": {"N": "1"},
                },
            )
        reply: Reply = forward(request)
        return reply

    return on("UpdateItem", behaviour)


def unguarded(*statements: str) -> list[str]:
    """Return a command that runs pyanamo.py after statements that disable guards."""
    script = str(ROOT / "pyanamo.py")
    begin = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = {script!r}"
    taken = ["from anamo.core import transitions as t", "from dataclasses import replace"]
    run = 'runpy.run_path(sys.argv[0], run_name="__main__")'
    return ["-c", "\n".join([begin, *taken, *statements, run])]


def always(name: str, clause: str) -> str:
    """Return a statement that makes a clause of a transition's condition always true."""
    wide = f"({clause} OR attribute_exists(itemID))"
    change = f"t.{name}.condition.replace({clause!r}, {wide!r})"
    return (
        f"assert {clause!r} in t.{name}.condition; t.{name} = replace(t.{name}, condition={change})"
    )


SCRIPT = [str(ROOT / "pyanamo.py")]


@pytest.mark.parametrize("guarded", [True, False])
def test_what_a_holder_records_meanwhile_is_kept(
    run: Run,
    small: Any,
    dynamodb: str,
    make_proxy: Callable[[str], Proxy],
    guarded: bool,
) -> None:
    item = held("One", 3)
    table = small(item)
    proxy = make_proxy(dynamodb)
    proxy.behaviour = recording(table, item, [])
    words = ["requeue", "-t", table.name, "--state", "locked", "--force", "--yes"]
    command = SCRIPT if guarded else unguarded(always("REQUEUE_LOCKED", "Ended_Tasks = :ended"))
    ended = run("python", *command, *words, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert ended.returncode == 0, ended.stderr
    (found,) = table.items()
    assert found["ItemState"] == "todo"
    assert statuses(found) == ["done", "todo", "todo"]
    # Without the guard the count is the old one, which shows that this test would notice
    assert found.get("Ended_Tasks", 0) == (1 if guarded else 0)


def test_an_item_that_changed_since_it_was_seen_is_left_alone(
    run: Run,
    small: Any,
    dynamodb: str,
    make_proxy: Callable[[str], Proxy],
    dynamodb_client: DynamoDBClient,
) -> None:
    item = workflow.item("One", "failed")
    table = small(item)
    proxy = make_proxy(dynamodb)

    def claiming(request: Any, forward: Any) -> Reply:
        workflow.put_all(dynamodb_client, table, [held("One", lockID="another")])
        reply: Reply = forward(request)
        return reply

    for command, operation in (("requeue", "UpdateItem"), ("remove", "DeleteItem")):
        workflow.put_all(dynamodb_client, table, [item])
        proxy.behaviour = on(operation, claiming)
        ended = run(
            "pyanamo.py", command, "-t", table.name, "--state", "failed", "--yes",
            env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url},
        )  # fmt: skip
        assert ended.returncode == 1
        assert "changed meanwhile and is locked; left as it is" in ended.stderr
        assert table.item(item["itemID"])["lockID"] == "another"
    workflow.put_all(dynamodb_client, table, [item])
    clauses = ["ItemState = :seen", "lockID = :lock"]
    bare = unguarded(*(always("REMOVE", clause) for clause in clauses))
    words = ["remove", "-t", table.name, "--state", "failed", "--yes"]
    run("python", *bare, *words, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert table.states()["locked"] == 1, "a lease guards it all the same"
    bare = unguarded(*(always("REMOVE", clause) for clause in (*clauses, "Lease_Expires < :epoch")))
    workflow.put_all(dynamodb_client, table, [item])
    run("python", *bare, *words, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert table.items() == [], "the test would not notice"


def test_a_lease_that_is_renewed_meanwhile_holds(
    run: Run,
    small: Any,
    dynamodb: str,
    make_proxy: Callable[[str], Proxy],
    dynamodb_client: DynamoDBClient,
) -> None:
    table = small(held("One", seconds=-60))
    proxy = make_proxy(dynamodb)

    def renewing(request: Any, forward: Any) -> Reply:
        workflow.put_all(dynamodb_client, table, [held("One")])
        reply: Reply = forward(request)
        return reply

    proxy.behaviour = on("UpdateItem", renewing)
    ended = run(
        "pyanamo.py", "requeue", "-t", table.name, "--state", "locked", "--yes",
        env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url},
    )  # fmt: skip
    assert ended.returncode == 1
    assert "whose lease has not ended" in ended.stderr
    assert table.states() == {"locked": 1}
    workflow.put_all(dynamodb_client, table, [held("One", seconds=-60)])
    bare = unguarded(always("REQUEUE", "Lease_Expires < :epoch"))
    words = ["requeue", "-t", table.name, "--state", "locked", "--yes"]
    run("python", *bare, *words, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert table.states() == {"todo": 1}, "the test would not notice"


@pytest.mark.parametrize(
    ("command", "operation"), [("requeue", "UpdateItem"), ("remove", "DeleteItem")]
)
def test_a_lost_reply_is_no_lost_race(
    run: Run,
    small: Any,
    dynamodb: str,
    make_proxy: Callable[[str], Proxy],
    command: str,
    operation: str,
) -> None:
    table = small(*(workflow.item(f"T{k}", "failed") for k in range(5)))
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on(operation, dropping_reply, 4)
    ended = run(
        "pyanamo.py", command, "-t", table.name, "--state", "failed", "--yes",
        env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "5 items" in ended.stdout
    assert table.states()["failed"] == 0


def test_a_lost_reply_would_be_taken_for_a_lost_race(
    run: Run, small: Any, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    table = small(workflow.item("One", "failed"))
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on("UpdateItem", dropping_reply, 1)
    bare = unguarded(
        "from anamo.aws import table_writes",
        "table_writes.already_applied = lambda *arguments: False",
    )
    words = ["requeue", "-t", table.name, "--state", "failed", "--yes"]
    ended = run("python", *bare, *words, env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})
    assert ended.returncode == 1
    assert table.states() == {"todo": 1}


def test_counts_afterwards_are_right(run: Run, small: Any) -> None:
    table = small(half_failed())
    run("pyanamo.py", "requeue", "-t", table.name, "--state", "failed", "--yes")
    found = json.loads(run("pyanamo.py", "status", "-t", table.name, "--output", "json").stdout)
    assert found[0]["tasks"] == {"todo": 1, "done": 2, "failed": 0, "total": 3}


# Nested tasks that another tool marks, and more of them than fit in a write


def many_failed(task_id: str, nested: int = 450) -> dict[str, Any]:
    """Return a failed item whose nested tasks all failed, each with what another tool keeps."""
    made = workflow.item(task_id, "failed", nested)
    for task in made["TaskScript"].values():
        task["Owner"] = "another tool"
    return made


def owners(item: dict[str, Any]) -> set[str]:
    return {task.get("Owner", "lost") for task in item["TaskScript"].values()}


def test_what_another_tool_keeps_in_nested_tasks_stays(run: Run, small: Any) -> None:
    table = small(many_failed("Few", 3), many_failed("Many"))
    ended = run("pyanamo.py", "requeue", "-t", table.name, "--state", "failed", "--yes")
    assert ended.returncode == 0, ended.stderr
    for item in table.items():
        assert (item["ItemState"], set(statuses(item))) == ("todo", {"todo"})
        assert owners(item) == {"another tool"}


@pytest.mark.parametrize("state", ["failed", "locked"])
def test_a_requeue_that_is_cut_off_half_way_is_completed_by_another(
    run: Run, small: Any, dynamodb: str, make_proxy: Callable[[str], Proxy], state: str
) -> None:
    lease = {"Lease_Expires": int(time.time() + 3600)} if state == "locked" else {}
    table = small(many_failed("Many") | {"ItemState": state, "lockID": "theirs", **lease})
    proxy, sent = make_proxy(dynamodb), []

    def cutting_off(request: Any, forward: Any) -> Reply | None:
        sent.append(request)
        passes = len(sent) < 2
        return forward(request) if passes else failing("AccessDeniedException")(request, forward)

    proxy.behaviour = on("UpdateItem", cutting_off)
    words = ["requeue", "-t", table.name, "--yes"]
    cut = run(
        "pyanamo.py", *words, "--state", state, "--force",
        env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url},
    )  # fmt: skip
    assert cut.returncode == 3
    (item,) = table.items()
    assert item["ItemState"] == "failed", "no worker may run it"
    assert (item["lockID"] == "theirs") is (state == "failed"), "its holder has lost it"
    assert set(statuses(item)) == {"todo", "failed"}
    assert run("pyanamo.py", *words, "--state", "failed").returncode == 0
    (item,) = table.items()
    assert (item["ItemState"], set(statuses(item))) == ("todo", {"todo"})
    assert owners(item) == {"another tool"}


def test_a_requeue_in_parts_of_what_another_tool_leases_ends(run: Run, small: Any) -> None:
    """Its condition fails each time, although the item is failed and has the same lockID."""
    table = small(many_failed("Many") | {"lockID": "theirs", "Lease_Expires": 9_000_000_000})
    ended = run("pyanamo.py", "requeue", "-t", table.name, "--state", "failed", "--yes")
    assert ended.returncode == 1, ended.stderr
    (item,) = table.items()
    assert (item["ItemState"], set(statuses(item))) == ("failed", {"failed"})


def test_a_requeue_in_parts_survives_lost_replies(
    run: Run, small: Any, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    table = small(many_failed("Many") | {"ItemState": "locked", "Lease_Expires": 1})
    proxy = make_proxy(dynamodb)
    proxy.behaviour = on("UpdateItem", dropping_reply, 4)
    ended = run(
        "pyanamo.py", "requeue", "-t", table.name, "--state", "locked", "--yes",
        env={"AWS_ENDPOINT_URL_DYNAMODB": proxy.url},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (item,) = table.items()
    assert (item["ItemState"], set(statuses(item))) == ("todo", {"todo"})


@pytest.mark.parametrize("word", ["failed", "all"])
def test_remove_does_not_take_the_words_of_requeue_for_whole_items(
    run: Run, small: Any, word: str
) -> None:
    table = small(half_failed())
    ended = run("pyanamo.py", "remove", "-t", table.name, "Half", "--nested", word, "--yes")
    assert ended.returncode == 2
    assert "to remove whole items, leave --nested out" in ended.stderr
    assert table.states() == {"failed": 1}


def test_after_ctrl_c_a_removal_says_how_many_items_are_gone(
    scripts: Scripts, small: Any, dynamodb: str, make_proxy: Callable[[str], Proxy]
) -> None:
    table = small(*(workflow.item(f"S{number:02}", "failed") for number in range(40)))
    proxy = make_proxy(dynamodb)
    go_on = threading.Event()

    def holding(request: Request, forward: Forward) -> Reply:
        # The first of all waits longest, and others end before it
        if proxy.operations["DeleteItem"] in (1, *range(10, 41)):
            go_on.wait(60)
        return forward(request)

    proxy.behaviour = on("DeleteItem", holding)
    words = ["remove", "-t", table.name, "--state", "failed", "--yes"]
    env = {"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}
    running = scripts.start("python", str(ROOT / "pyanamo.py"), *words, env=env)
    eventually(lambda: proxy.operations["DeleteItem"] > WRITE_THREADS + 2)
    eventually(lambda: len(table.items()) < 40)
    running.signal(signal.SIGINT)
    go_on.set()
    ended = running.wait()
    assert ended.returncode == 130
    gone = 40 - len(table.items())
    assert gone
    assert f"stopped after {gone} items; run the same command again" in ended.stderr
