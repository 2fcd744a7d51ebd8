"""DynamoDB attribute values as plain Python values, and readers of what another tool wrote.

Guaranteed: `decode` and the readers never raise, whatever an item holds, and `encode` takes the
itemID and the numbers of any item. Not guaranteed: that it takes what no item has, such as floats.
"""

import math
import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from functools import cache
from typing import Any

Values = Mapping[str, Any]
"""Attributes by name, as plain Python values: str, int or Decimal, dict, list, bool, None."""

Attributes = Mapping[str, Any]
"""Attributes by name, as DynamoDB's low-level interface has them, such as `{"N": "7"}`."""

LARGEST = 1e15
"""Larger numbers are read as this: more than any count or time, and short enough to be shown."""

ItemId = int | Decimal
"""An itemID: an int where it is a whole number of at most 38 digits, as all of ours are. Any other
number, which only another tool writes, is a Decimal."""

DIGITS = 38
"""The most digits of a number in DynamoDB."""

SMALLEST = Decimal("1E-130")
"""The smallest number above 0 that DynamoDB has."""

LARGEST_ID = Decimal("9.9999999999999999999999999999999999999E+125")
"""The largest number that DynamoDB has, so no itemID comes after it."""

SMALLEST_ID = LARGEST_ID.copy_negate()
"""No itemID comes before it."""

_NUMBERS = Context(prec=DIGITS, Emin=SMALLEST.adjusted(), Emax=LARGEST_ID.adjusted(), traps=[])

_EXACT = Context(prec=1000, traps=[])
"""More digits than any number that DynamoDB writes out."""


def encode(values: Values) -> dict[str, Any]:
    """Plain values as DynamoDB takes them."""
    serialize = _serializer()
    # The library refuses some of the smallest numbers that DynamoDB has
    return {
        name: {"N": str(value)} if isinstance(value, Decimal) else serialize(value)
        for name, value in values.items()
    }


def decode(attributes: Attributes) -> dict[str, Any]:
    """What DynamoDB returned, as plain values; numbers are Decimals.

    The library refuses numbers of more digits than it would write, 1E+125 among them: only an item
    that has one is read value by value.
    """
    deserialize = _deserializer()
    try:
        # Most values are strings, which need no library
        return {
            name: value["S"] if "S" in value else deserialize(value)
            for name, value in attributes.items()
        }
    except (ArithmeticError, TypeError):
        return {name: _decode_tolerantly(value) for name, value in attributes.items()}


def _decode_tolerantly(attribute: Any) -> Any:
    """One value; None where the library does not know its type."""
    if "M" in attribute:
        return {name: _decode_tolerantly(value) for name, value in attribute["M"].items()}
    if "L" in attribute:
        return [_decode_tolerantly(value) for value in attribute["L"]]
    if "N" in attribute:
        return _decimal(attribute["N"])
    if "NS" in attribute:
        return set(map(_decimal, attribute["NS"]))
    try:
        return _deserializer()(attribute)
    except TypeError:
        return None


def _decimal(written: str) -> Decimal:
    """A number without the zeros at its end, of which DynamoDB writes up to 125."""
    return _EXACT.create_decimal(written).normalize(_EXACT)


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
    if value is None or not isinstance(value, (int, Decimal)) or isinstance(value, bool):
        return None
    read = float(value)
    return read if -LARGEST < read < LARGEST else math.copysign(LARGEST, read)


def whole(values: Values, name: str) -> int:
    """A number without its fraction; 0 where there is none."""
    return int(number(values, name) or 0)


def texts(values: Values, name: str) -> tuple[str, ...]:
    """The members of a list as strings; none where there is no list."""
    value = values.get(name)
    return tuple(map(_written, value)) if isinstance(value, list) else ()


def _written(value: object) -> str:
    """A value as text: boto3's Binary has a repr only."""
    return str(value) if isinstance(value, (str, int, Decimal)) else repr(value)


def mapping(values: Values, name: str) -> Values:
    """A map; an empty one where there is none."""
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def key_of(values: Values) -> ItemId:
    """The itemID; 0 where it was not read."""
    value = values.get("itemID")
    if not isinstance(value, (int, Decimal)):
        return 0
    key = Decimal(value)
    whole_number = key.adjusted() < DIGITS and key == key.to_integral_value()
    return int(key) if whole_number else key


def key_named(name: str) -> ItemId | None:
    """The itemID that a text spells, in whatever way; None where it spells none."""
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", name):
        return None
    key = _decimal(name)
    if not key:
        return 0
    fits = SMALLEST.adjusted() <= key.adjusted() <= LARGEST_ID.adjusted()
    return key_of({"itemID": key}) if fits and len(key.as_tuple().digits) <= DIGITS else None


def above(key: ItemId) -> ItemId | None:
    """The next number that DynamoDB has; None after its largest."""
    following = _NUMBERS.next_plus(Decimal(key))
    # Not abs(), which would round
    if following.copy_abs() < SMALLEST:
        return SMALLEST if key == 0 else 0
    return following if following.is_finite() else None


def below(key: ItemId) -> ItemId | None:
    """The number that comes before it in DynamoDB; None before its smallest."""
    opposite = above(-key if isinstance(key, int) else key.copy_negate())
    if opposite is None or isinstance(opposite, int):
        return opposite
    return opposite.copy_negate()
