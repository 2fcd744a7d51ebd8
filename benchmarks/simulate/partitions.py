"""The partitions of a table or an index, and what they take a second.

What is documented: a partition takes 1,000 write and 3,000 read units a second; a new on-demand
table sustains 4,000 and 12,000, and at once up to twice its previous peak; up to 300 s of unused
units may be saved for bursts; a partition under lasting heat is split, at a place between two sort
keys. What is assumed is in `Limits`.
"""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass, field
from typing import Any

from anamo.core.capacity import PARTITION_READS, PARTITION_WRITES


@dataclass(frozen=True)
class Limits:
    """What DynamoDB is taken to do.

    Attributes:
        unlimited: Throttle nothing, as DynamoDB Local does.
        partition_writes, partition_reads: Units a second of a partition.
        burst: Seconds of unused units that a partition saves; 1 is none beyond the second itself.
        split_after: Seconds of heat after which a partition is split; None is never.
        lag: Mean seconds until an index shows a write.
        first_writes, first_reads: Units a second that a new on-demand table, or index, sustains.
        adapts_after: Seconds after which it sustains twice the peak that it had until then.
        most: Units a second of one table: the quota of an account that has not asked for more.
        latency: Mean seconds of a request there and back.
        lost: Share of replies that are lost; the client waits in vain until its time-out.
    """

    unlimited: bool = False
    partition_writes: float = PARTITION_WRITES
    partition_reads: float = PARTITION_READS
    burst: float = 1.0
    split_after: float | None = None
    lag: float = 0.1
    first_writes: float = 4_000.0
    first_reads: float = 12_000.0
    adapts_after: float = 1_800.0
    most: float = 40_000.0
    latency: float = 0.006
    lost: float = 0.0


class Bucket:
    """Units that flow in at a rate, up to some seconds' worth. The last request may overdraw it."""

    __slots__ = ("_at", "_units", "most", "rate")

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate = rate
        self.most = rate * seconds
        self._units = self.most
        self._at = 0.0

    def has_any(self, now: float) -> bool:
        """Whether a request may be served."""
        self._units = min(self.most, self._units + (now - self._at) * self.rate)
        self._at = now
        return self._units > 0

    def take(self, units: float) -> None:
        """Use units."""
        self._units -= units


SAMPLE = 1_000
"""Sort keys that a partition remembers, to be split between them."""


@dataclass
class Partition:
    """One partition."""

    writes: Bucket
    reads: Bucket
    hot_since: float | None = None
    refused: float = float("-inf")
    seen: list[Any] = field(default_factory=list)

    def bucket(self, kind: str) -> Bucket:
        """Its units for "write" or "read"."""
        return self.writes if kind == "write" else self.reads


class Capacity:
    """On-demand capacity of a whole table or index: it starts low, and follows the peak."""

    def __init__(self, first: float, limits: Limits) -> None:
        self._limits = limits
        self._bucket = Bucket(first, limits.burst)
        self._second, self._used = 0, 0.0
        self._peak = 0.0
        self._adapts_at = limits.adapts_after

    def has_any(self, now: float) -> bool:
        """Whether a request may be served."""
        return self._bucket.has_any(now)

    def take(self, units: float, now: float) -> None:
        """Use units."""
        self._bucket.take(units)
        if int(now) != self._second:
            self._peak = max(self._peak, self._used)
            self._second, self._used = int(now), 0.0
        self._used += units
        if now >= self._adapts_at:
            self._adapts_at = now + self._limits.adapts_after
            rate = min(max(self._bucket.rate, 2 * self._peak), self._limits.most)
            self._bucket.rate, self._bucket.most = rate, rate * self._limits.burst


class KeyRange:
    """The partitions of one key value of an index, or of a whole table, in the order of sort keys.

    Args:
        limits: What DynamoDB is taken to do.
        firsts: Where they begin.
        draw: Chooses the sort keys to remember.
    """

    def __init__(self, limits: Limits, firsts: list[Any], draw: random.Random) -> None:
        self._limits = limits
        self._draw = draw
        self.partitions = [self._new() for _ in firsts]
        self._firsts = firsts[1:]

    def _new(self) -> Partition:
        limits = self._limits
        writes = Bucket(limits.partition_writes, limits.burst)
        return Partition(writes, Bucket(limits.partition_reads, limits.burst))

    def at(self, key: Any) -> Partition:
        """The partition of a sort key."""
        return self.partitions[bisect.bisect_right(self._firsts, key)]

    def refused(self, partition: Partition, now: float) -> None:
        """Note that a request was throttled. A partition that does so for long is split."""
        after = self._limits.split_after
        if after is None:
            return
        if now - partition.refused > 60:
            partition.hot_since = now
        partition.refused = now
        if partition.hot_since is not None and now - partition.hot_since >= after:
            self._split(partition, now)

    def touched(self, partition: Partition, key: Any) -> None:
        """Remember a sort key that was written or read, at random places, so that old ones go."""
        if self._limits.split_after is None:
            return
        if len(partition.seen) < SAMPLE:
            partition.seen.append(key)
        else:
            partition.seen[self._draw.randrange(SAMPLE)] = key

    def _split(self, partition: Partition, now: float) -> None:
        """Split it in the middle of what is asked for; equal sort keys stay together."""
        partition.hot_since = now
        keys = sorted(partition.seen)
        middle = keys[len(keys) // 2] if keys else None
        above = [key for key in keys if key > keys[0] and key >= middle]
        if not above:
            return
        index = self.partitions.index(partition) + 1
        self.partitions.insert(index, self._new())
        self._firsts.insert(index - 1, above[0])
        partition.seen = []
