"""What a command line means by its words: which tables, and which samples.

Of the words after a -t the first is a table. Each further one is a table as long as there is a
table of that name; the first that is not, and all after it, are task ids or itemIDs, as are the
words that stand after no -t. Guaranteed: tables that do not exist are found before anything is
done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from anamo.aws import session
from anamo.aws.retry import OperatorRetry
from anamo.aws.table import WorkflowTable
from anamo.core.errors import AccessDenied, AwsError, TableMissing, TableUnusable
from anamo.core.text import is_table_name

UNUSABLE = (TableMissing, TableUnusable, AccessDenied)
"""Faults of a table that say nothing of the others."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a command line.

    Attributes:
        tables: Those after each -t.
        names: Task ids and itemIDs.
        region: The AWS region; None for the configured one.
    """

    tables: Sequence[Sequence[str]]
    names: Sequence[str]
    region: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """The tables and names that the words of a command line mean.

    Attributes:
        tables: The tables that can be read, in the order of the workflow's steps.
        names: Task ids and itemIDs, each once; none for all items.
        doubtful: Those of the names that stand after a -t, each with why it cannot be read as a
            table; None where it was not asked for, since it stands after another name.
        faults: Why the other tables cannot be read, by name.
    """

    tables: Sequence[WorkflowTable]
    names: Sequence[str]
    doubtful: Mapping[str, AwsError | None]
    faults: Mapping[str, AwsError]

    def check(self) -> None:
        """Raise the fault of the first table that cannot be read, if there is one.

        Raises:
            AwsError: The fault.
        """
        for fault in self.faults.values():
            raise fault


def find_target(words: Words, retry: OperatorRetry, *, samples: bool = True) -> Target:
    """The tables and names that words mean.

    Args:
        words: The words of a command line.
        retry: Sends the requests; its `where` is set to DynamoDB's address.
        samples: Whether the command takes names of samples; if not, all words after -t are tables.

    Raises:
        AwsError: A request failed for another reason than its table.
    """
    client = session.dynamodb_client(words.region)
    retry.where = session.where(client)
    renew = partial(session.dynamodb_client, words.region, renew=True)
    tables: dict[str, WorkflowTable] = {}
    faults: dict[str, AwsError] = {}
    doubtful: dict[str, AwsError | None] = {}
    for group in words.tables:
        for position, word in enumerate(group):
            if word in tables or word in faults:
                continue
            # Credentials that are missing are not waited for; those that expire later are
            probe = WorkflowTable(client, word)
            fault = _fault(probe, retry)
            if fault and position and samples:
                doubtful |= {word: fault, **dict.fromkeys(group[position + 1 :])}
                break
            if fault:
                faults[word] = fault
            else:
                tables[word] = WorkflowTable(client, word, probe.clock, renew)
    names = dict.fromkeys([*words.names, *doubtful])
    return Target([*tables.values()], [*names], doubtful, faults)


def _fault(table: WorkflowTable, retry: OperatorRetry) -> AwsError | None:
    """Why a table cannot be read; None where it can."""
    if not is_table_name(table.name):
        return TableUnusable(f"{table.name!r} cannot be the name of a DynamoDB table")
    try:
        # Whoever may read the table need not be allowed to describe it
        retry(table.last_todo)
    except UNUSABLE as fault:
        return fault
    return None
