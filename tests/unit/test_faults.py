"""Errors of AWS: which may pass, and which will not."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from anamo.aws.faults import translate, unreadable
from anamo.core.errors import CredentialsExpired, TransientError

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


def test_a_proxys_page_is_said_on_one_line_and_cut() -> None:
    page = "<html>\n<head><title>502 Bad Gateway</title></head>\r\n" + "<p>nginx</p>\n" * 50
    error = answer("502", 502)
    error.response["Error"]["Message"] = page
    said = str(translate(error))
    assert said.startswith(
        "UpdateItem: <html> <head><title>502 Bad Gateway</title></head> <p>nginx"
    )
    assert len(said.splitlines()) == 1
    assert len(said) < 250
    assert said.endswith("…")


def test_what_aws_itself_says_is_not_cut() -> None:
    error = answer("AccessDeniedException")
    error.response["Error"]["Message"] = message = f"User: {'x' * 300} is not authorized"
    assert message in str(translate(error))


def test_expired_credentials_from_their_source_are_no_unreadable_answer() -> None:
    expired = "Credentials were refreshed, but the refreshed credentials are still expired."
    assert isinstance(unreadable(RuntimeError(expired)), CredentialsExpired)
    assert "cannot be read" in str(unreadable(RuntimeError("of a parser")))
