"""How long a table takes, what it costs, and what limits it: arithmetic on the life of an item.

Guaranteed: the same rules as `benchmarks.simulate`, which a test compares with it. Not guaranteed:
what AWS does not promise: that a partition is split sooner, or that saved units help for a while.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anamo.core.capacity import PARTITION_WRITES, Index, read_units
from anamo.core.item import Item
from anamo.operator.plan.item_life import RENEWALS, TABLE, ItemLife, Place, group_size, item_life
from anamo.operator.plan.price import Price

OVERHEAD_SECONDS = 0.1
"""What an item takes a worker beside its tasks: requests to DynamoDB, the start of a task."""

CLAIMS_A_PAGE = 20
"""Claims that one query page serves, of 25 candidates."""

PAGE = 25

FIRST_WRITES = 4_000
"""Write units a second that a new on-demand table sustains."""

LOOK_BYTES = 4 << 20
"""What a worker reads of the table itself before it ends, at most."""


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
    lease: int = 600


@dataclass(frozen=True, slots=True)
class Limit:
    """What one partition takes.

    Attributes:
        place: An index and a key value of it; or the table.
        rate: Items a second.
        splits: Whether its sort keys differ from item to item, so that DynamoDB can split it.
    """

    place: Place
    rate: float
    splits: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan takes.

    Attributes:
        life: The writes of an item.
        seconds: How long it takes.
        rate: Items a second.
        limits: What limits the rate, the lowest first.
        helpful: How many workers reach the lowest limit; more of them change nothing.
        import_limit: Items a second that an import adds at most.
        write_units, read_units, puts: What is billed.
        price: What a unit costs.
    """

    life: ItemLife
    seconds: float
    rate: float
    limits: Sequence[Limit]
    helpful: int
    import_limit: Limit
    write_units: float
    read_units: float
    puts: int
    price: Price

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
    renewals = item_seconds * RENEWALS / plan.lease
    running = _units(life, renewals)
    limits = _limits(running, _splitting(plan.typical, indexes, life, group))
    ceiling = limits[0].rate
    rate = min(min(plan.workers, plan.items) / item_seconds, ceiling)
    rounds = math.ceil(plan.items / plan.workers)
    imported = life.imported.units
    writes = plan.items * (sum(running.values()) + (0 if plan.imported else imported.total()))
    reads = plan.items / CLAIMS_A_PAGE * read_units(PAGE * life.candidate_bytes)
    look = min(LOOK_BYTES, plan.items * life.bytes)
    reads += plan.workers * read_units(look, consistent=True)
    puts = plan.items * (1 + len(life.recorded))
    return Forecast(
        life=life,
        seconds=max(rounds * item_seconds, plan.items / ceiling + item_seconds),
        rate=rate,
        limits=limits,
        helpful=max(1, math.floor(ceiling * item_seconds)),
        import_limit=_limits({place: float(n) for place, n in imported.items()}, {})[0],
        write_units=writes,
        read_units=reads,
        puts=puts,
        price=price,
    )


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
            splitting.get(place, True),
        )
        for place, number in units.items()
    ]
    return sorted(limits, key=lambda limit: (round(limit.rate, 6), limit.splits, limit.place))


def _splitting(
    item: Item, indexes: Sequence[Index], life: ItemLife, group: int
) -> dict[Place, bool]:
    """Whether the sort keys of a place differ between this item and another, which another worker
    holds. Both print as many lines.
    """
    other = replace(item, item_id=7, task_id=f"{item.task_id}x")
    lives = (life, item_life(other, indexes, group, "i-1111111111111111f"))
    keys: list[dict[Place, set[object]]] = [{}, {}]
    for each, found in zip(lives, keys, strict=True):
        for write in each.running:
            for place, sort_keys in write.sort_keys.items():
                found.setdefault(place, set()).update(sort_keys)
    return {place: keys[0][place].isdisjoint(keys[1].get(place, set())) for place in keys[0]}
