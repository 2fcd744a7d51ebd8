"""How long a table takes, what it costs, and what limits it: arithmetic on the life of an item.

Guaranteed: the same rules as `benchmarks.simulate`, which a test compares with it. Not guaranteed:
what AWS does not promise: that a partition is split sooner, or that saved units help for a while.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anamo.core.capacity import PARTITION_WRITES, Index, read_units
from anamo.core.item import Item
from anamo.core.pacing import (
    LEASE_SECONDS,
    PAGE,
    PAGE_SECONDS,
    RENEWALS,
    TABLE_PAGE_BYTES,
    TABLE_PAGES,
)
from anamo.operator.plan.item_life import TABLE, ItemLife, Place, group_size, item_life
from anamo.operator.plan.price import Price

OVERHEAD_SECONDS = 0.1
"""What an item takes a worker beside its tasks: requests to DynamoDB, the start of a task."""

CLAIMS_A_PAGE = 20
"""Claims that one query serves, of PAGE candidates, where tasks are short."""

FIRST_WRITES = 4_000
"""Write units a second that a new on-demand table sustains."""

DOUBLING_SECONDS = 1_800.0
"""After so long at its limit, a new table sustains twice as many."""

PROCESSES = 8
"""Worker processes of a machine: a plan does not know how many there are."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        items: How many items.
        typical: One that stands for all.
        workers: Worker processes, all together.
        task_seconds: Run time of one task.
        at_once: Nested tasks of an item that run at once.
        imported: Whether the items are in the table already.
        lease: Seconds of a lease.
    """

    items: int
    typical: Item
    workers: int
    task_seconds: float
    at_once: int = 1
    imported: bool = False
    lease: int = LEASE_SECONDS


@dataclass(frozen=True, slots=True)
class Limit:
    """What one partition takes.

    Attributes:
        place: An index and a key value of it; or the table.
        rate: Items a second; of the table, what a new one takes.
        splits: Whether its sort keys differ from item to item, so that DynamoDB can split it. The
            table is not split, it grows.
    """

    place: Place
    rate: float
    splits: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan takes.

    Attributes:
        life: The writes of an item.
        group: Results of an item's nested tasks that are written together.
        claims_a_page: Claims that one query of candidates serves.
        seconds: How long it takes.
        rate: Items a second, at first.
        limits: What limits the rate, the lowest first.
        helpful: How many workers reach the lowest limit; more of them change nothing.
        import_limit: Items a second that an import adds at most.
        import_seconds: How long it takes at least.
        write_units, read_units, puts: What is billed.
        price: What a unit costs.
    """

    life: ItemLife
    group: int
    claims_a_page: float
    seconds: float
    rate: float
    limits: Sequence[Limit]
    helpful: int
    import_limit: Limit
    import_seconds: float
    write_units: float
    read_units: float
    puts: int
    price: Price

    @property
    def beyond(self) -> Limit:
        """The limit that is left if DynamoDB splits what it can split."""
        return next(limit for limit in self.limits if not limit.splits)

    @property
    def dollars(self) -> float:
        """What it costs."""
        return self.price.of(self.write_units, self.read_units, self.puts)


