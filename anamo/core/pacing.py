"""How much a worker reads and writes at once, and how often: constants of its code, which the
estimates of `plan` need as well.
"""

PAGE = 25
"""Candidates per query page: enough to make reads cheap, few enough to be claimed while fresh."""

PAGE_SECONDS = 10.0
"""Age at which a page is discarded: by then others have claimed most of its items."""

TABLE_PAGES = 4
"""Pages of the table that are read at once before it counts as too large, for 256 read units each:
most tables are smaller, and a worker with nothing to do need not wait for the index."""

TABLE_PAGE_BYTES = 1 << 20
"""What DynamoDB reads for one page at most."""

LEASE_SECONDS = 600
"""How long a lease lasts unless the command line says otherwise."""

RENEWALS = 3
"""Renewals per lease period: two may fail before the lease expires."""

LINGER_SECONDS = 0.05
"""Shortest time for which a result waits for others of its item: fifty short tasks then take a few
writes, not fifty."""

BRIEF_SECONDS = 1.0
BRIEF_FACTOR = 5
"""A task that took less than BRIEF_SECONDS is brief: its result waits BRIEF_FACTOR times as long as
it took, at most BRIEF_SECONDS. If the worker dies meanwhile, running such tasks again is cheaper
than writing the whole item for each of them."""


def linger_seconds(task_seconds: float) -> float:
    """Seconds for which a result of a task that took so long may wait for further results."""
    if task_seconds >= BRIEF_SECONDS:
        return LINGER_SECONDS
    return min(max(BRIEF_FACTOR * task_seconds, LINGER_SECONDS), BRIEF_SECONDS)
