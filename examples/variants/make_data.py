"""Makes a small genome, samples that differ from it, and the reads that a sequencer would give.

    python make_data.py FOLDER

FOLDER/reference/genome.fa is the genome. FOLDER/reads has two FASTQ files for each sample, and
FOLDER/truth/SAMPLE.tsv says what was put into its reads: chromosome, position, reference, variant.
The same every time.
"""

import gzip
import random
import sys
from pathlib import Path

SAMPLES = ("S1", "S2", "S3", "S4")
CHROMOSOMES = {"chr1": 30_000, "chr2": 20_000}
VARIANTS = 12
"""Variants of each chromosome of each sample, on both of its copies."""

COVERAGE = 30
READ = 100
FRAGMENT = 300
OTHERS = {"A": "CGT", "C": "AGT", "G": "ACT", "T": "ACG"}
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def genome(dice: random.Random) -> dict[str, str]:
    """Chromosomes of bases at random."""
    return {name: "".join(dice.choices("ACGT", k=size)) for name, size in CHROMOSOMES.items()}


def varied(name: str, bases: str, dice: random.Random) -> tuple[str, list[str]]:
    """A chromosome with single bases changed, and a line for each of them."""
    changed = list(bases)
    lines = []
    # Not at its ends, where few reads are, and not beside one another
    places = range(FRAGMENT, len(bases) - FRAGMENT, 50)
    for place in sorted(dice.sample(places, VARIANTS)):
        changed[place] = dice.choice(OTHERS[bases[place]])
        lines.append(f"{name}\t{place + 1}\t{bases[place]}\t{changed[place]}\n")
    return "".join(changed), lines


def write_reads(
    sample: str, chromosomes: dict[str, str], folder: Path, dice: random.Random
) -> None:
    """Pairs of reads from both ends of fragments at random places."""
    quality = "I" * READ
    with (
        gzip.open(folder / f"{sample}_1.fastq.gz", "wt", compresslevel=1) as first,
        gzip.open(folder / f"{sample}_2.fastq.gz", "wt", compresslevel=1) as second,
    ):
        for name, bases in chromosomes.items():
            for number in range(len(bases) * COVERAGE // (2 * READ)):
                start = dice.randrange(len(bases) - FRAGMENT)
                fragment = bases[start : start + FRAGMENT]
                other_end = fragment[::-1].translate(COMPLEMENT)
                title = f"@{sample}:{name}:{number}"
                first.write(f"{title}/1\n{fragment[:READ]}\n+\n{quality}\n")
                second.write(f"{title}/2\n{other_end[:READ]}\n+\n{quality}\n")


def main(folder: Path) -> None:
    """Write everything."""
    for name in ("reference", "reads", "truth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    dice = random.Random(1)  # no secrets
    reference = genome(dice)
    with (folder / "reference" / "genome.fa").open("w") as fasta:
        for name, bases in reference.items():
            fasta.write(f">{name}\n{bases}\n")
    for sample in SAMPLES:
        chromosomes = {}
        truth = []
        for name, bases in reference.items():
            chromosomes[name], lines = varied(name, bases, dice)
            truth += lines
        (folder / "truth" / f"{sample}.tsv").write_text("".join(truth))
        write_reads(sample, chromosomes, folder / "reads", dice)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
