"""Imports at once, under throttling, cut off, killed."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from anamo.aws.pages import ItemStates
from anamo.aws.session import dynamodb_client as our_client
from anamo.aws.table import WorkflowTable
from anamo.core import transitions
from anamo.core.codec import ItemId
from anamo.core.errors import AccessDenied, AwsError, CredentialsExpired, Unreachable
from anamo.core.item import Item, nested_item
from anamo.importer.importer import Importer as OurImporter
from anamo.importer.importer import ImportTotals
from anamo.importer.threads import INTERRUPTED, THREADS
from tests.support.environment import REGION
from tests.support.proxy import (
    Behaviour,
    Forward,
    Proxy,
    Reply,
    Request,
    cutting,
    dropping_reply,
    failing,
    on,
)
from tests.support.table import Table
from tests.support.task_files import Importer, counts, lines, said, through
from tests.support.waiting import eventually

PUT = "TransactWriteItems"


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], dynamodb: str) -> Proxy:
    return make_proxy(dynamodb)


def items(count: int) -> list[Item]:
    return [nested_item(f"Task-{k}", [f"seq {k}", "seq 2"]) for k in range(count)]


def task_ids(table: Table) -> set[str]:
    found = [item["taskID"] for item in table.items()]
    assert len(found) == len(set(found))
    return set(found)


# Two at once


@pytest.mark.parametrize("round_", range(4))
def test_of_two_imports_at_once_each_item_is_new_to_one(
    import_file: Importer,
    table: Table,
    make_proxy: Callable[[str], Proxy],
    dynamodb: str,
    round_: int,
) -> None:
    """They begin to write in the same moment, from the same end or from opposite ones."""
    together = threading.Barrier(2)
    content = [lines(table.name, range(600)), lines(table.name, range(200, 700))]
    if round_ % 2:
        content[1] = "".join(reversed(content[1].splitlines(keepends=True)))

    def meeting() -> Behaviour:
        met = threading.Event()

        def behaviour(request: Request, forward: Forward) -> Reply:
            if request.operation == PUT and not met.is_set():
                met.set()
                together.wait(30)
            return forward(request)

        return behaviour

    imports = []
    for each in content:
        proxy = make_proxy(dynamodb)
        proxy.behaviour = meeting()
        imports.append(import_file.start(table.name, each, env=through(proxy.url)))
    (one, there_for_one), (two, there_for_two) = (counts(each.wait()) for each in imports)
    assert one + two == 700
    assert (one + there_for_one, two + there_for_two) == (600, 500)
    assert task_ids(table) == {f"Task-{k}" for k in range(700)}


class Meeting(WorkflowTable):
    """The table of an importer that does not write before the other one has looked."""

    def __init__(self, table: Table, together: threading.Barrier) -> None:
        super().__init__(table.client, table.name)
        self._together = together

    def states(self, item_ids: Sequence[ItemId]) -> ItemStates:
        answer = super().states(item_ids)
        self._together.wait(30)
        return answer


def both_import(table: Table, what: Sequence[Item]) -> list[ImportTotals]:
    together = threading.Barrier(2)
    tallies: list[ImportTotals] = []

    def importing() -> None:
        tallies.append(OurImporter(Meeting(table, together)).run(what))

    threads = [threading.Thread(target=importing) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return tallies


@pytest.mark.parametrize("_round", range(5))
def test_of_two_imports_that_both_saw_nothing_each_item_is_new_to_one(
    table: Table, _round: int
) -> None:
    tallies = both_import(table, items(100))
    assert sum(tally.new for tally in tallies) == 100
    assert sum(tally.existing.total() for tally in tallies) == 100


def test_that_test_fails_without_the_condition(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = replace(transitions.IMPORT, condition="attribute_not_exists(nothing)")
    monkeypatch.setattr(transitions, "IMPORT", careless)
    assert sum(tally.new for tally in both_import(table, items(100))) == 200


# Throttling


def throttled(request: Request, code: str) -> Reply:
    """What DynamoDB answers, in either of its two ways."""
    kind = "com.amazonaws.dynamodb.v20120810#"
    if code != "TransactionCanceledException":
        return Reply.of({"__type": kind + code, "message": "too fast"}, 400)
    puts = len(request.json["TransactItems"])
    reasons = [{"Code": "ThrottlingError", "Message": "too fast"}, *[{"Code": "None"}] * (puts - 1)]
    return Reply.of(
        {"__type": kind + code, "Message": "cancelled", "CancellationReasons": reasons}, 400
    )


def throttling_more_than(limit: int, code: str) -> Behaviour:
    def behaviour(request: Request, forward: Forward) -> Reply:
        if request.operation == PUT and len(request.json["TransactItems"]) > limit:
            return throttled(request, code)
        return forward(request)

    return behaviour


CODES = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "TransactionCanceledException",
]


def test_an_import_into_a_throttled_table_slows_down_and_succeeds(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    proxy.behaviour = throttling_more_than(60, CODES[2])
    ended = import_file(table.name, lines(table.name, range(300)), env=through(proxy.url))
    assert counts(ended) == (300, 0)
    assert said(ended)[0] == f"table {table.name} throttles; slowing down"
    assert len(task_ids(table)) == 300


@pytest.fixture
def client(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of ours that reaches the table through the proxy and does not try again itself."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", proxy.url)
    made = our_client(REGION, attempts=1)
    yield made
    made.close()


class Waits:
    """How long an importer would have slept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.mark.parametrize("code", CODES)
