"""One item of DynamoDB in some hundred lines: what a write makes of it.

It evaluates the condition and update expressions that the package sends, with DynamoDB's rules for
absent attributes and for values of different types, and raises a SyntaxError for what it does not
know. `test_the_small_dynamodb_answers_as_dynamodb_does` holds it to DynamoDB Local.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

Value = Mapping[str, Any]
"""A value as DynamoDB's low-level interface has it, such as {"N": "7"}."""

Image = Mapping[str, Value]
"""The attributes of an item."""

Request = Mapping[str, Any]
"""The parameters of a write."""


class Answer(NamedTuple):
    """What became of a write.

    applied: whether the condition held. image: the item afterwards, None if there is none.
    """

    applied: bool
    image: Image | None


@dataclass(frozen=True)
class Scope:
    """What an expression refers to."""

    image: Image
    request: Request

    def get(self, name: str) -> Value | None:
        """The value of a path or placeholder; None where there is none."""
        if name.startswith(":"):
            found: Value = self.request["ExpressionAttributeValues"][name]
            return found
        value: Any = {"M": self.image}
        for step in self.steps(name):
            value = value.get("M", {}).get(step) if value else None
        return value  # type: ignore[no-any-return]

    def steps(self, path: str) -> list[str]:
        """The attribute names of a path."""
        names = self.request.get("ExpressionAttributeNames", {})
        return [names[part] if part.startswith("#") else part for part in path.split(".")]


Condition = Callable[[Scope], bool]
Operand = Callable[[Scope], "Value | None"]


def put(image: Image | None, request: Request) -> Answer:
    """PutItem: what one Put of a transaction asks for, too."""
    new: Image = request["Item"]
    return Answer(True, new) if _holds(image, request) else Answer(False, image)


def delete(image: Image | None, request: Request) -> Answer:
    """DeleteItem."""
    return Answer(True, None) if _holds(image, request) else Answer(False, image)


def update(image: Image | None, request: Request) -> Answer:
    """UpdateItem; of an item that is not there, the condition must say so."""
    if not _holds(image, request):
        return Answer(False, image)
    if image is None:
        raise SyntaxError("an update that creates an item")
    scope, new = Scope(image, request), _copy({"M": image})
    sets, removes = _update(request["UpdateExpression"])
    # All values are those from before the update
    for path, value in [(path, operand(scope)) for path, operand in sets]:
        *parents, last = scope.steps(path)
        place = new
        for step in parents:
            place = place["M"][step]
        if value is None:
            raise SyntaxError(f"nothing to set {path} to")
        place["M"][last] = value
    for path in removes:
        new["M"].pop(scope.steps(path)[0], None)
    return Answer(True, new["M"])


def matches(expression: str, image: Image, request: Request) -> bool:
    """Whether a condition, or a query's filter, holds for an item."""
    return _condition(expression)(Scope(image, request))


def _holds(image: Image | None, request: Request) -> bool:
    return matches(request["ConditionExpression"], image or {}, request)


def _copy(value: Any) -> Any:
    if "M" in value:
        return {"M": {name: _copy(member) for name, member in value["M"].items()}}
    return value


# Values


def _number(value: Value) -> Decimal:
    return Decimal(value["N"])


def _compare(symbol: str, left: Value | None, right: Value | None) -> bool:
    """Values of different types are unequal, and neither is less."""
    if left is None or right is None or left.keys() != right.keys():
        return symbol == "<>" and left is not None and right is not None
    pair = (_number(left), _number(right)) if "N" in left else (*left.values(), *right.values())
    return bool(_COMPARISONS[symbol](*pair))


_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


# Expressions

TOKEN = re.compile(r"\s*([:#]?\w+(?:\.[#\w]+)*|<=|>=|<>|[<>=(),+-])")


