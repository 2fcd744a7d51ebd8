"""From a task file or a sample sheet to items in a table.

May import: aws and core.
"""
