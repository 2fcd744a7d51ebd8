"""One request to DynamoDB for one table, and what its response means.

Guaranteed: a request that fails raises one of `core.errors`, or one of the exceptions below, which
the other modules of this room turn into return values. Handlers of boto3's events set the clock by
the Date headers of responses and add up consumed capacity, whatever wraps the client. Nothing
outside this room sees an error code.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import OperationModel

from anamo.aws.clock import DatabaseClock
from anamo.aws.consumed_capacity import READS, WRITES, CapacityMeter
from anamo.aws.faults import is_throttling, translate, unreadable
from anamo.aws.session import renewed
from anamo.core.codec import ItemId, Values, decode, text
from anamo.core.errors import (
    AwsError,
    ItemRefused,
    TableMissing,
    TableUnusable,
    Throttled,
    TransientError,
)
from anamo.core.item import NULL, Item

logger = logging.getLogger(__name__)

STATE_INDEX = "ItemStateIndex"

TASK_INDEX = "TaskStateIndex"

INSTANCE_INDEX = "InstanceStateIndex"

TRANSACTION_LIMIT = 100
"""Writes of one TransactWriteItems; keys of one BatchGetItem."""


class ConditionFailed(Exception):
    """A write's condition does not hold; `item` is the item as it is, None if there is none."""

    def __init__(self, item: Values | None) -> None:
        super().__init__()
        self.item = item


class TableRequests:
    """Sends the requests of one table. Threads may share it.

    Args:
        client: A boto3 client of DynamoDB; tables may share it.
        name: The table's name.
        clock: The clock to set; None is a new one.
        renew_client: Makes another client once the credentials of this one have expired.

    Attributes:
        clock: DynamoDB's time, learned from this table's responses.
        meter: What this table's requests have consumed.
    """

    def __init__(
        self,
        client: Any,
        name: str,
        clock: DatabaseClock | None = None,
        renew_client: Callable[[], Any] | None = None,
    ) -> None:
        self._client = observed(client)
        self._renew_client = renew_client
        self.name = name
        self.clock = clock or DatabaseClock()
        self.meter = CapacityMeter()

    @property
    def region(self) -> str:
        """The AWS region that its requests go to."""
        return str(self._client.meta.region_name)

    def send(
        self, method: Callable[..., Mapping[str, Any]], named: bool = True, **request: Any
    ) -> Mapping[str, Any]:
        """Send one request.

        Args:
            method: The client's method.
            named: Whether the request has a TableName.
            request: Its other parameters.

        Returns:
            The response as boto3 has it.

        Raises:
            AwsError: Or one of its subclasses.
            ConditionFailed: The write's condition does not hold.
            Cancelled: The transaction was cancelled.
            TableExists: The table to be created exists.
        """
        if named:
            request["TableName"] = self.name
        sending = _sending.set(self)
        try:
            return _whole(method(**request), request)
        except ClientError as error:
            raise self._renew(_from_dynamodb(error, self.name, self.region)) from error
        except BotoCoreError as error:
            raise self._renew(translate(error)) from error
        except Exception as error:
            logger.debug("request to table %s", self.name, exc_info=True)
            fault = unreadable(error)
            raise type(fault)(f"table {self.name}: {fault}") from error
        finally:
            _sending.reset(sending)

    def _renew(self, fault: Exception) -> Exception:
        if isinstance(fault, AwsError):
            client, fault = renewed(self._client, fault, self._renew_client)
            self._client = observed(client)
        return fault


_sending: ContextVar[TableRequests | None] = ContextVar("_sending", default=None)
"""The table that this thread is sending a request for: tables share clients, whose events do not
say which table a request is for."""


def observed(client: Any) -> Any:
    """Register the handlers that set clocks and add to meters, unless the client has them already.

    Requests that do not come from `TableRequests.send` are left alone.
    """
    for event, handler in _HANDLERS.items():
        client.meta.events.register(event, handler, unique_id=f"pyanamo-{event}")
    return client


def _ask_for_capacity(params: dict[str, Any], model: OperationModel, **_: Any) -> None:
    if _sending.get() and model.name in READS | WRITES:
        params.setdefault("ReturnConsumedCapacity", "TOTAL")


def _note_time(context: dict[str, Any], **_: Any) -> None:
    if table := _sending.get():
        context["pyanamo_sent"] = table.clock.monotonic()


class _BadResponse(Exception):
    """What came with status 200 is not a response of DynamoDB."""


_MEMBERS = {
    "BatchGetItem": "Responses",
    "DescribeTable": "Table",
    "Query": "Items",
    "Scan": "Items",
}
"""What a response to these operations always has."""


