"""The tasks of one claimed item, from the first start to the last end.

Guaranteed: at most `-n` tasks run at once, fewer where the host has no room for more; when `run`
returns or raises, no task of the item is left running, and the recorder knows that nothing more
comes of the claim. Not guaranteed: that every task was started.
"""

from collections import deque
from collections.abc import Mapping
from time import sleep

from anamo.core.errors import HostError
from anamo.worker.claim import Claim
from anamo.worker.control import Control
from anamo.worker.options import Options
from anamo.worker.recorder import Recorder
from anamo.worker.task_process import Outcome, StopReason, TaskProcess


class ItemRun:
    """The tasks of one claim, from the first start to the last end."""

    def __init__(
        self,
        claim: Claim,
        options: Options,
        control: Control,
        recorder: Recorder,
        environment: Mapping[str, str],
    ) -> None:
        item = claim.item
        self._claim = claim
        self._options = options
        self._control = control
        self._recorder = recorder
        self._environment = {
            **environment,
            "PYANAMO_TABLE": options.table,
            "PYANAMO_ITEM_ID": str(item.item_id),
            "PYANAMO_TASK_ID": item.task_id,
            "PYANAMO_ATTEMPT": str(item.attempts),
            "PYANAMO_LOCK_ID": item.lock_id,
        }
        self._todo = deque(claim.todo())
        self._running: dict[str, TaskProcess] = {}
        self._width = options.nested
        self._held_up = False
        self._fault: HostError | None = None

    def run(self) -> None:
        """Run them; returns once none is left, because they ended or had to be stopped.

        Raises HostError where tasks cannot be started here; the item is given back then.
        """
        ended = False
        try:
            while self._todo or self._running:
                self._apply_stop_requests()
                self._start()
                ended = self._collect()
                # Not with a place free: what ended has been seen, and nothing else would end a wait
                if (self._todo or self._running) and not self._may_start:
                    self._control.wait(self._next_poll())
        finally:
            self._kill()
            if not ended:
                self._recorder.end(self._claim)
        if self._fault:
            raise self._fault

    def _apply_stop_requests(self) -> None:
        """Stop what must be stopped."""
        # What came while the item was being claimed must not start a task
        self._control.look()
        told = self._control.stopping or self._recorder.error or self._claim.lost
        if told or self._control.start_no_more:
            self._todo.clear()
        if self._control.stopping:
            self._recorder.shorten_waits()
        if told:
            grace = 0 if self._control.force_stop else self._options.grace
            for process in self._running.values():
                process.stop(StopReason.SHUTDOWN, grace)

    @property
    def _may_start(self) -> bool:
        room = len(self._running) < self._width and self._recorder.has_room
        return bool(self._todo) and room and not self._held_up

    def _start(self) -> None:
        self._held_up = False
        while self._may_start:
            name, script = self._todo.popleft()
            environment = {**self._environment, "PYANAMO_NESTED_TASK": name}
            # Before the attempt: they may be written, and their files closed, right after it
            pending = self._recorder.pending
            try:
                self._running[name] = TaskProcess(
                    script, environment, self._options.timeout, self._options.grace
                )
            except HostError as fault:
                self._todo.appendleft((name, script))
                if self._running:
                    # The machine has room for fewer at once than -n asks for
                    self._width = len(self._running)
                elif pending:
                    # The files of those that have ended may be what is in the way
                    self._held_up = True
                else:
                    self._give_up(fault)

    def _collect(self) -> bool:
        """Hand in the tasks that ended; whether the last of them was handed in as such."""
        ended = []
        for name, process in list(self._running.items()):
            if outcome := process.poll():
                del self._running[name]
                if self._counts(outcome):
                    ended.append((name, outcome))
                else:
                    outcome.close()
        over = not self._todo and not self._running
        for position, (name, outcome) in enumerate(ended, start=1):
            last = over and position == len(ended)
            self._recorder.add(self._claim, name, outcome, last=last)
        return over and bool(ended)

    def _counts(self, outcome: Outcome) -> bool:
        """Whether this is how the task ends, and not how we or this machine ended it."""
        if not outcome.succeeded and not outcome.interrupted and outcome.disk_is_full():
            # It failed for want of space, most likely, and may well pass elsewhere
            self._give_up(HostError("the disk is full; what failed on it is given back"))
            return False
        return not outcome.interrupted

    def _give_up(self, fault: HostError) -> None:
        """Start no more: what runs may well end, the rest is for another machine."""
        self._todo.clear()
        self._fault = fault

    def _next_poll(self) -> float | None:
        polls = [process.next_poll() for process in self._running.values()]
        return min((poll for poll in polls if poll is not None), default=None)

    def _kill(self) -> None:
        """Leave no task behind where an error ends the run."""
        for process in self._running.values():
            process.stop(StopReason.SHUTDOWN, grace=0)
        while self._running:
            for name, process in list(self._running.items()):
                if outcome := process.poll():
                    outcome.close()
                    del self._running[name]
            sleep(0.01)
