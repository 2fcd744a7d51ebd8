"""A corrected line is a new item: what becomes of the one of the old line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Event
from time import monotonic

import pytest

from anamo.core.codec import encode
from anamo.core.item import State
from anamo.importer.threads import INTERRUPTED
from tests.support.both_kinds import both_kinds
from tests.support.proxy import (
    Behaviour,
    Forward,
    Proxy,
    Reply,
    Request,
    dropping_reply,
    failing,
    on,
)
from tests.support.scripts import Scripts
from tests.support.table import Table
from tests.support.task_files import PROGRAM, Importer, counts, said, through
from tests.support.waiting import eventually


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], dynamodb: str) -> Proxy:
    return make_proxy(dynamodb)


def line(table: Table, task_id: str, argument: str) -> str:
    return f"{task_id}|{table.name}|echo|{argument}\n"


def commands(table: Table) -> Counter[tuple[str, str]]:
    return Counter(
        (item["taskID"], item["TaskScript"]["Task_0"]["Script"]) for item in table.items()
    )


def make(table: Table, item: dict[str, object], state: str, lease: int | None = None) -> None:
    """Put an item into a state, as if a worker had."""
    changed = {**item, "ItemState": state, "lockID": "abc", "InstanceID": "i-1"}
    if lease is not None:
        changed["Lease_Expires"] = lease
    table.client.put_item(TableName=table.name, Item=encode(changed))


FAR = 9_999_999_999


def test_the_importer_says_that_the_old_command_is_there(
    import_file: Importer, table: Table
) -> None:
    old = "".join(line(table, f"Sample{k}", "wrong") for k in range(1, 6))
    assert import_file(table.name, old).stderr == ""
    new = "".join(line(table, f"Sample{k}", "right") for k in range(1, 6))
    ended = import_file(table.name, new)
    assert counts(ended) == (5, 0)
    first, *_, last = said(ended)
    assert first.startswith(f"table {table.name}: Sample1 exists with a different command, item ")
    assert first.endswith(" (todo)")
    assert last == (
        "… and 2 more items; the old items remain beside the new; "
        "the same import with --replace removes them"
    )
    assert len(said(ended)) == 4
    assert commands(table).total() == 10
    assert import_file(table.name, new).stderr == "", "nothing is new"


def test_lines_that_share_a_task_id_are_no_corrections(import_file: Importer, table: Table) -> None:
    content = line(table, "Sample1", "a") + line(table, "Sample1", "b")
    assert import_file(table.name, content).stderr == ""
    ended = import_file(table.name, content + line(table, "Sample2", "c"))
    assert (ended.stderr, counts(ended)) == ("", (1, 2))


@pytest.mark.parametrize("state", [str(state) for state in State])
def test_replace_takes_the_old_item_away(import_file: Importer, table: Table, state: str) -> None:
    import_file.fill(table, line(table, "Sample1", "wrong") + line(table, "Sample2", "good"))
    (old,) = [item for item in table.items() if item["taskID"] == "Sample1"]
    make(table, old, state, lease=1 if state == "locked" else None)
    content = line(table, "Sample1", "right") + line(table, "Sample2", "good")
    ended = import_file(table.name, content, "--replace")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        f"{table.name}: 1 new item, 1 already there (1 todo), 1 old item removed\n"
    )
    assert commands(table) == Counter({("Sample1", "echo right"): 1, ("Sample2", "echo good"): 1})
    (new,) = [item for item in table.items() if item["taskID"] == "Sample1"]
    # What is held stays held; and no late write knows the lockID
    assert new["ItemState"] == ("held" if state == "held" else "todo")
    assert len(new["lockID"]) == 32


def reply_lost_after_a_second(request: Request, forward: Forward) -> Reply | None:
    """The request is executed, and the connection closes when clocks show another second."""
    sent = monotonic()
    dropping_reply(request, forward)
    eventually(lambda: monotonic() > sent + 1)
    return None


def test_a_replacement_whose_reply_is_lost_is_sent_again_as_it_was(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    import_file.fill(table, line(table, "Sample1", "wrong"))
    # boto3 itself sends a request twice
    proxy.behaviour = on("TransactWriteItems", reply_lost_after_a_second, first=2)
    right = line(table, "Sample1", "right")
    ended = import_file(table.name, right, "--replace", env=through(proxy.url))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{table.name}: 1 new item, 0 already there, 1 old item removed\n"
    assert proxy.operations["TransactWriteItems"] == 3
    assert list(commands(table)) == [("Sample1", "echo right")]


@both_kinds
def test_replace_works_after_an_import_without_it(import_file: Importer, table: Table) -> None:
    import_file.fill(table, line(table, "Sample1", "wrong"))
    right = line(table, "Sample1", "right")
    import_file.fill(table, right)
    ended = import_file(table.name, right, "--replace")
    assert ended.stdout == (
        f"{table.name}: 0 new items, 1 already there (1 todo), 1 old item removed\n"
    )
    assert list(commands(table)) == [("Sample1", "echo right")]
    assert import_file(table.name, right, "--replace").stdout == (
        f"{table.name}: 0 new items, 1 already there (1 todo)\n"
    )


@both_kinds
def test_what_a_worker_holds_is_not_replaced(import_file: Importer, table: Table) -> None:
    import_file.fill(table, line(table, "Sample1", "wrong"))
    (old,) = table.items()
    make(table, old, "locked", lease=FAR)
    content = line(table, "Sample1", "right") + line(table, "Sample2", "good")
    ended = import_file(table.name, content, "--replace")
    (message,) = said(ended)
    held = f"table {table.name}: Sample1: item {old['itemID']} is locked by i-1 (try again later); "
    assert message.startswith(held)
    assert message.endswith("the old item was kept and the new command was not imported")
    assert ended.returncode == 1
    assert ended.stdout == f"{table.name}: 1 new item, 0 already there\n"
    assert commands(table) == Counter({("Sample1", "echo wrong"): 1, ("Sample2", "echo good"): 1})


def test_more_than_a_transaction_takes_is_not_replaced(import_file: Importer, table: Table) -> None:
    """An import goes on after a task id whose new items have more than 4 MB."""
    import_file.fill(table, line(table, "Sample1", "wrong") + line(table, "Sample2", "wrong"))
    long = ",".join(3 * [120_000 * "x"])
    large = "".join(line(table, "Sample1", f"{number},{long}") for number in range(12))
    content = large + line(table, "Sample2", "right")
    ended = import_file(table.name, content, "--replace")
    (message,) = said(ended)
    assert message == (
        f"table {table.name}: Sample1: the task id has more than 4 MB of new items: remove the "
        "old ones first; the old item was kept and the new command was not imported"
    )
    assert ended.returncode == 1
    assert ended.stdout == f"{table.name}: 1 new item, 0 already there, 1 old item removed\n"
    assert commands(table) == Counter({("Sample1", "echo wrong"): 1, ("Sample2", "echo right"): 1})
    (old,) = [item for item in table.items() if item["taskID"] == "Sample1"]
    table.client.delete_item(TableName=table.name, Key=encode({"itemID": old["itemID"]}))
    ended = import_file(table.name, content, "--replace")
    assert ended.stdout == f"{table.name}: 12 new items, 1 already there (1 todo)\n"


def test_items_of_a_task_id_that_is_left_count_as_there_already(
    import_file: Importer, table: Table
) -> None:
    good = line(table, "Sample1", "good") + line(table, "Sample2", "good")
    import_file.fill(table, line(table, "Sample1", "wrong") + good)
    (old,) = [item for item in table.items() if "wrong" in str(item)]
    make(table, old, "locked", lease=FAR)
    ended = import_file(table.name, good + line(table, "Sample1", "right"), "--replace")
    assert ended.returncode == 1
    assert ended.stdout == f"{table.name}: 0 new items, 2 already there (2 todo)\n"


def of_task_index(behaviour: Behaviour) -> Behaviour:
    """The behaviour for queries of a task id's items only."""

    def behave(request: Request, forward: Forward) -> Reply | None:
        asked = request.operation == "Query" and request.json["IndexName"] == "TaskStateIndex"
        return (behaviour if asked else forwarding)(request, forward)

    return behave


