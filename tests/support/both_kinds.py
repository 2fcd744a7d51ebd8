"""The mark of tests that run on both kinds of table.

It is not in `table`, since benchmarks import that without pytest.
"""

import pytest

both_kinds = pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"], indirect=True)
"""Runs a test on our tables, and on those of the original and of earlier versions: with wide
indexes, and with items that have "NULL" for what says nothing yet."""