class Tokens:
    """The words of an expression, to be taken one after the other."""

    def __init__(self, text: str) -> None:
        if TOKEN.sub("", text).strip():
            raise SyntaxError(text)
        self._words = TOKEN.findall(text)

    @property
    def next(self) -> str:
        """The next word, in the way it is written; empty at the end."""
        return self._words[0] if self._words else ""

    def take(self, *wanted: str) -> str:
        """Take the next word, which must be one of those wanted, if any are given."""
        if not self._words or (wanted and self.next not in wanted):
            raise SyntaxError(f"{self.next!r} where {wanted} was expected")
        return str(self._words.pop(0))

    def skip(self, word: str) -> bool:
        """Take the next word if it is this one."""
        return self.next == word and bool(self.take())


@cache
def _condition(text: str) -> Condition:
    tokens = Tokens(text)
    parsed = _either(tokens)
    if tokens.next:
        raise SyntaxError(f"{text}: {tokens.next!r} is left")
    return parsed


def _either(tokens: Tokens) -> Condition:
    parts = [_both(tokens)]
    while tokens.skip("OR"):
        parts.append(_both(tokens))
    return lambda scope: any(part(scope) for part in parts)


def _both(tokens: Tokens) -> Condition:
    parts = [_negated(tokens)]
    while tokens.skip("AND"):
        parts.append(_negated(tokens))
    return lambda scope: all(part(scope) for part in parts)


def _negated(tokens: Tokens) -> Condition:
    if tokens.skip("NOT"):
        inner = _negated(tokens)
        return lambda scope: not inner(scope)
    if tokens.skip("("):
        inner = _either(tokens)
        tokens.take(")")
        return inner
    if tokens.next.startswith("attribute_"):
        return _function(tokens.take(), list(_list(tokens)))
    return _comparison(tokens)


def _function(name: str, given: list[str]) -> Condition:
    if name == "attribute_exists":
        return lambda scope: scope.get(given[0]) is not None
    if name == "attribute_not_exists":
        return lambda scope: scope.get(given[0]) is None
    if name == "attribute_type":
        return lambda scope: (scope.get(given[1]) or {})["S"] in (scope.get(given[0]) or {})
    raise SyntaxError(name)


def _comparison(tokens: Tokens) -> Condition:
    left, symbol = tokens.take(), tokens.take("IN", *_COMPARISONS)
    rights = list(_list(tokens)) if symbol == "IN" else [tokens.take()]
    how = "=" if symbol == "IN" else symbol
    return lambda scope: any(_compare(how, scope.get(left), scope.get(each)) for each in rights)


def _list(tokens: Tokens) -> Iterator[str]:
    """Words in parentheses, with commas between."""
    tokens.take("(")
    yield tokens.take()
    while tokens.take(",", ")") == ",":
        yield tokens.take()


@cache
def _update(text: str) -> tuple[list[tuple[str, Operand]], list[str]]:
    """The clauses of SET, and the paths of REMOVE."""
    tokens = Tokens(text)
    sets: list[tuple[str, Operand]] = []
    removes: list[str] = []
    tokens.take("SET")
    while not sets or tokens.skip(","):
        path = tokens.take()
        tokens.take("=")
        sets.append((path, _sum(tokens)))
    if tokens.skip("REMOVE"):
        removes.append(tokens.take())
        while tokens.skip(","):
            removes.append(tokens.take())
    if tokens.next:
        raise SyntaxError(f"{text}: {tokens.next!r} is left")
    return sets, removes


def _sum(tokens: Tokens) -> Operand:
    left = _operand(tokens)
    if tokens.next not in {"+", "-"}:
        return left
    sign, right = (1 if tokens.take() == "+" else -1), _operand(tokens)

    def add(scope: Scope) -> Value:
        one, two = left(scope), right(scope)
        if one is None or two is None:
            raise SyntaxError("a sum of nothing")
        return {"N": str(_number(one) + sign * _number(two))}

    return add


def _operand(tokens: Tokens) -> Operand:
    name = tokens.take()
    if name != "if_not_exists":
        return lambda scope: scope.get(name)
    path, otherwise = _list(tokens)
    return lambda scope: scope.get(path) or scope.get(otherwise)
