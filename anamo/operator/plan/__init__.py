"""`pyanamo.py plan`: how long a table takes, what it costs, and where its ceiling is.

May import: operator, aws and core.
"""