def forwarding(request: Request, forward: Forward) -> Reply:
    return forward(request)


def test_an_interrupted_replacement_does_not_wait_for_a_throttled_table(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    """It would be asked for ten minutes."""
    import_file.fill(table, line(table, "Sample1", "wrong"))
    proxy.behaviour = of_task_index(failing("ProvisionedThroughputExceededException"))
    right = line(table, "Sample1", "right")
    running = import_file.start(table.name, right, "--replace", env=through(proxy.url))
    eventually(lambda: "throttl" in running.stderr.lower())
    running.signal(2)
    ended = running.wait()
    assert ended.returncode == 130
    assert said(ended)[1:] == [INTERRUPTED, "interrupted"]
    assert list(commands(table)) == [("Sample1", "echo wrong")]


def test_a_second_interrupt_kills_a_replacement(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    import_file.fill(table, line(table, "Sample1", "wrong"))
    asked, go_on = Event(), Event()

    def holding(request: Request, forward: Forward) -> Reply:
        asked.set()
        go_on.wait(60)
        return forward(request)

    proxy.behaviour = of_task_index(holding)
    right = line(table, "Sample1", "right")
    running = import_file.start(table.name, right, "--replace", env=through(proxy.url))
    assert asked.wait(60)
    # The main thread may still start the thread that has asked, and Ctrl-C would come in between
    eventually(lambda: "no response" in running.stderr)
    running.signal(2)
    eventually(lambda: INTERRUPTED in running.stderr)
    running.signal(2)
    assert running.wait().returncode == -2
    go_on.set()


def claimed_meanwhile(table: Table) -> Callable[[Request, Forward], Reply]:
    """A worker claims the old item between the importer's look and its write."""

    def claim(request: Request, forward: Forward) -> Reply:
        for item in table.items():
            make(table, item, "locked", lease=FAR)
        return forward(request)

    return claim


@pytest.mark.parametrize("guarded", [True, False])
def test_what_a_worker_claims_meanwhile_is_not_replaced(
    import_file: Importer, scripts: Scripts, table: Table, proxy: Proxy, guarded: bool
) -> None:
    script: tuple[str, ...] = (PROGRAM,)
    if not guarded:
        script = ("tests/support/sabotage.py", "removal_condition", PROGRAM)
    importer = (*script, "-t", table.name, "-d", "-", "-s", "|", "-n", ",")
    import_file.fill(table, line(table, "Sample1", "wrong"))
    proxy.behaviour = on("TransactWriteItems", claimed_meanwhile(table), first=1)
    right = line(table, "Sample1", "right")
    ended = scripts.run(*importer, "--replace", stdin=right, env=through(proxy.url))
    if guarded:
        assert ended.returncode == 1
        assert "Sample1: the old item has changed in the meantime (try again); " in ended.stderr
        assert list(commands(table)) == [("Sample1", "echo wrong")]
    else:
        assert ended.returncode == 0
        assert list(commands(table)) == [("Sample1", "echo right")]


def test_an_import_that_may_not_query_says_nothing_and_works(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    import_file.fill(table, line(table, "Sample1", "wrong"))
    proxy.behaviour = on("Query", failing("AccessDeniedException"))
    right = line(table, "Sample1", "right")
    ended = import_file(table.name, right, env=through(proxy.url))
    assert (counts(ended), ended.stderr) == ((1, 0), "")
    ended = import_file(table.name, right, "--replace", env=through(proxy.url))
    assert ended.returncode == 3
    assert commands(table).total() == 2


def test_an_empty_table_is_not_searched(import_file: Importer, table: Table, proxy: Proxy) -> None:
    content = "".join(line(table, f"Sample{k}", "a") for k in range(200))
    assert counts(import_file(table.name, content, env=through(proxy.url))) == (200, 0)
    assert proxy.operations["Query"] == len(State)
