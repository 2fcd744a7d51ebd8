#!/usr/bin/env python3
"""PyAnamo's worker: takes items from a workflow table, runs their tasks, records the outcome.

With a command as its first word (status, logs, requeue, remove) it is the operator's tool.
"""

import sys

from anamo.cli.worker_command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
