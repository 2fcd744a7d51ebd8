#!/usr/bin/env bash
# Lints, type-checks and tests, on any Linux machine with Python 3.10 or newer; whatever else that
# takes is prepared once, in .test/. Arguments go to pytest; --long includes the long tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source tools/venv.sh
source tools/engine.sh

prepared=$PWD/.test
venv=$prepared/venv

prepare_venv "$venv" requirements.txt demo/requirements.txt requirements-dev.txt
prepare_engine "$prepared" "$venv"

"$venv/bin/ruff" check
"$venv/bin/ruff" format --check
"$venv/bin/mypy"
exec "$venv/bin/pytest" "$@"
