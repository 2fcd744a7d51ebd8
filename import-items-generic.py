#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""PyAnamo's importer: fills workflow tables from a delimited task file."""

import os
import sys

if sys.version_info < (3, 10):
    sys.stderr.write(
        "import-items-generic.py: needs Python 3.10 or newer; this is "
        + sys.version.split()[0]
        + "\n"
    )
    sys.exit(3)

# In a checkout without write permission, root would still leave byte code behind
if not os.stat(os.path.dirname(os.path.abspath(__file__))).st_mode & 0o200:
    sys.dont_write_bytecode = True

from anamo.cli.import_command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
