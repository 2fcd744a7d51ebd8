#!/usr/bin/env bash
# Lints, type-checks and tests, on any Linux machine with Python 3.10 or newer; whatever else that
# takes is prepared once, in .test/. Arguments go to pytest; --long includes the long tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source tools/venv.sh
source tools/engine.sh

prepared=$PWD/.test
venv=$prepared/venv

# Chromium and its driver, for the tests of the report page, from Debian's or Ubuntu's packages.
# Without them tests would fail one after the other: better to say once what is missing.
prepare_chromium() {
  local packages=(chromium chromium-driver)
  if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    return
  fi
  if ((EUID == 0)) && command -v apt-get >/dev/null; then
    echo "Installing ${packages[*]}" >&2
    if apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
      apt-get install -qq --no-install-recommends "${packages[@]}" >/dev/null; then
      return
    fi
  fi
  echo "The tests of the report page need chromium and chromedriver, which are not here and could" \
    "not be installed (as root, on Debian: apt-get install ${packages[*]})." >&2
  exit 3
}

prepare_venv "$venv" requirements.txt demo/requirements.txt requirements-dev.txt
prepare_engine "$prepared" "$venv"
prepare_chromium

"$venv/bin/ruff" check
"$venv/bin/ruff" format --check
"$venv/bin/mypy"
# More at once than there are cores, since tests mostly wait; a later -n 0 undoes it
exec "$venv/bin/pytest" -n 4 "$@"
