#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""PyAnamo's worker: takes items from a workflow table, runs their tasks, records the outcome.

With a command as its first word (status, logs, requeue and so on) it is the operator's tool.
"""

import os
import sys

if sys.version_info < (3, 10):
    sys.stderr.write(
        "pyanamo.py: needs Python 3.10 or newer; this is " + sys.version.split()[0] + "\n"
    )
    sys.exit(3)

# In a checkout without write permission, root would still leave byte code behind
if not os.stat(os.path.dirname(os.path.abspath(__file__))).st_mode & 0o200:
    sys.dont_write_bytecode = True

from anamo.cli.worker_command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
