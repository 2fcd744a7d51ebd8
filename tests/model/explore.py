"""Everything that can happen to one item, breadth first: each state once, the promises in each.

Workers claim, run, record, renew and give back; an operator requeues, removes and imports again;
time passes. A request is executed and answered at once, unless there is a fault, of which a history
has so many at most: the request is under way for as long as it likes; its reply is lost, and it is
sent again, or another one made; it is given up, and arrives whenever it likes; a copy of it does.

A worker that is frozen or dead is one whose turn does not come. Steps that concern nobody else are
not told apart: a task ends as its result is sent. A late request that would be refused is not taken
away by that, so that it can arrive at any later time.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from anamo.core.codec import decode
from anamo.core.item import NULL, Item
from anamo.worker.claim import Claim
from tests.model import promises
from tests.model.promises import BrokenError, demand
from tests.model.protocol import GONE, Protocol, Reply, Result, entries
from tests.support.table import undecimal

NO_TABLE: Any = None
"""Of claims of which only the tasks are asked."""


class Bounds(NamedTuple):
    """How far to explore.

    Attributes:
        workers: How many there are.
        tasks: How many nested tasks the item has.
        claims: How often each tries to claim or take over.
        faults: How often the network fails.
        failures: How many runs of tasks fail.
        commands: What the operator may do, each as often as it is listed.
        until: The time when time stops.
        renewals: How often each claim is renewed.
    """

    workers: int = 2
    tasks: int = 2
    claims: int = 1
    faults: int = 1
    failures: int = 0
    commands: tuple[str, ...] = ()
    until: int = 3
    renewals: int = 1


class Talk(NamedTuple):
    """A call under way: what was answered so far, and the request that waits for its reply."""

    call: int
    request: int
    replies: tuple[Reply, ...] = ()


class Worker(NamedTuple):
    """A worker.

    Attributes:
        name: A letter, with which its lockIDs begin.
        claims: How often it has tried.
        lock: The lockID of its claim.
        claimed: The number of the item's image when it won the claim; GONE if it has none.
        recorded: The results that it was told are recorded.
        talk: Its claim or write under way.
        results: What the write under way records.
        last: Whether that write ends the claim.
        held: The time until which it knows that it holds the item.
        renewal: Its renewal under way.
        renewed: When it renewed last.
        renewals: How often it has.
    """

    name: str
    claims: int = 0
    lock: str = ""
    claimed: int = GONE
    recorded: tuple[Result, ...] = ()
    talk: Talk | None = None
    results: tuple[Result, ...] = ()
    last: bool = False
    held: int = -1
    renewal: Talk | None = None
    renewed: int = -1
    renewals: int = 0


class World(NamedTuple):
    """All there is.

    Attributes:
        now: The time.
        image: The number of the item's image.
        workers: In the order of their names.
        operator: The command under way.
        commands: What the operator may still do.
        late: The requests that nobody waits for any more, sorted.
        faults: How many are left.
        failures: How many are left.
    """

    now: int
    image: int
    workers: tuple[Worker, ...]
    operator: Talk | None
    commands: tuple[str, ...]
    late: tuple[int, ...]
    faults: int
    failures: int


class Move(NamedTuple):
    """A step from one world to the next: who did what, about which request."""

    who: str
    what: str
    request: int = -1


Step = tuple[Move, World]


@dataclass(frozen=True)
class Exploration:
    """What was found.

    Attributes:
        states: How many were seen.
        depth: Steps to the farthest of them.
        complete: Whether all within the bounds were.
        broken: The promise that was, if any.
        history: How it came to that, a line for each step.
    """

    states: int
    depth: int
    complete: bool
    broken: str = ""
    history: tuple[str, ...] = ()


def explore(
    bounds: Bounds, most: int = sys.maxsize, protocol: Protocol | None = None
) -> Exploration:
    """Explore what is within bounds, up to so many states, or until a promise is broken."""
    return Explorer(bounds, protocol or Protocol(bounds.tasks)).run(most)


class Explorer:
    """Finds the worlds that can follow a world."""

    def __init__(self, bounds: Bounds, protocol: Protocol) -> None:
        self.bounds = bounds
        self.protocol = protocol
        self._plain: dict[int, Any] = {}
        self._seen: dict[World, tuple[World, Move] | None] = {}

    def run(self, most: int) -> Exploration:
        """Explore breadth first, so that the first history to be found is a shortest."""
        first = self.begin()
        self._seen[first] = None
        line, depth = deque([(first, 0)]), 0
        while line and len(self._seen) < most:
            world, depth = line.popleft()
            moves = self.moves(world)
            while True:
                try:
                    move, following = next(moves)
                    self._check(following)
                except StopIteration:
                    break
                except BrokenError as broken:
                    history = (*self._history(world), f"then: {broken}")
                    return Exploration(len(self._seen), depth + 1, False, str(broken), history)
                if following not in self._seen:
                    self._seen[following] = world, move
                    line.append((following, depth + 1))
        return Exploration(len(self._seen), depth, not line)

    def begin(self) -> World:
        """The item has just been imported."""
        request = self.protocol.go_on(self.protocol.call("import", 0, "import"), ()).request
        image = self.protocol.execute(request, GONE).image
        workers = tuple(Worker("ABC"[number]) for number in range(self.bounds.workers))
        bounds = self.bounds
        return World(0, image, workers, None, bounds.commands, (), bounds.faults, bounds.failures)

    def moves(self, world: World) -> Iterator[Step]:
        """What can happen next."""
        if world.now < self.bounds.until:
            yield Move("time", "passes"), world._replace(now=world.now + 1)
        for number, worker in enumerate(world.workers):
            yield from self._worker_moves(world, number, worker)
        yield from self._operator_moves(world)
        for position, request in enumerate(world.late):
            if position and world.late[position - 1] == request:
                continue
            reply = self._execute(world, request)
            if reply.applied:
                late = world.late[:position] + world.late[position + 1 :]
                move = Move("network", "arrives late", request)
                yield move, self._settled(world, reply, request)._replace(late=late)

    # Workers

    def _worker_moves(self, world: World, number: int, worker: Worker) -> Iterator[Step]:
        if worker.talk:
            yield from self._talk_moves(world, number, worker, worker.talk)
        elif worker.claimed != GONE:
            yield from self._holder_moves(world, number, worker)
        else:
            yield from self._asking_moves(world, number, worker)
        if worker.renewal:
            yield from self._renewal_moves(world, number, worker, worker.renewal)
        elif worker.claimed != GONE and not worker.last:
            yield from self._renewing_moves(world, number, worker)

    def _asking_moves(self, world: World, number: int, worker: Worker) -> Iterator[Step]:
        # Workers are alike: the next begins after the one before it
        first = worker.claims or not number or world.workers[number - 1].claims
        if worker.claims == self.bounds.claims or world.image == GONE or not first:
            return
        item = self.protocol.item(world.image)
        listed = Item(item.item_id, NULL, "", lock_id=item.lock_id)
        lock = f"{worker.name}{worker.claims + 1}"
        if item.state == "todo":
            call = self.protocol.call("claim", world.now, listed, lock)
        elif item.state == "locked" and (item.lease_expires or 0) < world.now:
            call = self.protocol.call("take over", world.now, listed, lock)
        else:
            return
        asking = Worker(worker.name, worker.claims + 1, lock, talk=self._begin(call))
        yield from self._sent(world, number, asking)

    def _holder_moves(self, world: World, number: int, worker: Worker) -> Iterator[Step]:
        """Tasks end, in their order, and their results are sent; or the worker is told to stop."""
        left = self._left(worker)
        for ended in range(1, len(left) + 1):
            results = tuple(Result(task, True) for task in left[:ended])
            yield from self._writing(world, number, worker, results, last=ended == len(left))
            if world.failures:
                failed = (*results[:-1], results[-1]._replace(succeeded=False))
                fewer = world._replace(failures=world.failures - 1)
                yield from self._writing(fewer, number, worker, failed, last=ended == len(left))
        yield from self._writing(world, number, worker, (), last=True)
        if len(left) > 1:
            yield from self._writing(world, number, worker, (Result(left[0], True),), last=True)

    def _left(self, worker: Worker) -> list[str]:
        claim = Claim(self.protocol.item(worker.claimed), 0, NO_TABLE)
        recorded = {result.task for result in worker.recorded}
        return [name for name, _ in claim.todo() if name not in recorded]

    def _writing(
        self, world: World, number: int, worker: Worker, results: tuple[Result, ...], *, last: bool
    ) -> Iterator[Step]:
        item = self.protocol.item(worker.claimed)
        call = self.protocol.call("write", world.now, item, worker.recorded, results, last)
        writing = worker._replace(talk=self._begin(call), results=results, last=last)
        # Its tasks have ended, or are stopped
        yield from self._sent(world, number, writing._replace(held=-1) if last else writing)

    def _sent(self, world: World, number: int, worker: Worker) -> Iterator[Step]:
        assert worker.talk
        sent = _with(world, number, worker)
        yield from self._slow(worker.name, sent, worker.talk)
        yield from self._talk_moves(sent, number, worker, worker.talk)

    def _talk_moves(self, world: World, number: int, worker: Worker, talk: Talk) -> Iterator[Step]:
        def with_reply(world: World, reply: Reply) -> World:
            replies = (*talk.replies, reply)
            answer = self.protocol.go_on(talk.call, replies)
            if answer.request >= 0:
                following = worker._replace(talk=Talk(talk.call, answer.request, replies))
                return _with(world, number, following)
            return self._told(world, number, worker, reply, answer.returned)

        def anew(world: World, talk: Talk) -> World:
            return _with(world, number, worker._replace(talk=talk))

        yield from self._fates(worker.name, world, talk, with_reply, anew)

    def _told(
        self, world: World, number: int, worker: Worker, reply: Reply, returned: object
    ) -> World:
        """A call of the worker has returned."""
        if worker.claimed == GONE:
            if returned is None:
                return _with(world, number, Worker(worker.name, worker.claims))
            item = self.protocol.item(reply.image)
            demand(item == returned, "another item was claimed")
            held = item.lease_expires or -1
            holding = worker._replace(talk=None, claimed=reply.image, held=held, renewed=world.now)
            return _with(world, number, holding)
        if returned:
            log = self._image(reply.image)["Log"] if reply.image != GONE else {}
            for task, entry in entries(worker.lock, worker.results).items():
                there = log.get(task, {}).get("stdout") == entry.stdout
                demand(there, "an outcome was said to be recorded, and is not")
        if worker.last or not returned:
            return self._over(world, number, worker)
        recorded = (*worker.recorded, *worker.results)
        return _with(world, number, worker._replace(recorded=recorded, talk=None, results=()))

    def _over(self, world: World, number: int, worker: Worker) -> World:
        """A claim has ended; its renewal, if one is under way, comes too late."""
        late = [*world.late, worker.renewal.request] if worker.renewal else world.late
        ended = _with(world, number, Worker(worker.name, worker.claims))
        return ended._replace(late=tuple(sorted(late)))

    # Renewals

    def _renewing_moves(self, world: World, number: int, worker: Worker) -> Iterator[Step]:
        if worker.renewals < self.bounds.renewals and world.now > worker.renewed:
            talk = self._begin(self.protocol.call("renew", world.now, worker.lock))
            count = worker.renewals + 1
            renewing = worker._replace(renewal=talk, renewed=world.now, renewals=count)
            sent = _with(world, number, renewing)
            yield from self._slow(worker.name, sent, talk)
            yield from self._renewal_moves(sent, number, renewing, talk)

    def _renewal_moves(
        self, world: World, number: int, worker: Worker, talk: Talk
    ) -> Iterator[Step]:
        def with_reply(world: World, reply: Reply) -> World:
            if self.protocol.go_on(talk.call, (reply,)).returned:
                expires = self.protocol.calls[talk.call].at + 1
                held = max(worker.held, expires) if worker.held >= 0 else -1
                return _with(world, number, worker._replace(renewal=None, held=held))
            if worker.talk:
                # What it is writing will tell it, too
                return _with(world, number, worker._replace(renewal=None, held=-1))
            return self._over(world, number, worker._replace(renewal=None))

        def anew(world: World, _: Talk) -> World:
            return _with(world, number, worker._replace(renewal=None))

        yield from self._fates(worker.name, world, talk, with_reply, anew)

    # The operator

    def _operator_moves(self, world: World) -> Iterator[Step]:
        if world.operator:
            yield from self._command_moves(world, world.operator)
            return
        for command in sorted(set(world.commands)):
            for talk in self._command(world, command):
                left = list(world.commands)
                left.remove(command)
                sent = world._replace(operator=talk, commands=tuple(left))
                yield from self._slow("operator", sent, talk)
                yield from self._command_moves(sent, talk)

    def _command_moves(self, world: World, talk: Talk) -> Iterator[Step]:
        def with_reply(world: World, reply: Reply) -> World:
            answer = self.protocol.go_on(talk.call, (*talk.replies, reply))
            command = self.protocol.calls[talk.call].method
            if answer.returned and command != "import":
                state = self._image(reply.image)["ItemState"] if reply.image != GONE else "none"
                wanted = "todo" if command == "requeue" else "none"
                demand(state == wanted, "the operator was told of a change that is not there")
            return world._replace(operator=None)

        def anew(world: World, talk: Talk) -> World:
            return world._replace(operator=talk)

        yield from self._fates("operator", world, talk, with_reply, anew)

    def _command(self, world: World, command: str) -> Iterator[Talk]:
        """What the operator sends who sees the item now, if the command fits it."""
        if command == "import":
            call = self.protocol.call("import", world.now, f"import{len(world.commands)}")
        else:
            name, _, force = command.partition(" ")
            state = self._image(world.image)["ItemState"] if world.image != GONE else "none"
            held = world.image != GONE and self._leased(world)
            forced = bool(force)
            if state == "none" or (name, state) == ("requeue", "todo") or forced is not held:
                return
            all_tasks = (state == "done",) if name == "requeue" else ()
            call = self.protocol.call(name, world.now, world.image, *all_tasks, forced)
        yield self._begin(call)

    def _leased(self, world: World) -> bool:
        lease = self._image(world.image).get("Lease_Expires")
        return lease is not None and lease >= world.now

    # Requests

    def _begin(self, call: int) -> Talk:
        return Talk(call, self.protocol.go_on(call, ()).request)

    def _slow(self, who: str, sent: World, talk: Talk) -> Iterator[Step]:
        """The request that was just sent is under way for a while."""
        if sent.faults:
            yield Move(who, "is slow", talk.request), sent._replace(faults=sent.faults - 1)

    def _fates(
        self, who: str, world: World, talk: Talk, with_reply: Any, anew: Any
    ) -> Iterator[Step]:
        """What may become of a request whose sender waits."""
        reply = self._execute(world, talk.request)
        done = self._settled(world, reply, talk.request)
        request = talk.request
        answered = with_reply(done, reply)
        yield Move(who, "is answered", request), answered
        # DynamoDB knows the token of an import that it has executed
        if not world.faults or self.protocol.sent[request].kind == "import":
            return
        fewer = world.faults - 1
        copied = tuple(sorted((*answered.late, request)))
        yield (
            Move(who, "is answered, a copy is late", request),
            answered._replace(late=copied, faults=fewer),
        )
        yield Move(who, "has no reply and sends it again", request), done._replace(faults=fewer)
        again = self._begin(self.protocol.again(talk.call, world.now))
        lost = anew(done, again)._replace(faults=fewer)
        yield Move(who, "has no reply and asks anew", request), lost
        given_up = anew(world, again)
        late = tuple(sorted((*given_up.late, request)))
        yield (
            Move(who, "gives it up as late and asks anew", request),
            given_up._replace(late=late, faults=fewer),
        )

    def _execute(self, world: World, request: int) -> Reply:
        """Execute a request, and check what it did."""
        reply = self.protocol.execute(request, world.image)
        if reply.image != world.image:
            sent = self.protocol.sent[request]
            after = None if reply.image == GONE else self._image(reply.image)
            if after is not None:
                promises.check_image(after)
            if world.image != GONE:
                before = self._image(world.image)
                promises.check_write(sent.kind, sent.lock, before, after)
                if sent.seen != GONE:
                    promises.check_command(self._image(sent.seen), before)
                if sent.kind in {"take over", "requeue", "remove"}:
                    promises.check_lease(before, world.now)
            if sent.kind in promises.BY_CLAIMS:
                waits = any(
                    worker.lock == sent.lock and worker.claimed == GONE for worker in world.workers
                )
                demand(waits, "a claim that had ended came back")
        return reply

    def _settled(self, world: World, reply: Reply, request: int) -> World:
        """The world once a request was executed."""
        if self.protocol.sent[request].kind.endswith("--force") and reply.applied:
            # Force takes an item from a worker that does not know
            workers = tuple(worker._replace(held=-1) for worker in world.workers)
            world = world._replace(workers=workers)
        return world._replace(image=reply.image)

    def _image(self, number: int) -> Any:
        if number not in self._plain:
            self._plain[number] = undecimal(decode(self.protocol.images[number]))
        return self._plain[number]

    # Promises

    def _check(self, world: World) -> None:
        holders = [worker for worker in world.workers if worker.claimed != GONE]
        running = sum(worker.held >= world.now for worker in holders)
        demand(running <= 1, "two workers hold the item")
        for worker in holders if world.image != GONE else ():
            sending = {result.task for result in worker.results}
            left = [task for task in self._left(worker) if task not in sending]
            mine = {result.task: True for result in worker.recorded}
            if not worker.last:
                promises.check_tasks(self._image(world.image), worker.lock, mine, left)

    # Histories

    def _history(self, world: World) -> Iterator[str]:
        """How it came to a world."""
        path = []
        while step := self._seen[world]:
            path.append((world, step[1]))
            world = step[0]
        for following, move in reversed(path):
            yield self._line(move, following)

    def _line(self, move: Move, world: World) -> str:
        if move.who == "time":
            return f"it is {world.now}"
        sent = self.protocol.sent[move.request]
        what = f"{sent.kind} {sent.lock}".strip()
        image = self._image(world.image) if world.image != GONE else {"ItemState": "gone"}
        names = ("ItemState", "lockID", "Lease_Expires", "Log_Length")
        state = " ".join(f"{image[name]}" for name in names if name in image)
        return f"{move.who}: {what} {move.what} → {state}"


def _with(world: World, number: int, worker: Worker) -> World:
    workers = (*world.workers[:number], worker, *world.workers[number + 1 :])
    return world._replace(workers=workers)
