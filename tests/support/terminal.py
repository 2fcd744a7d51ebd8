"""Runs a command on a terminal of its own: `python terminal.py COLUMNS TYPED COMMAND...`.

Whatever the command shows goes to stdout; its exit code is passed on.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios

CHUNK = 1 << 16


def main(columns: str, typed: str, *command: str) -> int:
    """Run the command; `typed` is what somebody types before it asks."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, int(columns), 0, 0))
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)
    os.write(terminal, typed.encode())
    while True:
        try:
            shown = os.read(terminal, CHUNK)
        except OSError:
            # Linux says so when the last process that had the terminal open ends
            break
        if not shown:
            break
        os.write(1, shown)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
