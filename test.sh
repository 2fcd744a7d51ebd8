#!/usr/bin/env bash
# Lints, type-checks and tests, on a Linux machine with Python 3.10 or newer. It needs Chromium and
# chromedriver, which it installs as root on Debian or Ubuntu, and elsewhere cloud-init's modules in
# .test/cloud-init; the rest is prepared once, in .test/.
#   ./test.sh             everything; --long includes the long tests
#   ./test.sh --quick     in under a minute, without Java, npm and Chromium: no local servers
#   ./test.sh --coverage  everything, and how much of the code it runs
# Further arguments go to pytest. PYTHON says which Python to use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source tools/venv.sh
source tools/engine.sh

# Each process of a run would compile every test anew
unset PYTHONDONTWRITEBYTECODE

prepared=$PWD/.test
venv=$prepared/venv

# has PROGRAM...: whether all of them are here.
has() {
  local program
  for program; do
    command -v "$program" >/dev/null || return 1
  done
}

# install_packages NAME...: installs packages of Debian or Ubuntu, which takes root.
install_packages() {
  ((EUID == 0)) && has apt-get || return 1
  echo "Installing $*" >&2
  apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$@" >/dev/null
}

# Chromium and its driver, for the tests of the report page. Without them tests would fail one after
# the other: better to say once what is missing.
prepare_chromium() {
  local packages=(chromium chromium-driver)
  if ! has chromium chromedriver && ! install_packages "${packages[@]}"; then
    echo "The tests of the report page need chromium and chromedriver, which are not here and could" \
      "not be installed (as root, on Debian: apt-get install ${packages[*]})." >&2
    exit 3
  fi
}

# Slurm and the tools of the workflow in examples/, for long tests.
prepare_examples() {
  has slurmctld munged bwa samtools bcftools ||
    install_packages slurm-wlm munge bwa samtools bcftools || true
}

# cloud-init's modules, for the test of what instances are told when they start. As a package it would
# set up this machine when it boots the next time: it is unpacked, and not installed.
prepare_cloud_init() {
  local target=$prepared/cloud-init download=$prepared/download
  local modules=$download/package/usr/lib/python3/dist-packages
  if [[ -d $target ]]; then
    return
  fi
  echo "Fetching cloud-init" >&2
  rm -rf "$download"
  mkdir "$download"
  if (cd "$download" && fetch_package cloud-init && dpkg-deb -x cloud-init_*.deb package) &&
    [[ -d $modules/cloudinit ]]; then
    mv "$modules" "$target"
    rm -rf "$download"
    return
  fi
  echo "The test of the template's user data needs cloud-init's Python modules from Debian's or" \
    "Ubuntu's package, which could not be fetched; copy its folder cloudinit into $target." >&2
  exit 3
}

# fetch_package NAME: a package of Debian or Ubuntu, into the working directory.
fetch_package() {
  apt-get download -qq "$1" 2>/dev/null || { apt-get update -qq && apt-get download -qq "$1"; }
}

# lint TARGET...: what mypy is to check, by default everything.
lint() {
  "$venv/bin/ruff" check
  "$venv/bin/ruff" format --check
  "$venv/bin/lint-imports"
  "$venv/bin/mypy" "$@"
}

if [[ ${1-} == --quick ]]; then
  venv=$prepared/quick
  prepare_venv "$venv" requirements.txt requirements-quick.txt
  # The other tests import packages that are not here
  lint anamo pyanamo.py import-items-generic.py tests/unit
  exec "$venv/bin/pytest" -n 4 --quick tests/unit "${@:2}"
fi

prepare_venv "$venv" requirements.txt requirements-quick.txt demo/requirements.txt \
  requirements-dev.txt
prepare_venv "$prepared/linters" requirements-linters.txt
prepare_engine "$prepared" "$venv"
prepare_chromium
if [[ " $* " == *" --long "* ]]; then
  prepare_examples
fi
prepare_cloud_init

lint
if [[ ${1-} == --coverage ]]; then
  shift
  "$venv/bin/coverage" erase
  status=0
  "$venv/bin/coverage" run -m pytest -n 6 --dist worksteal "$@" || status=$?
  "$venv/bin/coverage" combine --quiet
  "$venv/bin/coverage" report --skip-covered
  exit "$status"
fi
# More at once than there are cores, since tests mostly wait; a later -n 0 undoes it. A process that
# is through with its share takes over tests of others, since some tests take much longer than most
exec "$venv/bin/pytest" -n 6 --dist worksteal "$@"
