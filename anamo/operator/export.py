"""`pyanamo.py export`: one line per task on stdout, as TSV, JSON or Parquet.

Guaranteed: the tasks of a table of any size are not held in memory. TSV and Parquet, which begin
with their columns and have one for each tag, go through a temporary file: nothing is printed before
all of the tables has been read. Not guaranteed: that a JSON export is complete if an error ends it;
it then lacks its last line.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any

from anamo.core.errors import UsageError
from anamo.core.task import COLUMNS, Task
from anamo.operator import output

ROW_GROUP = 10_000
"""Rows that are converted to Parquet at once."""

NUMBERS = {
    "exit_code": "int64",
    "signal": "int64",
    "seconds": "float64",
    "max_rss_mb": "float64",
    "attempts": "int64",
}
"""The types of Parquet's columns that are not strings."""

Row = Mapping[str, Any]


def check_form(form: str) -> None:
    """Check that a form can be written here and now.

    Raises:
        UsageError: pyarrow is not installed, or stdout is a terminal.
    """
    if form != "parquet":
        return
    if find_spec("pyarrow") is None:
        raise UsageError(
            f"--output parquet needs pyarrow, which is not installed for {sys.executable}: "
            "pip install pyarrow"
        )
    if sys.stdout.isatty():
        raise UsageError("--output parquet is not for a terminal: add > tasks.parquet")


def export(tasks: Iterable[Task], form: str) -> None:
    """Print tasks as TSV, JSON or Parquet.

    Raises:
        AwsError: Or another error of the iterator `tasks`.
    """
    if form == "json":
        _print_json(task.row() for task in tasks)
        return
    with TemporaryFile("w+", encoding="ascii") as file:
        rows = _Rows(file, (task.row() for task in tasks))
        if form == "tsv":
            output.print_tsv(rows.columns, ([*map(row.get, rows.columns)] for row in rows))
        else:
            _write_parquet(rows)


def _print_json(rows: Iterable[Row]) -> None:
    """Print a list, with an object on each line."""
    before = "[\n"
    for row in rows:
        print(before, json.dumps(row), sep="", end="")
        before = ",\n"
    print("[]" if before == "[\n" else "\n]")


class _Rows:
    """Rows that are kept in a file, and read again from there.

    Attributes:
        columns: The names of all fields that a row has.
        long_ids: Whether all itemIDs are whole numbers of at most 64 bits.
    """

    def __init__(self, file: IO[str], rows: Iterable[Row]) -> None:
        self._file = file
        self.long_ids = True
        tags: set[str] = set()
        for row in rows:
            tags.update(row)
            item_id = row["itemID"]
            self.long_ids &= isinstance(item_id, int) and abs(item_id) < 1 << 63
            file.write(json.dumps(row) + "\n")
        self.columns = [*COLUMNS, *sorted(tags - set(COLUMNS))]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        return map(json.loads, self._file)


def _write_parquet(rows: _Rows) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    types = NUMBERS | ({"itemID": "int64"} if rows.long_ids else {})
    schema = pyarrow.schema([(name, types.get(name, "string")) for name in rows.columns])
    source = iter(rows)
    with ParquetWriter(sys.stdout.buffer, schema) as writer:
        while group := list(islice(source, ROW_GROUP)):
            if not rows.long_ids:
                group = [row | {"itemID": str(row["itemID"])} for row in group]
            writer.write_table(pyarrow.Table.from_pylist(group, schema))
