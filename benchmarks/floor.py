"""The floors: programs that do the least that can be done, run as commands.

python -m benchmarks.floor pool TASKS
python -m benchmarks.floor database TABLE
python -m benchmarks.floor puts TABLE FILE
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PROCESSES = 2
PUT_THREADS = 16


def pool(tasks: int) -> None:
    """Two processes that start `true` and wait for it."""
    with multiprocessing.Pool(PROCESSES) as workers:
        for _ in workers.imap_unordered(_one, range(tasks), chunksize=16):
            pass


def _one(_number: int) -> int:
    return subprocess.run(["true"], check=True).returncode


def database(table: str) -> None:
    """Two processes: claim, `true`, finish, each a conditional write; who does what is known."""
    client: DynamoDBClient = boto3.client("dynamodb")
    pages = client.get_paginator("scan").paginate(TableName=table, ProjectionExpression="itemID")
    ids = [int(item["itemID"]["N"]) for page in pages for item in page["Items"]]
    shares = [ids[number::PROCESSES] for number in range(PROCESSES)]
    processes = [multiprocessing.Process(target=_work, args=(table, share)) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit("a process failed")


def _work(table: str, share: Sequence[int]) -> None:
    client: DynamoDBClient = boto3.client("dynamodb")
    for item_id in share:
        update = partial(client.update_item, TableName=table, Key={"itemID": {"N": str(item_id)}})
        update(
            ConditionExpression="ItemState = :todo",
            UpdateExpression="SET ItemState = :locked, lockID = :mine",
            ExpressionAttributeValues={
                ":todo": {"S": "todo"},
                ":locked": {"S": "locked"},
                ":mine": {"S": "me"},
            },
        )
        subprocess.run(["true"], check=True)
        update(
            ConditionExpression="ItemState = :locked AND lockID = :mine",
            UpdateExpression="SET ItemState = :done",
            ExpressionAttributeValues={
                ":locked": {"S": "locked"},
                ":mine": {"S": "me"},
                ":done": {"S": "done"},
            },
        )


def puts(table: str, file: str) -> None:
    """Import a task file by conditional PutItem from 16 threads, as one writes it first."""
    from anamo.core.codec import encode
    from anamo.core.item import new_values
    from anamo.importer.task_file import Layout, read

    client: DynamoDBClient = boto3.client(
        "dynamodb", config=Config(max_pool_connections=PUT_THREADS)
    )

    def put(image: dict[str, object]) -> None:
        try:
            client.put_item(
                TableName=table,
                Item=image,  # type: ignore[arg-type]
                ConditionExpression="attribute_not_exists(itemID)",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    items = read(file, Layout("|"), [table]).items[table].values()
    with ThreadPoolExecutor(PUT_THREADS) as threads:
        for _ in threads.map(lambda item: put(encode(new_values(item))), items):
            pass


if __name__ == "__main__":
    program, *given = sys.argv[1:]
    if program == "pool":
        pool(int(given[0]))
    elif program == "database":
        database(given[0])
    else:
        puts(*given)
