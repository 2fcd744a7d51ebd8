#!/usr/bin/env bash
# Compares PyAnamo with floors and peers on this machine, and prints a report in Markdown; what
# that takes is prepared once, in .bench/, without root. Arguments: see --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/venv.sh
source tools/engine.sh

prepared=$PWD/.bench
venv=$prepared/venv

# A peer that cannot be had is left out, which the report mentions.
optional() {
  bash -euo pipefail -c "source tools/venv.sh; $1" >&2 || echo "Cannot be had here: $2" >&2
}

# Programs of Debian's packages, unpacked where the machine has none.
prepare_debian() {
  local target=$prepared/debian
  [[ -d $target ]] && return
  rm -rf "$target.part" && mkdir -p "$target.part"
  echo "Fetching nginx and GNU parallel" >&2
  if unpack_debian "$target.part"; then
    mv "$target.part" "$target"
  else
    echo "Cannot be had here: packages of Debian" >&2
  fi
}

# Each step exits on its own if it fails: in an if, bash ignores `set -e`.
unpack_debian() (
  cd "$1" || exit
  apt-get download -qq nginx parallel libdbd-sqlite3-perl libdbi-perl 2>/dev/null || exit
  for package in *.deb; do
    dpkg -x "$package" . || exit
    rm "$package" || exit
  done
)

# Until the benchmark ends: two of them would disturb each other's figures
mkdir -p "$prepared"
exec {lock}>"$prepared/lock"
if ! flock --nonblock "$lock"; then
  echo "Another benchmark is running in this clone: wait until it has ended." >&2
  exit 1
fi

prepare_venv "$venv" requirements.txt benchmarks/requirements.txt
prepare_engine "$prepared" "$venv"
prepare_debian
optional "prepare_venv '$prepared/hypershell' benchmarks/hypershell.txt" HyperShell

exec "$venv/bin/python" -m benchmarks "$@"
