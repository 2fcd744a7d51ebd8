#!/bin/bash
# Prepares a machine once, however many workers start on it, and then becomes a worker:
#   export REFERENCE=s3://my-data/reference SCRATCH=/scratch
#   examples/pilot.sh -t Align -b my-logs -n 4
# Write your own `prepare`: software, reference data, indexes. Tasks find it in $SCRATCH.
set -eu

PYANAMO=${PYANAMO:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
: "${REFERENCE:?is not set: the address of the reference, such as s3://my-data/reference}"
: "${SCRATCH:?is not set: a folder on the disk of this machine, such as /scratch}"
export PYANAMO SCRATCH

prepare() {
  aws s3 cp --only-show-errors --recursive "$REFERENCE" "$SCRATCH/reference"
  bwa index "$SCRATCH/reference/genome.fa" 2>"$SCRATCH/bwa-index.log" || {
    cat "$SCRATCH/bwa-index.log" >&2
    return 1
  }
  samtools faidx "$SCRATCH/reference/genome.fa"
}

# The first pilot prepares, the others wait for it. A preparation that was cut off is repeated.
mkdir -p "$SCRATCH"
(
  flock 9
  if [[ ! -e $SCRATCH/ready ]]; then
    prepare
    touch "$SCRATCH/ready"
  fi
) 9>"$SCRATCH/lock"

# In its place, so that a signal reaches the worker
exec python3 "$PYANAMO/pyanamo.py" "$@"
