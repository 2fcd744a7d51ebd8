"""Errors of AWS: which may pass, and what a worker makes of credentials that are gone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import exceptions as faults
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import JSONFileLoader

from anamo.aws.log_store import LogStore, Packed
from anamo.aws.session import PlainModels, translate
from anamo.aws.table import WorkflowTable
from anamo.aws.table_writes import Holder
from anamo.core.errors import CredentialsExpired, CredentialsMissing, TransientError

NOT_NOW = faults.CredentialRetrievalError(provider="container-role", error_msg="timed out")


def answer(code: str, status: int = 400) -> ClientError:
    """What AWS answers with a code."""
    response: Any = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "UpdateItem")


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (answer("TransactionConflictException"), True),
        (answer("RequestTimeout"), True),
        (answer("InternalServerError", 500), True),
        (NOT_NOW, True),
        (answer("ValidationException"), False),
        (answer("AccessDenied", 403), False),
        (faults.NoCredentialsError(), False),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(
    error: ClientError | BotoCoreError, passing: bool
) -> None:
    assert isinstance(translate(error), TransientError) is passing


def failing(error: Exception) -> Any:
    """A client whose requests all fail."""

    def request(**_: object) -> None:
        raise error

    return SimpleNamespace(put_object=request, update_item=request)


def ask(client: Any, *renew: Any) -> None:
    """Put a log with that client."""
    LogStore(client, "bucket", *renew).put(Packed("key", b"", ()))


def renew_a_lease(client: Any, *renew: Any) -> None:
    """Renew a lease with that client."""
    WorkflowTable(client, "Table", None, *renew).renew(7, "lock", Holder("host", 2))


@pytest.mark.parametrize("request_", [ask, renew_a_lease])
@pytest.mark.parametrize("error", [faults.NoCredentialsError(), NOT_NOW, answer("ExpiredToken")])
def test_a_worker_waits_for_credentials_that_are_gone(request_: Any, error: Exception) -> None:
    def not_yet() -> None:
        raise CredentialsMissing

    for renew in (lambda: failing(error), not_yet):
        with pytest.raises(CredentialsExpired):
            request_(failing(error), renew)


def test_whoever_has_none_at_first_is_told_so() -> None:
    with pytest.raises(CredentialsMissing):
        ask(failing(faults.NoCredentialsError()))


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_a_service_model_is_what_botocore_would_have_read(tmp_path: Path, ending: str) -> None:
    model = {
        "operations": {"PutItem": {}, "GetItem": {"name": "é"}},
        "metadata": {"z": 1, "a": [2]},
    }
    written = json.dumps(model).encode()
    path = tmp_path / f"service-2{ending}"
    path.write_bytes(gzip.compress(written) if ending.endswith("gz") else written)
    name = str(tmp_path / "service-2")
    read, expected = (each.load_file(name) for each in (PlainModels(), JSONFileLoader()))
    assert read == expected == model
    assert list(read["operations"]) == list(expected["operations"]) == ["PutItem", "GetItem"]


def test_a_model_that_is_not_there_is_none() -> None:
    for nowhere in ("/nonexistent/service-2", f"{__file__}/service-2"):
        assert PlainModels().load_file(nowhere) is None
