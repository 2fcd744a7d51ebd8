#!/bin/bash
# Aligns the reads of a sample: align.sh SAMPLE
set -euo pipefail
sample=$1
mkdir -p "$DATA/aligned"

# Under another name until it is whole: a task that is stopped begins again
partial=$DATA/aligned/$sample.partial.bam
bwa mem -R "@RG\tID:$sample\tSM:$sample" "$SCRATCH/reference/genome.fa" \
  "$DATA/reads/${sample}_1.fastq.gz" "$DATA/reads/${sample}_2.fastq.gz" |
  samtools sort -o "$partial"
samtools index "$partial"
mv "$partial.bai" "$DATA/aligned/$sample.bam.bai"
mv "$partial" "$DATA/aligned/$sample.bam"

# What a line that begins like this says is kept with the item, as a tag
printf 'PyAnamo:\tmapped=%s\n' "$(samtools view --count --exclude-flags 4 "$DATA/aligned/$sample.bam")"
