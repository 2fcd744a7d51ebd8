"""The operator's commands: how far is it, what did tasks say, putting right what failed.

Nothing of the worker or the importer imports it.
"""
