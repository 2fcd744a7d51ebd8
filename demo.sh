#!/usr/bin/env bash
# The example of the README from end to end, on a local DynamoDB and S3: no AWS account is needed,
# and nothing stays but the virtual environment in .demo/. Arguments: see --help.
set -euo pipefail
from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
source tools/venv.sh
source tools/engine.sh

table=Testing bucket=demo-logs

# forget_account: the caller's account, configuration and proxies have no part in this.
forget_account() {
  local name
  for name in "${!AWS_@}"; do unset "$name"; done
  export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
  export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo AWS_DEFAULT_REGION=us-east-1
  export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
  export AWS_EC2_METADATA_DISABLED=true
}

# The packages have their byte code from pip; that of the scripts would stay in anamo/.
export PYTHONDONTWRITEBYTECODE=1

# show COMMAND...: runs it as if it had been typed.
show() {
  printf '\n$%s\n' "$(printf ' %q' "$@")"
  "$@"
}

# clean_up: ends the server, if it was started, and takes the task file away.
clean_up() {
  local server
  for server in $(jobs -p); do kill "$server" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}

# open_shell: a shell with what the README has set once its first lines have been pasted.
open_shell() {
  cat >&2 <<EOF

DynamoDB and S3 are local, and the bucket $bucket is there. To begin:
  for i in {1..16}; do echo "Task-\${i}|\${PYANAMO_TABLE}|seq|\${i},2,3"; done > $work/tasks.txt
  python import-items-generic.py -t \${PYANAMO_TABLE} -d $work/tasks.txt -s "|" -n ',' --create-table
  python pyanamo.py -t "\${PYANAMO_TABLE}" -b "\${S3_BUCKET}" -r "\${AWS_REGION}" -i 2 -n 4
"exit" ends the shell, and both servers with it.${kept:+ Tables and logs stay in $kept.}
EOF
  echo "PS1='pyanamo demo \$ '" >"$work/bashrc"
  # How its last command ended says nothing of the demo
  bash --noprofile --rcfile "$work/bashrc" || true
}

help="usage: ./demo.sh [--shell [COMMAND ...] | --keep FOLDER [COMMAND ...]]

Runs the example of the README on a local DynamoDB and S3.
  --shell        open a shell instead, in which commands of the README can be tried
  --keep FOLDER  the same; tables and logs stay in the folder
  COMMAND        run this in place of the shell"

usage() {
  echo "${help%%$'\n'*}" >&2
  exit 2
}

# The README has commands of the AWS CLI
venv=$PWD/.demo/shell more=(demo/requirements-shell.txt) kept=
case ${1-} in
  "") venv=$PWD/.demo/venv more=() ;;
  -h | --help)
    echo "$help"
    exit
    ;;
  --shell) shift ;;
  --keep)
    [[ ${2-} && $2 != -* ]] || usage
    kept=$(cd "$from" && realpath "$2")
    shift 2
    ;;
  *) usage ;;
esac
prepare_venv "$venv" requirements.txt demo/requirements.txt "${more[@]}"
PATH=$venv/bin:$PATH
forget_account

work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Should this script be killed, so that no trap runs, the servers end as well: their stdin closes.
if [[ $kept ]]; then
  # MiniStack needs another botocore than all else
  prepare_venv "$PWD/.demo/keep" demo/requirements-keep.txt
  prepare_engine "$PWD/.demo" "$PWD/.demo/keep"
  mkdir -p "$kept"
  coproc SERVER { exec .demo/keep/bin/python demo/kept_aws.py .demo "$kept"; }
else
  coproc SERVER { exec python demo/local_aws.py; }
fi
read -r AWS_ENDPOINT_URL_DYNAMODB AWS_ENDPOINT_URL_S3 <&"${SERVER[0]}" || exit 3
# README asks STS for the account's number: that must not leave this machine either
export AWS_ENDPOINT_URL_DYNAMODB AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL_STS=$AWS_ENDPOINT_URL_S3
python - "$bucket" <<'EOF'
import sys
import boto3
client = boto3.client("s3")
if sys.argv[1] not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
    client.create_bucket(Bucket=sys.argv[1])
EOF

if ((${#more[@]})); then
  export PYANAMO=$PWD PYANAMO_TABLE=$table S3_BUCKET=$bucket AWS_REGION=us-east-1
  if (($#)); then
    cd "$from"
    "$@"
  else
    open_shell
  fi
  exit
fi

for i in {1..16}; do echo "Task-$i|$table|seq|$i,2,3"; done >"$work/tasks.txt"
show head -n 3 "$work/tasks.txt"
show python import-items-generic.py -t "$table" -d "$work/tasks.txt" -s "|" -n ',' --create-table
show python pyanamo.py -t "$table" -b "$bucket" -r us-east-1 -i 2 -n 4
show python pyanamo.py status -t "$table" --by-task
show python pyanamo.py logs -t "$table" Task-7
