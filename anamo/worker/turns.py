"""Turns at looking for work: of the processes of one worker that find nothing, one looks at a time.

Guaranteed: what an idle worker asks of DynamoDB does not grow with -i. A process whose turn ends
with a claim hands it to the next, which looks at once; where nothing is left, all that waited are
told. The turn of a process that dies goes to the next. Not guaranteed: any order.
"""

from collections.abc import Callable
from dataclasses import dataclass

from anamo.worker.worker_process import WorkerProcess


@dataclass(frozen=True, slots=True)
class TurnAsked:
    """From a process: it has found nothing, and would look further."""


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
        nothing_left: When the look began, by the monotonic clock, that showed nothing left to be
            claimed; None where it did not come to that.
    """

    nothing_left: float | None = None


@dataclass(frozen=True, slots=True)
class NothingLeft:
    """To a process that waits for its turn: another has found nothing left.

    Attributes:
        since: When its look began.
    """

    since: float


class Turn:
    """The turn as one process knows it.

    Args:
        send: Sends a message to the parent.

    Attributes:
        mine: Whether this process should look.
        asked: Whether it waits for its turn.
        news: Whether the process before found something; to be cleared by the one who reads it.
        nothing_left: When the look of another process began that found nothing left, else None;
            also to be cleared.
    """

    def __init__(self, send: Callable[[object], object]) -> None:
        self.mine = False
        self.asked = False
        self.news = False
        self.nothing_left: float | None = None
        self._send = send

    def ask(self) -> None:
        """Ask for the turn."""
        self.asked, self.nothing_left = True, None
        self._send(TurnAsked())

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
            self.asked, self.nothing_left = False, message.since


class Turns:
    """Whose turn it is, in the parent."""

    def __init__(self) -> None:
        self._looking: WorkerProcess | None = None
        self._waiting: list[WorkerProcess] = []

    def note(self, process: WorkerProcess, message: object) -> None:
        """Take a message of a process into account; most are about other things."""
        if isinstance(message, TurnAsked):
            self._waiting.append(process)
            self._next(news=False)
        elif isinstance(message, TurnEnded) and process is self._looking:
            self._looking = None
            if message.nothing_left is not None:
                told, self._waiting = self._waiting, []
                for each in told:
                    each.send(NothingLeft(message.nothing_left))
            self._next(news=True)

    def leave(self, process: WorkerProcess) -> None:
        """Forget a process that has ended."""
        self._waiting = [each for each in self._waiting if each is not process]
        if process is self._looking:
            self._looking = None
            self._next(news=False)

    def _next(self, *, news: bool) -> None:
        if self._looking is None and self._waiting:
            self._looking = self._waiting.pop(0)
            self._looking.send(TurnBegins(news))
