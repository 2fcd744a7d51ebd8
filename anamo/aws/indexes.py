"""The indexes of a workflow table, as the file at the top of the repository defines them."""

import json
from pathlib import Path
from typing import Any

from anamo.core.capacity import Index

INDEX_FILE = Path(__file__).resolve().parents[1] / "workflow-gsi-index.json"


def index_definitions() -> list[dict[str, Any]]:
    """The indexes of a workflow table, as CreateTable takes them."""
    definitions: list[dict[str, Any]] = json.loads(INDEX_FILE.read_text(encoding="utf-8"))
    return definitions


def workflow_indexes() -> list[Index]:
    """The indexes of a workflow table."""
    return list(map(Index.from_definition, index_definitions()))
