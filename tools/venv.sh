# Sourced by demo.sh and test.sh: how they make the virtual environments they run in.

unset PYTHONHOME PYTHONPATH # the caller's packages are not part of what is tried

# usable_python: prints the Python to use, or says what is missing and fails.
usable_python() {
  local python=${PYTHON:-python3}
  if ! command -v "$python" >/dev/null; then
    echo "There is no $python here: install Python 3.10 or newer, or set PYTHON to its path." >&2
  elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "$("$python" --version 2>&1) is too old: set PYTHON to a Python 3.10 or newer." >&2
  elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$python lacks its venv module (on Debian and Ubuntu: apt-get install python3-venv)." >&2
  else
    echo "$python"
    return
  fi
  return 2
}

# prepare_venv FOLDER FILE...: a virtual environment with what these requirements files ask for.
# The stamp is written last, and tells what it was made of: one that was interrupted, moved, or
# made for other requirements or by another Python is made anew.
prepare_venv() {
  local venv=$1 python stamp
  shift
  python=$(usable_python)
  stamp=$({ echo "$venv" && "$python" -VV && cat "$@"; } | sha256sum)
  if [[ -f $venv/stamp && $(<"$venv/stamp") == "$stamp" ]]; then
    return
  fi
  echo "Making $venv" >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${@/#/--requirement=}"
  echo "$stamp" >"$venv/stamp"
}
