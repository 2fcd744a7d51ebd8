"""Turns at searching the tables: of a worker's processes that find nothing, one at a time searches.

Guaranteed: what an idle worker asks of DynamoDB does not grow with -i, but for the three queries by
which each process finds that the index lists nothing. A process whose turn ends with a claim hands
it to the next, which searches at once. A process ends because of another one's search only if all
that this rests on was read after the process itself, or one that it replaces, had last given an
item back; where nothing was ever claimed, one search is enough for all. The turn of a process that
dies goes to the next. Not guaranteed: any order.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from anamo.worker.worker_process import WorkerProcess


@dataclass(frozen=True, slots=True)
class TurnAsked:
    """From a process: it has found nothing that an index lists, and asks for its turn.

    Attributes:
        since: A search of another process is as good if all that it rests on was read at this time
            of the monotonic clock or later.
    """

    since: float


@dataclass(frozen=True, slots=True)
class TurnBegins:
    """To a process: it is its turn.

    Attributes:
        news: Whether the process before found something: there may be more.
    """

    news: bool


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """From a process whose turn it was.

    Attributes:
        nothing_left: If the search showed nothing left to be claimed, when the oldest of what it
            rests on was read, by the monotonic clock (`Finder.evidence_since`); otherwise None.
    """

    nothing_left: float | None = None


@dataclass(frozen=True, slots=True)
class NothingLeft:
    """To a process that has asked for its turn: another has found nothing left."""


class Turn:
    """The turn as one process knows it.

    Args:
        send: Sends a message to the parent.
        clock: Monotonic seconds.

    Attributes:
        mine: Whether this process should search.
        asked: Whether it waits for its turn.
        news: Whether the process before found something; to be cleared by the one who reads it.
        nothing_left: Whether another process has found nothing left since this one asked.
    """

    def __init__(
        self, send: Callable[[object], object], clock: Callable[[], float] = monotonic
    ) -> None:
        self.mine = False
        self.asked = False
        self.news = False
        self.nothing_left = False
        self._send = send
        self._clock = clock
        self._since: float | None = 0.0

    def distrust(self) -> None:
        """Count another process's search only if it begins after this one asks again: until then
        this one may give an item back.
        """
        self._since, self.nothing_left = None, False

    def ask(self) -> None:
        """Ask for the turn. If another process had found nothing left since this one asked before,
        that was not enough, and only a later search counts.
        """
        if self._since is None or self.nothing_left:
            self._since = self._clock()
        self.asked, self.nothing_left = True, False
        self._send(TurnAsked(self._since))

    def end(self, nothing_left: float | None = None) -> None:
        """Hand the turn on, if this process has it; the argument is that of `TurnEnded`."""
        if self.mine:
            self.mine = False
            self._send(TurnEnded(nothing_left))

    def note(self, message: object) -> None:
        """Take a message of the parent into account."""
        if isinstance(message, TurnBegins):
            self.mine, self.asked, self.news = True, False, message.news
        elif isinstance(message, NothingLeft):
            self.asked, self.nothing_left = False, True


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A process that waits for its turn, and since when a search of another is as good."""

    process: WorkerProcess
    since: float


class Turns:
    """Whose turn it is, in the parent."""

    def __init__(self) -> None:
        self._searching: WorkerProcess | None = None
        self._waiting: list[_Waiting] = []
        # Since when the last search has read, if it found nothing left
        self._nothing_left = -math.inf

    def note(self, process: WorkerProcess, message: object) -> None:
        """Take a message of a process into account; most are about other things."""
        if isinstance(message, TurnAsked):
            self._waiting.append(_Waiting(process, max(message.since, process.since)))
            self._notify()
            self._next(news=False)
        elif isinstance(message, TurnEnded) and process is self._searching:
            self._searching = None
            began = message.nothing_left
            self._nothing_left = -math.inf if began is None else began
            self._notify()
            self._next(news=began is None)

    def leave(self, process: WorkerProcess) -> None:
        """Forget a process that has ended."""
        self._waiting = [each for each in self._waiting if each.process is not process]
        if process is self._searching:
            self._searching = None
            self._next(news=False)

    def _notify(self) -> None:
        """Notify those for which the last search is as good as their own that nothing is left."""
        notified = [each for each in self._waiting if self._nothing_left >= each.since]
        self._waiting = [each for each in self._waiting if self._nothing_left < each.since]
        for each in notified:
            each.process.send(NothingLeft())

    def _next(self, *, news: bool) -> None:
        if self._searching is None and self._waiting:
            self._searching = self._waiting.pop(0).process
            self._searching.send(TurnBegins(news))
