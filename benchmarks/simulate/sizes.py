"""Images of items as DynamoDB has them, and their sizes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal
from typing import Any

from anamo.core.item_size import text_size


class Image(dict[str, Any]):
    """The attributes of an item or of an index entry, which do not change, with their size."""

    __slots__ = ("_known", "_size")

    _known: dict[Hashable, bool]
    _size: int

    @property
    def size(self) -> int:
        """Bytes, as DynamoDB counts them."""
        try:
            return self._size
        except AttributeError:
            self._size = size_of(self)
            return self._size

    def remember(self, question: Hashable, find_out: Callable[[], bool]) -> bool:
        """The answer to a question about it, which is asked again and again."""
        try:
            known = self._known
        except AttributeError:
            known = self._known = {}
        if question not in known:
            known[question] = find_out()
        return known[question]


def size_of(attributes: Mapping[str, Any]) -> int:
    """Bytes of attributes in DynamoDB's form, as `anamo.core.item_size` has it for plain values."""
    return sum(text_size(name) + value_size(value) for name, value in attributes.items())


def value_size(value: Mapping[str, Any]) -> int:
    """Bytes of one attribute value."""
    ((kind, content),) = value.items()
    if kind == "S":
        return text_size(content)
    if kind == "N":
        return len(content) // 2 + 2
    if kind == "M":
        return 3 + len(content) + size_of(content)
    if kind == "L":
        return 3 + len(content) + sum(map(value_size, content))
    return 1


def key_number(value: Mapping[str, Any]) -> int | Decimal:
    """A number that is a key."""
    number = Decimal(value["N"])
    return int(number) if number.adjusted() < 38 and number == int(number) else number


def position(key: Any) -> float:
    """Where an item is among the partitions of its table, from 0 to 1."""
    return (hash(key) * 0x9E3779B97F4A7C15 % (1 << 64)) / (1 << 64)
