"""How a worker works, as its command line says it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """The worker's command line. Durations are in seconds.

    Attributes:
        tables: Names of the workflow tables, in the order in which items are taken from them.
        bucket: S3 bucket for the logs.
        region: AWS region; None leaves it to the environment.
        prefix: What log keys begin with.
        program: Folder of the scripts.
        command: How the program was started, as typed into a shell.
        processes: Items at once.
        nested: Nested tasks of an item at once.
        idle_timeout: How long to keep searching after no item was found.
        lease: How long a claim holds without being renewed.
        grace: From SIGTERM to SIGKILL of a task.
        timeout: Longest run time of a task.
        wall_time: After which no task is started.
        retries: How often a failed item is retried.
        max_attempts: How many claims of an item may end without an outcome.
        max_failures: Items in a row that may fail before no further task is started.
        partial_logs: How often the partial output of running tasks is uploaded; None for never.
        wait: Stay while other workers hold items, and take over items if those workers die.
    """

    tables: tuple[str, ...]
    bucket: str
    region: str | None
    prefix: str
    program: str
    command: str
    processes: int
    nested: int
    idle_timeout: float
    lease: int
    grace: float
    timeout: float | None
    wall_time: float | None
    retries: int
    max_attempts: int
    max_failures: int | None
    partial_logs: float | None
    wait: bool
