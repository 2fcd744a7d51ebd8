#!/usr/bin/env bash
# The example of the README from end to end, on a local DynamoDB and S3: no AWS account is needed,
# and nothing stays but the virtual environment in .demo/.
#   ./demo.sh          runs the example
#   ./demo.sh --shell  opens a shell in which commands of the README can be tried
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source tools/venv.sh

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
  export PYANAMO=$PWD PYANAMO_TABLE=$table S3_BUCKET=$bucket AWS_REGION=us-east-1
  cat >&2 <<EOF

DynamoDB and S3 are local, and the bucket $bucket is there. To begin:
  for i in {1..16}; do echo "Task-\${i}|\${PYANAMO_TABLE}|seq|\${i},2,3"; done > $work/tasks.txt
  python import-items-generic.py -t \${PYANAMO_TABLE} -d $work/tasks.txt -s "|" -n ',' --create-table
  python pyanamo.py -t "\${PYANAMO_TABLE}" -b "\${S3_BUCKET}" -r "\${AWS_REGION}" -i 2 -n 4
"exit" ends the shell, and both servers with it.
EOF
  echo "PS1='pyanamo demo \$ '" >"$work/bashrc"
  bash --noprofile --rcfile "$work/bashrc"
}

case ${1-} in
  "") venv=$PWD/.demo/venv more=() ;;
  # The README has commands of the AWS CLI
  --shell) venv=$PWD/.demo/shell more=(demo/requirements-shell.txt) ;;
  *)
    echo "usage: ./demo.sh [--shell]" >&2
    exit 2
    ;;
esac

prepare_venv "$venv" requirements.txt demo/requirements.txt "${more[@]}"
PATH=$venv/bin:$PATH
forget_account

work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Should this script be killed, so that no trap runs, the server ends as well: its stdin closes.
coproc SERVER { exec python demo/local_aws.py; }
read -r port <&"${SERVER[0]}"
export AWS_ENDPOINT_URL=http://127.0.0.1:$port
python -c "import boto3; boto3.client('s3').create_bucket(Bucket='$bucket')"

if [[ ${1-} == --shell ]]; then
  # How its last command ended says nothing of the demo
  open_shell || true
  exit
fi

for i in {1..16}; do echo "Task-$i|$table|seq|$i,2,3"; done >"$work/tasks.txt"
show head -n 3 "$work/tasks.txt"
show python import-items-generic.py -t "$table" -d "$work/tasks.txt" -s "|" -n ',' --create-table
show python pyanamo.py -t "$table" -b "$bucket" -r us-east-1 -i 2 -n 4
show python pyanamo.py status -t "$table" --by-task
show python pyanamo.py logs -t "$table" Task-7