def test_a_request_larger_than_the_table_ever_takes_is_made_smaller(
    client: Any, table: Table, proxy: Proxy, code: str
) -> None:
    proxy.behaviour = throttling_more_than(3, code)
    waits = Waits()
    tally = OurImporter(WorkflowTable(client, table.name), sleep=waits).run(items(40))
    assert (tally.new, tally.existing.total()) == (40, 0)
    assert len(task_ids(table)) == 40
    assert waits.seconds[:2] == sorted(waits.seconds[:2])


@pytest.mark.parametrize("code", CODES)
def test_four_of_five_requests_throttled_at_random_do_not_fail_an_import(
    client: Any, table: Table, proxy: Proxy, code: str
) -> None:
    draw = random.Random(code)

    def behaviour(request: Request, forward: Forward) -> Reply:
        if draw.random() < 0.8:
            code_here = code if request.operation == PUT else CODES[0]
            return throttled(request, code_here)
        return forward(request)

    proxy.behaviour = behaviour
    waits = Waits()
    tally = OurImporter(WorkflowTable(client, table.name), sleep=waits).run(items(250))
    assert (tally.new, tally.existing.total()) == (250, 0)
    assert len(task_ids(table)) == 250
    assert waits.seconds


@pytest.mark.parametrize(
    ("code", "status"), [("ThrottlingException", 400), ("InternalServerError", 500)]
)
def test_a_question_about_the_table_that_is_throttled_is_asked_again(
    import_file: Importer, table: Table, proxy: Proxy, code: str, status: int
) -> None:
    proxy.behaviour = on("DescribeTable", failing(code, status), first=3)
    ended = import_file(table.name, lines(table.name, range(3)), env=through(proxy.url))
    assert counts(ended) == (3, 0)
    (line,) = said(ended)
    assert line.startswith(f"table {table.name}: DescribeTable: as the test wants it")
    assert line.endswith("; trying again")


