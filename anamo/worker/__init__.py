"""One run of `pyanamo.py`: its processes, and in each of them claiming, running and recording.

May import: aws and core. Output goes through callables passed in by the caller.
"""
