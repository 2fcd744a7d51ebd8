"""Notes which processes subprocess.Popen starts, and which clients boto3 and botocore make.

Python imports it at start-up where this folder is on PYTHONPATH. The variable WITNESS names the
file to which each event is appended as a line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import boto3.session
import botocore.session

_popen = subprocess.Popen.__init__
_boto3_client = boto3.session.Session.client
_botocore_client = botocore.session.Session.create_client


def _note(event: str, **details: object) -> None:
    with Path(os.environ["WITNESS"]).open("a") as file:
        file.write(json.dumps({"event": event, "process": os.getpid(), **details}) + "\n")


def _noted_popen(self: subprocess.Popen[Any], *given: Any, **options: Any) -> None:
    _popen(self, *given, **options)
    _note("Popen", pid=self.pid, new_session=options.get("start_new_session", False))


def _noted_boto3(self: boto3.session.Session, service: Any, *given: Any, **options: Any) -> Any:
    _note("boto3", service=service)
    return _boto3_client(self, service, *given, **options)


def _noted_botocore(
    self: botocore.session.Session, service: Any, *given: Any, **options: Any
) -> Any:
    _note("botocore", service=service)
    return _botocore_client(self, service, *given, **options)


if "WITNESS" in os.environ:
    subprocess.Popen.__init__ = _noted_popen  # type: ignore[method-assign]
    boto3.session.Session.client = _noted_boto3  # type: ignore[method-assign, assignment]
    botocore.session.Session.create_client = _noted_botocore  # type: ignore[method-assign, assignment]
