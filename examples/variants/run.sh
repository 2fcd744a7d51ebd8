#!/bin/bash
# A workflow from reads to variants, in three steps:
#   Align   a task for each sample
#   Call    a task for each chromosome of each sample, once the sample is aligned
#   Merge   a task for each sample, once all of its chromosomes are called
# on data made for it, whose variants are known: examples/variants/run.sh FOLDER
# It needs bwa, samtools and bcftools (Debian: apt-get install bwa samtools bcftools), the AWS CLI,
# and a DynamoDB and S3: an AWS account, or `./demo.sh --shell`. BUCKET is one that exists.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYANAMO=${here%/examples/variants}
if (($# != 1)); then
  echo "usage: examples/variants/run.sh FOLDER" >&2
  exit 2
fi
mkdir -p "$1"
DATA=$(cd "$1" && pwd)
bucket=${BUCKET:-${S3_BUCKET:?is not set: BUCKET is where logs and the reference go}}
export DATA SCRATCH=$DATA/scratch REFERENCE=s3://$bucket/reference

for program in bwa samtools bcftools aws; do
  if ! command -v "$program" >/dev/null; then
    echo "$program is not installed: apt-get install bwa samtools bcftools, and the AWS CLI" >&2
    exit 1
  fi
done

import() { python3 "$PYANAMO/import-items-generic.py" -d - -s '|' --create-table "$@"; }
pilot() { "$PYANAMO/examples/pilot.sh" -b "$bucket" -i 2 -n 2 "$@"; }
pyanamo() { python3 "$PYANAMO/pyanamo.py" "$@"; }
step() { printf '\n== %s\n' "$1" >&2; }

step "Make the data; the reads of S4 have not come yet"
python3 "$here/make_data.py" "$DATA"
mv "$DATA/reads/S4_1.fastq.gz" "$DATA/S4_1.fastq.gz"
aws s3 cp --only-show-errors --recursive "$DATA/reference" "$REFERENCE"

step "Import all three steps; the later two are held"
for sample in S1 S2 S3 S4; do
  echo "$sample|Align|bash $here/align.sh $sample"
done | import -t Align
for sample in S1 S2 S3 S4; do
  echo "$sample|Call|bash $here/call.sh $sample|chr1,chr2"
done | import -t Call -n , --hold
for sample in S1 S2 S3 S4; do
  echo "$sample|Merge|bash $here/merge.sh $sample"
done | import -t Merge --hold

step "Align; S4 fails"
pilot -t Align || test $? = 1
pyanamo status -t Align Call Merge

step "The samples that are aligned go on"
pyanamo resume -t Call --after Align
pilot -t Call
pyanamo resume -t Merge --after Call
pilot -t Merge

step "The reads of S4 come: it goes through all steps, and nothing else runs again"
mv "$DATA/S4_1.fastq.gz" "$DATA/reads/S4_1.fastq.gz"
pyanamo requeue -t Align --state failed --yes
pilot -t Align
pyanamo resume -t Call --after Align
pilot -t Call
pyanamo resume -t Merge --after Call
pilot -t Merge

step "All steps are done"
pyanamo status -t Align Call Merge --by-task
pyanamo status -t Align Call Merge --check

step "The variants that were put in are those that were found"
for sample in S1 S2 S3 S4; do
  diff "$DATA/truth/$sample.tsv" "$DATA/variants/$sample.tsv"
  echo "$sample: all $(wc -l <"$DATA/truth/$sample.tsv") variants"
done
