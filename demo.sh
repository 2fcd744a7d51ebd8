#!/usr/bin/env bash
# The example of the README from end to end, on a local DynamoDB and S3: no AWS account is needed,
# and nothing stays but the virtual environment in .demo/.
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

prepare_venv "$PWD/.demo/venv" requirements.txt demo/requirements.txt
PATH=$PWD/.demo/venv/bin:$PATH
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

for i in {1..16}; do echo "Task-$i|$table|seq|$i,2,3"; done >"$work/tasks.txt"
show head -n 3 "$work/tasks.txt"
show python import-items-generic.py -t "$table" -d "$work/tasks.txt" -s "|" -n ',' --create-table
show python pyanamo.py -t "$table" -b "$bucket" -r us-east-1 -i 2 -n 4
show python pyanamo.py status -t "$table" --by-task
show python pyanamo.py logs -t "$table" Task-7
