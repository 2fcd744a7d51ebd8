"""All that speaks to AWS: sessions and their errors, the requests to DynamoDB and S3, who and where
this machine is. The other rooms see plain names such as TableMissing, never an error code.

May import: core.
"""
