"""The tasks of one claimed item, from the first start to the last end.

Guaranteed: at most `-n` tasks run at once, fewer where the host has no room for more; when `run`
returns or raises, no task of the item is left running, and the recorder knows that no further
result of the claim will come. Not guaranteed: that every task was started.
"""

import logging
from collections import deque
from collections.abc import Mapping
from time import monotonic, sleep

from anamo.core.errors import HostError
from anamo.worker.claim import Claim
from anamo.worker.control import Control
from anamo.worker.options import Options
from anamo.worker.orphans import reap_left_behind
from anamo.worker.output_files import OutputFiles
from anamo.worker.process_tree import Readings
from anamo.worker.recorder import Recorder
from anamo.worker.task_process import Outcome, StopReason, TaskProcess

WIDEN_SECONDS = 2.0
"""How long fewer tasks run at once where the host had no room for more; then twice as many may."""

logger = logging.getLogger(__name__)


class ItemRun:
    """Runs the tasks of one claim, in the main thread of a worker process."""

    def __init__(
        self,
        claim: Claim,
        options: Options,
        control: Control,
        recorder: Recorder,
        environment: Mapping[str, str],
        output_files: OutputFiles,
    ) -> None:
        item = claim.item
        self._claim = claim
        self._options = options
        self._control = control
        self._recorder = recorder
        self._output_files = output_files
        self._environment = {
            **environment,
            "PYANAMO_TABLE": claim.table.name,
            "PYANAMO_ITEM_ID": str(item.item_id),
            "PYANAMO_TASK_ID": item.task_id,
            "PYANAMO_ATTEMPT": str(item.attempts),
            "PYANAMO_LOCK_ID": item.lock_id,
        }
        self._todo = deque(claim.todo())
        self._running = claim.running
        self._width = options.nested
        self._widen_at = 0.0
        self._held_up = False

    def run(self) -> None:
        """Run the tasks until all have ended or been stopped, or the host cannot run them."""
        ended = False
        try:
            while self._todo or self._running:
                self._apply_stop_requests()
                self._start()
                ended = self._collect()
                reap_left_behind(self._pids())
                # Not if another task may start: nothing might end the wait
                if (self._todo or self._running) and not self._may_start:
                    self._control.wait(self._next_poll())
        finally:
            try:
                self._kill()
            finally:
                if not ended:
                    self._recorder.end(self._claim)

    def _apply_stop_requests(self) -> None:
        """Drop the tasks that must not start, and stop those that must not run on."""
        # A request that came while the item was being claimed counts, too
        self._control.check()
        stop = self._control.stopping or self._recorder.error or self._claim.lost
        if stop or self._control.start_no_more or self._claim.host_error:
            self._todo.clear()
        if self._control.stopping:
            self._recorder.shorten_waits()
        if stop:
            grace = 0 if self._control.force_stop else self._options.grace
            readings = Readings()
            for process in self._running.values():
                process.stop(StopReason.SHUTDOWN, grace, readings)

    @property
    def _may_start(self) -> bool:
        room = len(self._running) < self._width and self._recorder.has_room
        return bool(self._todo) and room and not self._held_up

    def _start(self) -> None:
        self._held_up = False
        self._widen()
        while self._may_start:
            name, script = self._todo.popleft()
            environment = {**self._environment, "PYANAMO_NESTED_TASK": name}
            # Read before the attempt: these results may be written, their files closed, meanwhile
            pending = self._recorder.pending
            try:
                self._running[name] = TaskProcess(
                    script,
                    environment,
                    self._options.timeout,
                    self._options.grace,
                    self._pids,
                    self._output_files,
                )
            except HostError as fault:
                self._todo.appendleft((name, script))
                if self._output_files.close():
                    continue
                if self._running:
                    self._narrow(fault)
                elif pending:
                    # Closing the files of the tasks that have ended may make room
                    self._held_up = True
                else:
                    self._give_up(str(fault))

    def _narrow(self, fault: HostError) -> None:
        """Run no more tasks at once than now: the host has no room for more at present."""
        self._width = len(self._running)
        self._widen_at = monotonic() + WIDEN_SECONDS
        logger.info("item %d: %d tasks at once: %s", self._claim.item.item_id, self._width, fault)

    def _widen(self) -> None:
        """Let more tasks run at once if there may be room again."""
        if self._width < self._options.nested and monotonic() >= self._widen_at:
            self._width = min(2 * self._width, self._options.nested)
            self._widen_at = monotonic() + WIDEN_SECONDS

    def _collect(self) -> bool:
        """Hand in the tasks that ended; True if the claim's last result was among them."""
        ended, readings = [], Readings()
        for name, process in list(self._running.items()):
            if outcome := process.poll(readings):
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
        """Whether the outcome is the task's own: neither a shutdown nor a full disk caused it."""
        if not outcome.succeeded and not outcome.interrupted and (full := outcome.full_disk()):
            # It most likely failed because of the disk, and may succeed on another host
            self._give_up(full)
            return False
        return not outcome.interrupted

    def _give_up(self, reason: str) -> None:
        """Start no more tasks: those that run may finish, the item is given back with the rest."""
        self._todo.clear()
        self._claim.host_error = self._claim.host_error or reason

    def _pids(self) -> set[int]:
        """The first process of each task that runs."""
        return {process.pid for process in self._running.values() if process.pid is not None}

    def _next_poll(self) -> float | None:
        polls = [process.next_poll() for process in self._running.values()]
        if self._todo and self._width < self._options.nested:
            polls.append(self._widen_at)
        return min((poll for poll in polls if poll is not None), default=None)

    def _kill(self) -> None:
        """Kill and reap what still runs: an error ended the run."""
        readings = Readings()
        for process in self._running.values():
            process.stop(StopReason.SHUTDOWN, 0, readings)
        while self._running:
            readings = Readings()
            for name, process in list(self._running.items()):
                if outcome := process.poll(readings):
                    outcome.close()
                    del self._running[name]
            reap_left_behind(self._pids())
            sleep(0.01)
