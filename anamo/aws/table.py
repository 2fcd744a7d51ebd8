"""A workflow table: administration, reads and writes over one base that sends the requests."""

from anamo.aws.operator_writes import OperatorWrites
from anamo.aws.table_admin import TableAdmin
from anamo.aws.table_reads import TableReads


class WorkflowTable(TableAdmin, TableReads, OperatorWrites):
    """One table and every request to it. Threads may share it.

    Any request may raise TableMissing, AccessDenied, CredentialsMissing, Throttled, Unreachable,
    TransientError or AwsError, all of `core.errors`.
    """
