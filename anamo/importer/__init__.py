"""From a delimited task file to items in a table.

May import: aws and core.
"""
