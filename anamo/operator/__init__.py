"""The operator's commands: show the progress of tables and the logs of tasks, requeue, remove.

Imports `aws` and `core`; of the rooms above, only `cli` imports it.
"""
