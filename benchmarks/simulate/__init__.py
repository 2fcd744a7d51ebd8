"""The ceiling of a table, by simulation: the project's own finder, writes and retries above a model
of DynamoDB, in virtual time.

Guaranteed: a seed gives the same run; requests and units are those that DynamoDB Local counts,
which a test compares. Not guaranteed: what AWS does not document, such as when it splits a
partition: each such assumption is a flag.
"""
