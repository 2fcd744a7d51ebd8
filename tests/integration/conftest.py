"""Fixtures for the tests that cross the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scripts import Scripts
from tests.support.task_files import Importer


@pytest.fixture
def import_file(scripts: Scripts, tmp_path: Path) -> Importer:
    """The importer."""
    return Importer(scripts, tmp_path)
