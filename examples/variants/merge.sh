#!/bin/bash
# Puts the chromosomes of a sample together and drops what is uncertain: merge.sh SAMPLE
set -euo pipefail
sample=$1
mkdir -p "$DATA/variants"

partial=$DATA/variants/$sample.partial.tsv
bcftools concat "$DATA/called/$sample".chr*.vcf.gz |
  bcftools query --include 'QUAL>=30' --format '%CHROM\t%POS\t%REF\t%ALT\n' >"$partial"
mv "$partial" "$DATA/variants/$sample.tsv"
printf 'PyAnamo:\tvariants=%s\n' "$(wc -l <"$DATA/variants/$sample.tsv")"
