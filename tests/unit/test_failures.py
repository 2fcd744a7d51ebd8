"""One cause is one line."""

from __future__ import annotations

import pytest

from anamo.core.record import Record
from anamo.operator.failures import Failures

CONTIGS = [*(f"chr{k}" for k in range(1, 23)), "chrX", "X", "MT"]


def nested(task_id: str, said: dict[str, str]) -> Record:
    """An item whose nested tasks, by argument, all failed with these last lines of stderr."""
    tasks = {
        f"Task_{k}": {"Status": "failed", "Script": f"call.sh --ref hg38.fa {argument} --fast"}
        for k, argument in enumerate(said)
    }
    logs = dict(zip(tasks, map(entry, said.values()), strict=True))
    return Record.from_values(
        {"itemID": 8_269_610_065_074_345, "taskID": task_id, "ItemState": "failed"}
        | {"TaskScript": tasks, "Log": logs}
    )


def single(task_id: str, line: str, code: int = 1) -> Record:
    return Record.from_values(
        {"itemID": 7, "taskID": task_id, "ItemState": "failed", "TaskScript": "x"}
        | {"Log": entry(line, code)}
    )


def entry(line: str, code: int = 1) -> dict[str, object]:
    status = f"Execution Failed: exit {code}"
    return {"Status": status, "Exit_Code": code, "stderr": f"starting\n{line}\n" if line else ""}


def causes(*records: Record) -> list[tuple[int, str]]:
    failures = Failures()
    for record in records:
        failures.add(record)
    return [(group.tasks, group.line) for group in failures]


def test_nested_tasks_that_fail_alike_are_one_cause_whatever_their_argument() -> None:
    said = {contig: f"no reads on {contig} of Sample7" for contig in CONTIGS}
    assert causes(nested("Sample7", said), nested("Sample8", {})) == [
        (25, "no reads on <argument> of Sample7")
    ]


def test_what_is_the_same_in_all_of_them_stays() -> None:
    lines = [single(f"S{k}", "bwa-mem3: exit 127 in /opt/bin/bwa: GRCh38") for k in range(3)]
    assert causes(*lines) == [(3, "bwa-mem3: exit 127 in /opt/bin/bwa: GRCh38")]
    assert causes(nested("S1", {"chrUn": "chrUn: not in hg38.fa", "chr2": "chrUn: not in x"}))


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("cannot open Sample1.bam", "cannot open Sample2.bam", "cannot open <taskID>.bam"),
        ("cannot open Sample1_R1.fq", "cannot open Sample2_R1.fq", "cannot open <taskID>_R1.fq"),
        ("pid 4711 died", "pid 815 died", "pid <number> died"),
        (
            "2026-11-25T20:28:33Z out of memory: 512.5 MB",
            "2026-11-25T20:31:02Z out of memory: 640 MB",
            "<number> out of memory: <number> MB",
        ),
        ("read at 0x7f3a", "read at 0x00ff", "read at <number>"),
        ("id 1f0c9a3e-77aa: denied", "id 9bd1ff00-1234: denied", "id <number>: denied"),
        ("open '/tmp/ab/x' failed", "open '/scratch/q/y.z' failed", "open '<path>' failed"),
        ("s3://b/Sample1/a is gone", "s3://b/Sample2/a is gone", "s3://b/<taskID>/a is gone"),
        ("ERR0012345.fq truncated", "ERR0099.fq truncated", "ERR<number>.fq truncated"),
    ],
)
def test_ids_numbers_and_paths_that_vary_are_taken_out(one: str, other: str, shown: str) -> None:
    assert causes(single("Sample1", one), single("Sample2", other)) == [(2, shown)]


def test_other_words_and_other_exit_codes_are_other_causes() -> None:
    records = [
        single("S1", "cannot open S1.bam"),
        single("S2", "cannot close S2.bam"),
        single("S3", "cannot open S3.bam", code=2),
        single("S4", ""),
    ]
    assert sorted(causes(*records)) == [
        (1, ""),
        (1, "cannot close S2.bam"),
        (1, "cannot open S1.bam"),
        (1, "cannot open S3.bam"),
    ]


def test_an_id_within_a_longer_word_is_another_name() -> None:
    assert causes(single("S1", "no DS1x"), single("S2", "no DS1x")) == [(2, "no DS1x")]


def test_an_odd_task_id_is_no_pattern() -> None:
    assert causes(single("a|(b", "no a|(b"), single("c.*", "no c.*")) == [(2, "no <taskID>")]
