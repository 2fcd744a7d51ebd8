#!/bin/bash
# User data of an EC2 instance that works through a table and then ends itself. It is for Amazon
# Linux 2023, whose standard AMI has the AWS CLI; launch it with
#   ami=/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64
#   aws ec2 run-instances --instance-initiated-shutdown-behavior terminate \
#     --image-id "resolve:ssm:$ami" --iam-instance-profile Name=pyanamo-worker \
#     --user-data file://user-data.sh …
# cloud-init runs it as root at the first boot; its output is in /var/log/cloud-init-output.log.
set -eu

# What to work on, and where a copy of the project is: git archive HEAD | gzip | aws s3 cp - …
export AWS_DEFAULT_REGION=us-east-1
tables=(Align)
bucket=my-logs
source=s3://my-logs/software/pyanamo.tar.gz

# However this ends: an instance that does nothing costs as much as one that works
trap 'shutdown -h now' EXIT

# The system's own python3 is 3.9, which is too old
dnf install --assumeyes --quiet python3.12
export PYANAMO=/opt/pyanamo
mkdir -p "$PYANAMO"
aws s3 cp "$source" - | tar -xz -C "$PYANAMO"
python3.12 -m venv "$PYANAMO/venv"
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
