"""A workflow table: administration, reads and writes over one base that sends a request."""

from anamo.aws.table_admin import TableAdmin
from anamo.aws.table_reads import TableReads
from anamo.aws.table_writes import TableWrites


class WorkflowTable(TableAdmin, TableReads, TableWrites):
    """One table and all that is asked of it. Threads may share it.

    Every request raises one of `core.errors`: TableMissing, AccessDenied, CredentialsMissing,
    Throttled, Unreachable, TransientError or AwsError.
    """
