"""The real cloud-init at work on user data, in a folder instead of /var/lib/cloud.

    python tests/support/cloud_init.py FOLDER

It reads user data from standard input, splits it into parts, and runs those that are scripts, in
their order: what it does with user data at the first boot of an instance, and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[2] / ".test" / "cloud-init"
MISSING = "cloud-init is not prepared: run ./test.sh"


def boot(user_data: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the scripts in user data, in a process of its own."""
    assert (LIBRARY / "cloudinit").is_dir(), MISSING
    return subprocess.run(
        [sys.executable, __file__, str(folder)],
        input=user_data,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def main(folder: str, user_data: str) -> None:
    """What cloud-init's stages `init` and `final` do with scripts."""
    sys.path.append(str(LIBRARY))
    from importlib import import_module

    def module(name: str) -> Any:
        return import_module(f"cloudinit.{name}")

    handlers, helpers = module("handlers"), module("helpers")
    paths = helpers.Paths({"cloud_dir": folder, "run_dir": folder})
    known = helpers.ContentHandlers()
    known.register(module("handlers.shell_script").ShellScriptPartHandler(paths))
    walk = {"handlers": known, "data": None, "frequency": "once-per-instance", "excluded": []}
    parts = module("user_data").UserDataProcessor(paths).process(user_data)
    handlers.walk(parts, handlers.walker_callback, walk)
    module("subp").runparts(paths.get_ipath_cur("scripts"))


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.read())
