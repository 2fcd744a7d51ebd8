"""How a worker works, as its command line says it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Durations in seconds.

    prefix: of the log keys. program: the folder of the scripts. processes: items at once. nested:
    nested tasks of an item at once. idle_timeout: how long to look on after nothing was found.
    lease: how long a claim holds without being renewed. grace: from SIGTERM to SIGKILL of a task.
    timeout: of each task. wall_time: after which no task is begun. retries: how often a failed item
    is tried again. max_attempts: how many claims of an item may end without an outcome.
    max_failures: items in a row that may fail before nothing more is begun.
    """

    table: str
    bucket: str
    region: str | None
    prefix: str
    program: str
    processes: int = 1
    nested: int = 1
    idle_timeout: float = 0.0
    lease: int = 600
    grace: float = 20.0
    timeout: float | None = None
    wall_time: float | None = None
    retries: int = 0
    max_attempts: int = 10
    max_failures: int | None = None
