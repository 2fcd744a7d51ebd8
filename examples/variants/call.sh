#!/bin/bash
# Calls the variants of a sample on a chromosome: call.sh SAMPLE CHROMOSOME
set -euo pipefail
sample=$1 chromosome=$2
mkdir -p "$DATA/called"

partial=$DATA/called/$sample.$chromosome.partial.vcf.gz
bcftools mpileup --fasta-ref "$SCRATCH/reference/genome.fa" --regions "$chromosome" \
  "$DATA/aligned/$sample.bam" | bcftools call --multiallelic-caller --variants-only -Oz -o "$partial"
bcftools index --force "$partial"
mv "$partial.csi" "$DATA/called/$sample.$chromosome.vcf.gz.csi"
mv "$partial" "$DATA/called/$sample.$chromosome.vcf.gz"
