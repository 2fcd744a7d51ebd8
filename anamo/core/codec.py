"""DynamoDB attribute values as plain Python values, and readers of what another tool wrote.

Guaranteed: `decode` and the readers never raise, whatever an item holds. Not guaranteed: that
`encode` takes what no item of ours holds, such as floats or numbers of more than 38 digits.
"""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

Values = Mapping[str, Any]
"""Attributes by name, as plain Python values: str, int or Decimal, dict, list, bool, None."""

Attributes = Mapping[str, Any]
"""Attributes by name, as DynamoDB's low-level interface has them, such as `{"N": "7"}`."""

LARGEST = 1e15
"""What a larger number is read as: more than any count or time, and not too long to be shown."""

KEY_LIMIT = Decimal(10**38)
"""Whole numbers below it have at most 38 digits, as DynamoDB's numbers do."""


def encode(values: Values) -> dict[str, Any]:
    """Plain values as DynamoDB takes them."""
    serialize = _serializer()
    return {name: serialize(value) for name, value in values.items()}


def decode(attributes: Attributes) -> dict[str, Any]:
    """What DynamoDB returned, as plain values; numbers are Decimals.

    The library refuses numbers of more digits than it would write, 1E+125 among them: only an item
    that has one is read value by value.
    """
    deserialize = _deserializer()
    try:
        return {name: deserialize(value) for name, value in attributes.items()}
    except (ArithmeticError, TypeError):
        return {name: _decode_tolerantly(value) for name, value in attributes.items()}


def _decode_tolerantly(attribute: Any) -> Any:
    """One value; None where the library does not know its type."""
    if "M" in attribute:
        return {name: _decode_tolerantly(value) for name, value in attribute["M"].items()}
    if "L" in attribute:
        return [_decode_tolerantly(value) for value in attribute["L"]]
    if "N" in attribute:
        return Decimal(attribute["N"])
    if "NS" in attribute:
        return set(map(Decimal, attribute["NS"]))
    try:
        return _deserializer()(attribute)
    except TypeError:
        return None


# Imported at the first use: neither --help nor an import's --dry-run should wait for boto3


@cache
def _serializer() -> Callable[[Any], Any]:
    from boto3.dynamodb.types import TypeSerializer

    return TypeSerializer().serialize


@cache
def _deserializer() -> Callable[[Any], Any]:
    from boto3.dynamodb.types import TypeDeserializer

    return TypeDeserializer().deserialize


# Readers


def text(values: Values, name: str, default: str = "") -> str:
    """A string; `default` where there is none."""
    value = values.get(name)
    return value if isinstance(value, str) else default


def number(values: Values, name: str) -> float | None:
    """A number between -LARGEST and LARGEST; None where there is none."""
    value = values.get(name)
    if not isinstance(value, (int, Decimal)):
        return None
    read = float(value)
    return read if -LARGEST < read < LARGEST else math.copysign(LARGEST, read)


def whole(values: Values, name: str) -> int:
    """A number without its fraction; 0 where there is none."""
    return int(number(values, name) or 0)


def mapping(values: Values, name: str) -> Values:
    """A map; an empty one where there is none."""
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def key_of(values: Values) -> int | None:
    """The itemID; None where it is not a whole number of at most 38 digits, and so not ours."""
    value = values.get("itemID")
    if not isinstance(value, (int, Decimal)) or not -KEY_LIMIT < value < KEY_LIMIT:
        return None
    return int(value) if value == int(value) else None
