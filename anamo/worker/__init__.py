"""One run of `pyanamo.py`: its processes, and in each of them claiming, running and recording.

May import: aws and core. What it shows it hands to functions it is given.
"""
