"""All that speaks to AWS: sessions, retries, the requests to DynamoDB and S3, the identity of this
host. The other rooms see exceptions such as TableMissing, never an error code.

May import: core.
"""
