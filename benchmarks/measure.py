"""Timing commands: one after the other, round by round, medians."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

TIME_LIMIT = 900.0
"""Seconds after which a command is taken for hanging."""


class Failed(Exception):
    """A command did not do what it was to do."""


@dataclass(frozen=True)
class Sample:
    """Seconds by the clock, and seconds of processor time of the command and all it waited for."""

    wall: float
    processor: float
    output: str


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Sample:
    """Run a command to its end, its output in a file; Failed unless it exits with 0."""
    said = folder / "output.txt"
    began = time.perf_counter()
    with said.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    watchdog = threading.Timer(TIME_LIMIT, _kill_group, [process.pid])
    watchdog.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        # The measurement is being stopped: what it timed would go on without a database
        _kill_group(process.pid)
        raise
    finally:
        watchdog.cancel()
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    text = said.read_text(errors="replace")
    if process.returncode:
        raise Failed(f"{' '.join(command)[:200]}: exit {process.returncode}: {text[-500:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, text)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Contender:
    """Something to be timed: `job` prepares what it needs, and runs a command, which is timed.

    tasks: how many tasks, or lines, or whatever is counted, one run goes through.
    """

    name: str
    tasks: int
    job: Callable[[], Sample]


@dataclass(frozen=True)
class Result:
    """The medians of a contender's rounds, in seconds."""

    name: str
    tasks: int
    wall: float
    processor: float
    walls: tuple[float, ...]

    @property
    def per_task(self) -> float:
        """Milliseconds a task."""
        return 1000 * self.wall / self.tasks

    @property
    def processor_per_task(self) -> float:
        """Milliseconds of processor time a task."""
        return 1000 * self.processor / self.tasks


def alternate(contenders: Sequence[Contender], rounds: int) -> dict[str, Result]:
    """Time each contender once a round, so that what else the machine does meets all of them."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            print(f"  round {number + 1} of {rounds}: {contender.name}", file=sys.stderr)
            samples[contender.name].append(contender.job())
    return {
        contender.name: Result(
            contender.name,
            contender.tasks,
            median(sample.wall for sample in samples[contender.name]),
            median(sample.processor for sample in samples[contender.name]),
            tuple(sample.wall for sample in samples[contender.name]),
        )
        for contender in contenders
    }