def _check(parsed: Mapping[str, Any], model: OperationModel, http_response: Any) -> None:
    """Raise _BadResponse for a response that cannot be DynamoDB's.

    botocore takes a body that is not JSON, such as a proxy's HTML, for a response without members:
    after an update that would mean that it was applied.
    """
    member = _MEMBERS.get(model.name)
    if member and member not in parsed:
        raise _BadResponse(f"it has no {member}")
    empty = parsed.keys() <= {"ResponseMetadata"}
    if empty and not isinstance(json.loads(http_response.content), dict):
        raise _BadResponse("it is no JSON object")


def _whole(response: Mapping[str, Any], request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The response; raises _BadResponse where the item that the request asks for is not in it."""
    if request.get("ReturnValues") == "ALL_NEW" and "Attributes" not in response:
        raise _BadResponse("it has no item")
    return response


def _learn(
    parsed: Mapping[str, Any],
    model: OperationModel,
    context: Mapping[str, Any],
    http_response: Any,
    **_: Any,
) -> None:
    """Set the clock and add to the meter by a response, which may be an error."""
    if not (table := _sending.get()):
        return
    if "Error" not in parsed:
        _check(parsed, model, http_response)
    headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    table.clock.learn(headers, context["pyanamo_sent"])
    if "Error" not in parsed:
        table.meter.succeeded(model.name, parsed)
    elif parsed["Error"].get("Code") == _CONDITION_FAILED:
        table.meter.condition_failed(decode(parsed.get("Item", {})))


def _count_throttling(response: tuple[Any, Mapping[str, Any]] | None, **_: Any) -> None:
    """Count an attempt that was throttled: botocore retries on its own, without reporting it."""
    if (table := _sending.get()) and response:
        _, parsed = response
        if is_throttling(parsed.get("Error", {}).get("Code", "")):
            table.meter.throttled()


_HANDLERS: dict[str, Callable[..., None]] = {
    "provide-client-params.dynamodb": _ask_for_capacity,
    "before-call.dynamodb": _note_time,
    "after-call.dynamodb": _learn,
    "needs-retry.dynamodb": _count_throttling,
}

_CONDITION_FAILED = "ConditionalCheckFailedException"


class TableExists(Exception):
    """The table to be created exists already."""


class Cancelled(Exception):
    """A transaction was cancelled; there is a reason for each of its writes."""

    def __init__(self, reasons: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._reasons = reasons

    def existing_states(self, items: Sequence[Item], table: str) -> dict[ItemId, str]:
        """The states of the items whose conditions failed.

        Args:
            items: The transaction's items, in its order.
            table: The table's name, for messages.

        Returns:
            Their states by itemID, at least one.

        Raises:
            Throttled: Writes are throttled.
            TransientError: Another transaction writes the same items.
            AwsError: DynamoDB rejected the transaction for another reason.
        """
        found: dict[ItemId, str] = {}
        codes = set()
        for item, reason in zip(items, self._reasons, strict=False):
            code = reason.get("Code", "None")
            codes.add(code)
            if code == "ConditionalCheckFailed":
                existing = decode(reason.get("Item") or {})
                found[item.item_id] = text(existing, "ItemState", NULL)
        if found:
            return found
        if codes & {"ThrottlingError", "ProvisionedThroughputExceeded"}:
            raise Throttled(f"table {table}: writes are throttled")
        if "TransactionConflict" in codes:
            raise TransientError(f"table {table}: another transaction is writing the same items")
        why = next((reason["Message"] for reason in self._reasons if "Message" in reason), codes)
        raise AwsError(f"table {table}: the import was rejected: {why}")


def _from_dynamodb(error: ClientError, table: str, region: str) -> Exception:
    """DynamoDB's own error codes; `faults.translate` knows those that all services share."""
    response: Any = error.response
    code = response.get("Error", {}).get("Code")
    if code == _CONDITION_FAILED:
        return ConditionFailed(decode(response["Item"]) if "Item" in response else None)
    if code == "TransactionCanceledException":
        return Cancelled(response.get("CancellationReasons", []))
    if code == "ResourceInUseException":
        return TableExists()
    message = response.get("Error", {}).get("Message", code)
    if code == "ValidationException" and error.operation_name == "UpdateItem":
        return ItemRefused(f"table {table}: {message}")
    if code == "ResourceNotFoundException":
        return TableMissing(f"table {table} does not exist in {region}")
    if code == "ValidationException" and "does not have the specified index" in message:
        fault: AwsError = TableUnusable(f"table {table} is not a workflow table: {message}")
    else:
        translation = translate(error)
        fault = type(translation)(f"table {table}: {translation}")
    return fault
