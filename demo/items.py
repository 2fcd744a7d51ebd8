"""Shows what a workflow table holds after a run: its items, or the whole log of one of them."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import urlsplit

import boto3
from rich.console import Console
from rich.table import Table


def items(name: str) -> list[dict[str, Any]]:
    """Return the items of a table of the demo's size, in the order of their task ids."""
    found: list[dict[str, Any]] = boto3.resource("dynamodb").Table(name).scan()["Items"]
    return sorted(found, key=lambda item: (len(item["taskID"]), item["taskID"]))


def show_states(name: str) -> None:
    """Print a line for each item."""
    lines = Table("taskID", "itemID", "ItemState", "nested tasks", "first log", box=None)
    for item in items(name):
        entry = item["Log"]["Task_0"]
        lines.add_row(
            item["taskID"],
            str(item["itemID"]),
            item["ItemState"],
            f"{len(item['Log'])} of {item['Nested_Tasks']} ended",
            entry["Status"],
        )
    Console().print(lines)


def write_logs(name: str, task_id: str) -> None:
    """Write the log objects of an item to stdout as they are in S3: gzip, one after the other."""
    item = next(item for item in items(name) if item["taskID"] == task_id)
    for address in dict.fromkeys(entry["S3"] for entry in item["Log"].values()):
        place = urlsplit(address)
        log = boto3.client("s3").get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
        sys.stdout.buffer.write(log["Body"].read())


def main() -> None:
    """Show the states, or with --log a log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--log", metavar="TASK_ID", help="write the gzipped log of this item")
    options = parser.parse_args()
    if options.log:
        write_logs(options.table, options.log)
    else:
        show_states(options.table)


if __name__ == "__main__":
    main()
