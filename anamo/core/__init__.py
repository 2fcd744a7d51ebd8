"""What an item is, its states and transitions, what is written of its tasks. No input or output.

May import: nothing of PyAnamo.
"""
