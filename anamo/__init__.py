"""PyAnamo: tasks of a workflow as items in DynamoDB, and the workers that run them."""

__version__ = "0.1.0"
