"""The operator's commands: they show the progress of tables and the logs of tasks, export tasks,
gate steps, requeue, remove, hold and resume items, and plan runs. Data goes to stdout; messages and
progress bars go to functions that are handed in.

May import: aws and core.
"""
