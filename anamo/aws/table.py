"""A workflow table: administration, reads and writes over one base that sends the requests."""

from anamo.aws.table_admin import TableAdmin
from anamo.aws.table_reads import TableReads
from anamo.aws.table_replacement import TableReplacement


class WorkflowTable(TableAdmin, TableReads, TableReplacement):
    """One table and every request to it. Threads may share it.

    Any request may raise TableMissing, AccessDenied, CredentialsMissing, Throttled, Unreachable,
    TransientError or AwsError, all of `core.errors`.
    """
