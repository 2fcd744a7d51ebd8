#!/usr/bin/env python3
"""PyAnamo's importer: fills workflow tables from a delimited task file."""

import sys

from anamo.cli.import_command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