def test_an_import_that_fails_waits_for_none_of_its_throttled_requests(
    client: Any, table: Table, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anamo.importer.importer.FIRST", 300.0)
    monkeypatch.setattr("anamo.importer.importer.LONGEST", 600.0)
    all_but_one_throttled = threading.Event()
    first = threading.Lock()

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        if first.acquire(blocking=False):
            assert all_but_one_throttled.wait(30)
            return failing("AccessDeniedException")(request, forward)
        all_but_one_throttled.set()
        return throttled(request, CODES[0])

    proxy.behaviour = behaviour
    ended: list[Exception] = []

    def run() -> None:
        try:
            OurImporter(WorkflowTable(client, table.name)).run(items(250))
        except AccessDenied as denied:
            ended.append(denied)

    importing = threading.Thread(target=run, daemon=True)
    importing.start()
    importing.join(30)
    assert ended


def test_reads_answered_in_part_are_asked_for_again(
    client: Any, table: Table, proxy: Proxy
) -> None:
    OurImporter(WorkflowTable(client, table.name)).run(items(30))

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        keys = request.json["RequestItems"][table.name]["Keys"]
        if len(keys) <= 4:
            return forward(request)
        found = table.client.batch_get_item(
            RequestItems={
                table.name: {"Keys": keys[:3], "ProjectionExpression": "itemID, ItemState"}
            }
        )["Responses"]
        left = {table.name: {"Keys": keys[3:], "ProjectionExpression": "itemID, ItemState"}}
        return Reply.of({"Responses": found, "UnprocessedKeys": left})

    proxy.behaviour = on("BatchGetItem", behaviour)
    tally = OurImporter(WorkflowTable(client, table.name), sleep=Waits()).run(items(40))
    assert (tally.new, tally.existing) == (10, {"todo": 30})


def test_reading_part_of_what_is_not_there_is_no_throttling(
    client: Any, table: Table, proxy: Proxy
) -> None:
    """DynamoDB answers with no item and some keys, and has read the others."""

    def behaviour(request: Request, forward: Forward) -> Reply | None:
        keys = request.json["RequestItems"][table.name]["Keys"]
        if len(keys) == 1:
            return forward(request)
        left = {table.name: {"Keys": keys[1:], "ProjectionExpression": "itemID, ItemState"}}
        return Reply.of({"Responses": {table.name: []}, "UnprocessedKeys": left})

    proxy.behaviour = on("BatchGetItem", behaviour)
    waits = Waits()
    tally = OurImporter(WorkflowTable(client, table.name), sleep=waits).run(items(10))
    assert (tally.new, tally.existing, waits.seconds) == (10, {}, [])
    assert proxy.operations["BatchGetItem"] == 10


# The network


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_items_whose_reply_was_lost_count_as_new(
    import_file: Importer, table: Table, proxy: Proxy, lost: int
) -> None:
    """The third time it is not the SDK that sends them again, but the importer."""
    proxy.behaviour = on(PUT, dropping_reply, first=lost)
    ended = import_file(table.name, lines(table.name, range(50)), env=through(proxy.url))
    assert counts(ended) == (50, 0)
    assert proxy.operations[PUT] == lost + 1


def test_an_endpoint_that_goes_away_for_a_while_is_waited_for(
    client: Any, table: Table, proxy: Proxy
) -> None:
    proxy.behaviour = on(PUT, cutting, first=6)
    tally = OurImporter(WorkflowTable(client, table.name), sleep=Waits()).run(items(250))
    assert (tally.new, tally.existing.total()) == (250, 0)


def test_one_that_stays_away_ends_the_import(
    client: Any, table: Table, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anamo.importer.importer.RETRY_SECONDS", 0.0)
    proxy.behaviour = on(PUT, cutting)
    with pytest.raises(Unreachable):
        OurImporter(WorkflowTable(client, table.name), sleep=Waits()).run(items(250))


@pytest.mark.parametrize(
    ("code", "error"),
    [("AccessDeniedException", AccessDenied), ("ExpiredTokenException", CredentialsExpired)],
)
def test_a_refusal_ends_all_threads_at_once(
    client: Any, table: Table, proxy: Proxy, code: str, error: type[AwsError]
) -> None:
    proxy.behaviour = on(PUT, failing(code))
    with pytest.raises(error):
        OurImporter(WorkflowTable(client, table.name), sleep=Waits()).run(items(3000))
    assert proxy.operations[PUT] <= THREADS
    assert table.items() == []


def test_the_fault_that_ends_an_import_is_the_one_that_is_raised(
    client: Any, table: Table, proxy: Proxy
) -> None:
    """The other threads, which wait to try again, are ended by it and fail with their own."""

    def refuse_one(request: Request, forward: Forward) -> Reply | None:
        if request.operation != PUT:
            return forward(request)
        refused = proxy.operations[PUT] == THREADS
        return (failing("AccessDeniedException") if refused else cutting)(request, forward)

    proxy.behaviour = refuse_one
    with pytest.raises(AccessDenied):
        OurImporter(WorkflowTable(client, table.name)).run(items(250))


# Killed


def test_an_import_killed_half_way_is_finished_by_running_it_again(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    content = lines(table.name, range(1000))
    with ExitStack() as stack:
        go_on = threading.Event()
        stack.callback(go_on.set)

        def behaviour(request: Request, forward: Forward) -> Reply | None:
            """Execute, but only later and without a reply, what was sent last before the kill."""
            if request.operation != PUT or proxy.operations[PUT] <= 4:
                return forward(request)
            go_on.wait(30)
            return dropping_reply(request, forward)

        proxy.behaviour = behaviour
        running = import_file.start(table.name, content, env=through(proxy.url))
        eventually(lambda: proxy.operations[PUT] >= 8)
        running.process.kill()
        assert running.wait().returncode == -9
        assert len(table.items()) == 400
    eventually(lambda: len(table.items()) == 800)
    assert counts(import_file(table.name, content)) == (200, 800)
    assert task_ids(table) == {f"Task-{k}" for k in range(1000)}
    assert table.states() == {"todo": 1000}


def held_up(proxy: Proxy) -> threading.Event:
    """Keep writes waiting until the event is set, but for as many as there are threads: once those
    have passed, all threads have been started, which Ctrl-C must not interrupt.
    """
    go_on = threading.Event()
    begun = itertools.count()

    def holding(request: Request, forward: Forward) -> Reply:
        if next(begun) >= THREADS:
            go_on.wait(30)
        return forward(request)

    proxy.behaviour = on(PUT, holding)
    return go_on


def test_an_interrupted_import_says_so(import_file: Importer, table: Table, proxy: Proxy) -> None:
    go_on = held_up(proxy)
    running = import_file.start(table.name, lines(table.name, range(1000)), env=through(proxy.url))
    eventually(lambda: proxy.operations[PUT] >= 2 * THREADS)
    running.signal(2)
    eventually(lambda: running.stderr)
    go_on.set()
    ended = running.wait()
    assert ended.returncode == 130
    what, end = said(ended)
    assert what == INTERRUPTED
    assert end == "interrupted"


def test_a_second_interrupt_kills_an_import(
    import_file: Importer, table: Table, proxy: Proxy
) -> None:
    go_on = held_up(proxy)
    running = import_file.start(table.name, lines(table.name, range(1000)), env=through(proxy.url))
    eventually(lambda: proxy.operations[PUT] >= 2 * THREADS)
    running.signal(2)
    eventually(lambda: INTERRUPTED in running.stderr)
    running.signal(2)
    assert running.wait().returncode == -2
    go_on.set()
