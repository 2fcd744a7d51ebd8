"""Errors of AWS: which may pass, and which will not."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from anamo.aws.faults import translate
from anamo.core.errors import TransientError

NOT_NOW = exceptions.CredentialRetrievalError(provider="container-role", error_msg="timed out")


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
        (exceptions.NoCredentialsError(), False),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(
    error: ClientError | BotoCoreError, passing: bool
) -> None:
    assert isinstance(translate(error), TransientError) is passing