def forecast(plan: Plan, indexes: Sequence[Index], price: Price) -> Forecast:
    """What a plan takes in a table with these indexes."""
    tasks = plan.typical.tasks
    group = group_size(tasks, plan.task_seconds, plan.at_once)
    life = item_life(plan.typical, indexes, group)
    item_seconds = math.ceil(tasks / plan.at_once) * plan.task_seconds + OVERHEAD_SECONDS
    running = _units(life, renewals=item_seconds * RENEWALS / plan.lease)
    limits = _limits(running, _splitting(plan.typical, indexes, life, group))
    importing = _limits(life.imported.units, {})
    writes = plan.items * sum(running.values())
    if not plan.imported:
        writes += plan.items * life.imported.total
    claims_a_page = min(CLAIMS_A_PAGE, max(1.0, PAGE_SECONDS / item_seconds))
    reads = plan.items / claims_a_page * read_units(PAGE * life.candidate_bytes)
    look = read_units(min(TABLE_PAGES * TABLE_PAGE_BYTES, plan.items * life.bytes), consistent=True)
    reads += min(math.ceil(plan.workers / PROCESSES), plan.items) * look
    return Forecast(
        life=life,
        group=group,
        claims_a_page=claims_a_page,
        seconds=_seconds(plan, item_seconds, limits, _limits(life.claimed.units, {})),
        rate=min(min(plan.workers, plan.items) / item_seconds, limits[0].rate),
        limits=limits,
        helpful=max(1, math.floor(limits[0].rate * item_seconds)),
        import_limit=importing[0],
        import_seconds=_least_seconds(plan.items, importing),
        write_units=writes,
        read_units=reads,
        puts=plan.items * (1 + len(life.recorded)),
        price=price,
    )


def _seconds(
    plan: Plan, item_seconds: float, limits: Sequence[Limit], claims: Sequence[Limit]
) -> float:
    """How long a plan takes: the longest of what happens at the same time.

    Args:
        plan: What is to be done.
        item_seconds: What an item takes a worker.
        limits: Of whole items.
        claims: Of claims alone.
    """
    most = plan.workers / item_seconds
    one_by_one = math.ceil(plan.items / plan.workers) * item_seconds
    after_all_claims = _least_seconds(plan.items, claims) + item_seconds
    return max(one_by_one, after_all_claims, _least_seconds(plan.items, limits, most))


def _least_seconds(items: int, limits: Sequence[Limit], most: float = math.inf) -> float:
    """How long so many items take by the limits, at no more than `most` items a second. A new
    table's own limit doubles every DOUBLING_SECONDS while it is the lowest.
    """
    table = next(limit.rate for limit in limits if limit.place == TABLE)
    others = min([most, *(limit.rate for limit in limits if limit.place != TABLE)])
    seconds, left = 0.0, float(items)
    while table < others and left > table * DOUBLING_SECONDS:
        seconds += DOUBLING_SECONDS
        left -= table * DOUBLING_SECONDS
        table *= 2
    return seconds + left / min(table, others)


def _units(life: ItemLife, renewals: float) -> dict[Place, float]:
    """The units of an item by place, from its claim to its end."""
    total: dict[Place, float] = {}
    shares = [*((write, 1.0) for write in life.running), (life.renewed, renewals)]
    for write, share in shares:
        for place, units in write.units.items():
            total[place] = total.get(place, 0.0) + share * units
    return total


def _limits(units: Mapping[Place, float], splitting: Mapping[Place, bool]) -> list[Limit]:
    """What limits items of so many units a place, the lowest rate first; where two are equal, the
    one that cannot be split.
    """
    limits = [
        Limit(
            place,
            (FIRST_WRITES if place == TABLE else PARTITION_WRITES) / number,
            splitting.get(place, True) and place != TABLE,
        )
        for place, number in units.items()
    ]
    return sorted(limits, key=lambda limit: (round(limit.rate, 6), limit.splits, limit.place))


def _splitting(
    item: Item, indexes: Sequence[Index], life: ItemLife, group: int
) -> dict[Place, bool]:
    """Whether the sort keys of a place differ between this item and another, which another worker
    holds. Both print the same number of lines.
    """
    another = 8 if item.item_id == 7 else 7
    other = replace(item, item_id=another, task_id=f"{item.task_id}x")
    lives = (life, item_life(other, indexes, group, "i-1111111111111111f"))
    keys: list[dict[Place, set[object]]] = [{}, {}]
    for each, found in zip(lives, keys, strict=True):
        for write in each.running:
            for place, sort_keys in write.sort_keys.items():
                found.setdefault(place, set()).update(sort_keys)
    return {place: keys[0][place].isdisjoint(keys[1].get(place, set())) for place in keys[0]}
