"""The command lines: flags, exit codes, messages. Each script's `main` is here.

May import: every other room.
"""
