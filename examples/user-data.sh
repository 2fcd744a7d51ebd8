#!/bin/bash
# User data of an EC2 instance that works through a table and then ends itself: launch it with
#   aws ec2 run-instances --instance-initiated-shutdown-behavior terminate \
#     --iam-instance-profile Name=pyanamo-worker --user-data file://user-data.sh …
# cloud-init runs it as root at the first boot; its output is in /var/log/cloud-init-output.log.
set -eu

# What to work on, and where a copy of the project is: git archive HEAD | gzip | aws s3 cp - …
export AWS_DEFAULT_REGION=us-east-1
tables=(Align)
bucket=my-logs
source=s3://my-logs/software/pyanamo.tar.gz

# However this ends: an instance that does nothing costs as much as one that works
trap 'shutdown -h now' EXIT

export PYANAMO=/opt/pyanamo
mkdir -p "$PYANAMO"
aws s3 cp "$source" - | tar -xz -C "$PYANAMO"
python3 -m venv "$PYANAMO/venv"
"$PYANAMO/venv/bin/pip" install --quiet --requirement "$PYANAMO/requirements.txt"

# As many items at once as there are processors. 75 means that there is more to do: after the notice
# that EC2 takes the instance away the worker takes no more, and the shutdown comes first
status=75
while ((status == 75)); do
  status=0
  "$PYANAMO/venv/bin/python" "$PYANAMO/pyanamo.py" -t "${tables[@]}" -b "$bucket" \
    -i "$(nproc)" --wait || status=$?
  if ((status == 75)); then
    sleep 60
  fi
done
exit "$status"
