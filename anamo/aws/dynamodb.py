"""One request to DynamoDB for one table, and what its answer means.

Guaranteed: every request raises one of `core.errors`, or one of the refusals below, which the other
modules of this room turn into return values; the clock follows the answers' Date headers, and
what they cost is added up. Nothing outside this room sees an error code.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from anamo.aws.clock import DatabaseClock
from anamo.aws.consumed_capacity import READS, WRITES, CapacityMeter
from anamo.aws.session import renewed, translate
from anamo.core.codec import Values, decode, text
from anamo.core.errors import AwsError, ItemRefused, TableMissing, Throttled, TransientError
from anamo.core.item import NULL, Item

STATE_INDEX = "ItemStateIndex"

TASK_INDEX = "TaskStateIndex"

TRANSACTION_LIMIT = 100
"""Puts of one TransactWriteItems; keys of one BatchGetItem."""


class ConditionFailed(Exception):
    """A write's condition did not hold; `item` is what the table has instead, if anything."""

    def __init__(self, item: Values | None) -> None:
        super().__init__()
        self.item = item


class TableRequests:
    """One table. Threads may share it.

    meter: what its requests have cost. renew_client: makes another client once the credentials of
    this one have expired.
    """

    def __init__(
        self,
        client: Any,
        name: str,
        clock: DatabaseClock | None = None,
        renew_client: Callable[[], Any] | None = None,
    ) -> None:
        self._client = client
        self._renew_client = renew_client
        self.name = name
        self.clock = clock or DatabaseClock()
        self.meter = CapacityMeter()

    def send(
        self, method: Callable[..., Mapping[str, Any]], named: bool = True, **request: Any
    ) -> Mapping[str, Any]:
        """One request; its answer's Date header corrects the clock, its units go to the meter."""
        if named:
            request["TableName"] = self.name
        if method.__name__ in READS | WRITES:
            request.setdefault("ReturnConsumedCapacity", "TOTAL")
        sent = self.clock.monotonic()
        try:
            answer = method(**request)
        except ClientError as error:
            self._learn(error.response, sent)
            raise self._renew(self._fault(error)) from error
        except BotoCoreError as error:
            raise self._renew(translate(error)) from error
        self._learn(answer, sent)
        self.meter.answered(method.__name__, answer)
        return answer

    def _renew(self, fault: Exception) -> Exception:
        if isinstance(fault, AwsError):
            self._client, fault = renewed(self._client, fault, self._renew_client)
        return fault

    def _fault(self, error: ClientError) -> Exception:
        """The error of ours that says the same."""
        fault = _from_dynamodb(error, self.name)
        if isinstance(fault, ConditionFailed):
            self.meter.refused(fault.item)
        return fault

    def _learn(self, answer: Mapping[str, Any], sent: float) -> None:
        self.clock.learn(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}), sent)


class TableExists(Exception):
    """CreateTable found the table."""


class Cancelled(Exception):
    """A transaction was cancelled, for a reason a put."""

    def __init__(self, reasons: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._reasons = reasons

    def states_there(self, items: Sequence[Item], table: str) -> dict[int, str]:
        """The states of the items that exist already; raises if that is not why."""
        there = {}
        codes = set()
        for item, reason in zip(items, self._reasons, strict=False):
            code = reason.get("Code", "None")
            codes.add(code)
            if code == "ConditionalCheckFailed":
                existing = decode(reason.get("Item") or {})
                there[item.item_id] = text(existing, "ItemState", NULL)
        if there:
            return there
        if codes & {"ThrottlingError", "ProvisionedThroughputExceeded"}:
            raise Throttled(f"table {table}: writes are throttled")
        if "TransactionConflict" in codes:
            raise TransientError(f"table {table}: another import writes the same items")
        said = next((reason["Message"] for reason in self._reasons if "Message" in reason), codes)
        raise AwsError(f"table {table}: the import was refused: {said}")


def _from_dynamodb(error: ClientError, table: str) -> Exception:
    """DynamoDB's own error codes; `aws.translate` knows those all services share."""
    answer: Any = error.response
    code = answer.get("Error", {}).get("Code")
    if code == "ConditionalCheckFailedException":
        return ConditionFailed(decode(answer["Item"]) if "Item" in answer else None)
    if code == "TransactionCanceledException":
        return Cancelled(answer.get("CancellationReasons", []))
    if code == "ResourceInUseException":
        return TableExists()
    if code == "ValidationException" and error.operation_name == "UpdateItem":
        return ItemRefused(f"table {table}: {answer['Error'].get('Message', code)}")
    if code == "ResourceNotFoundException":
        return TableMissing(f"table {table} does not exist")
    translation = translate(error)
    return type(translation)(f"table {table}: {translation}")
