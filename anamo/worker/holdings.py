"""What a worker process holds, where its parent can still read it when the process was killed.

Guaranteed: a claim stands here before its request is sent, so whatever the process can hold in the
table when it dies is here. Writing takes no system call and wakes nobody.
"""

import mmap
import struct
from collections.abc import Mapping

_ENTRY = struct.Struct("<?40s32s")
"""Whether the entry counts, itemID (DynamoDB's numbers have up to 38 digits), lockID."""

_ENTRIES = 4
"""One claim under way, one that runs, one that is being recorded, and one to spare."""


class Holdings:
    """Claims as lockIDs by itemID, in memory that a forked process shares with its parent.

    inherited: the claims of a process that died, which this one stands in for.
    """

    def __init__(self, inherited: Mapping[int, str]) -> None:
        self.inherited = inherited
        self._memory = mmap.mmap(-1, _ENTRIES * _ENTRY.size)

    def add(self, item_id: int, lock_id: str) -> None:
        """Note a claim that is about to be made. Raises OverflowError for a fifth one."""
        offset = next((at for at in self._offsets() if not self._memory[at]), None)
        if offset is None:
            raise OverflowError("a process holds one item at a time, and records another")
        _ENTRY.pack_into(self._memory, offset, False, str(item_id).encode(), lock_id.encode())
        # Last, since the process may be killed at any instruction
        self._memory[offset] = 1

    def drop(self, lock_id: str) -> None:
        """Forget a claim that was not won, or has ended."""
        for offset in self._offsets():
            if _ENTRY.unpack_from(self._memory, offset)[2] == lock_id.encode():
                self._memory[offset] = 0

    def read(self) -> dict[int, str]:
        """The claims, as lockIDs by itemID."""
        entries = [_ENTRY.unpack_from(self._memory, offset) for offset in self._offsets()]
        return {
            int(item_id.rstrip(b"\0")): lock_id.decode()
            for held, item_id, lock_id in entries
            if held
        }

    @staticmethod
    def _offsets() -> range:
        return range(0, _ENTRIES * _ENTRY.size, _ENTRY.size)
