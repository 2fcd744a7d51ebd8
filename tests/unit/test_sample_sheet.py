"""Sample sheets, by the importer's real script: one item a row, each cell one word."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anamo.core import command_line
from anamo.importer import sample_sheet, task_file
from anamo.importer.sample_sheet import Template
from tests.support.environment import environment
from tests.support.scripts import ROOT
from tests.support.task_files import PROGRAM, said

SCRIPT = "bash align.sh {fastq1} {fastq2} {sample}"


def imported(
    sheet: str | bytes, *flags: str, script: str = SCRIPT
) -> subprocess.CompletedProcess[str]:
    """A dry run of a sheet."""
    template = ["--csv", "-", "--id", "{sample}", "--script", script]
    ended = subprocess.run(
        [sys.executable, PROGRAM, "-t", "Align", *template, "--dry-run", *flags],
        cwd=ROOT,
        env=environment(Path(os.devnull), dynamodb="", s3=""),
        input=sheet.encode() if isinstance(sheet, str) else sheet,
        capture_output=True,
        check=False,
    )
    out, err = ended.stdout.decode(), ended.stderr.decode()
    return subprocess.CompletedProcess(ended.args, ended.returncode, out, err)


def commands(ended: subprocess.CompletedProcess[str]) -> list[str]:
    assert (ended.returncode, ended.stderr) == (0, "")
    return [line.strip() for line in ended.stdout.splitlines()[1:-1]]


SHEET = "sample,fastq1,fastq2\nS1,a.fq,b.fq\nS2,c.fq,d.fq\n"


@pytest.mark.parametrize(
    "sheet",
    [
        SHEET,
        SHEET.replace(",", "\t"),
        SHEET.replace("\n", "\r\n"),
        "\ufeff" + SHEET,
        ' sample , fastq1,"fastq2"\n\n"S1",a.fq ,"b.fq"\n,,\nS2,c.fq,d.fq',
        "note,fastq2,fastq1,,sample\n,b.fq,a.fq,,S1\nx y,d.fq,c.fq,,S2,,\n",
    ],
)
def test_a_row_is_an_item(sheet: str) -> None:
    assert commands(imported(sheet)) == [
        "S1: bash align.sh a.fq b.fq S1",
        "S2: bash align.sh c.fq d.fq S2",
    ]


def test_a_row_may_have_nested_tasks() -> None:
    ended = imported(SHEET, "--nested-over", "chr1,chr2")
    assert "Align: 2 items, 4 tasks\n" in ended.stdout
    assert commands(ended)[:2] == [
        "S1: bash align.sh a.fq b.fq S1 chr1",
        "S1: bash align.sh a.fq b.fq S1 chr2",
    ]


def test_a_row_is_the_item_of_the_line_that_says_the_same() -> None:
    template = Template("Align", "{sample}", SCRIPT, "1,2")
    lines = [
        b"S1|Align|bash align.sh a.fq b.fq S1|1,2\n",
        b"S2|Align|bash align.sh c.fq d.fq S2|1,2",
    ]
    layout = task_file.Layout("|", ",")
    assert (
        sample_sheet.parse("s.csv", SHEET, template).items
        == task_file.parse("t.txt", lines, layout, ["Align"]).items
    )


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_cell_reaches_the_command_as_it_is(cell: str) -> None:
    if not cell.strip():
        return
    quoted = '"' + cell.replace('"', '""') + '"'
    template = Template("Align", "x", "run {a}.bam {a}")
    found = sample_sheet.parse("s.csv", f"a,b\n{quoted},\n", template)
    ((item,),) = (items.values() for items in found.items.values())
    words = command_line.split(item.scripts[0], {})
    assert words == ["run", f"{cell.strip()}.bam", cell.strip()]


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ("S1,,b.fq\n", "2: column fastq1 is empty"),
        ("S1,a.fq\n", "2: 2 cells instead of 3"),
        ("S1,a,b,c\n", "2: 4 cells instead of 3"),
        ('S1,"a\nb",c\nS2,a,\n', "4: column fastq2 is empty"),
        (",a,b\n", "2: column sample is empty"),
        ('S1,a,b\nS2,"a"c",d\n', "3: ',' expected after"),
        ('S1,a,b\nS2,"a,b\n\n', "3: unexpected end of data"),
    ],
)
def test_a_bad_row_is_named_by_its_line(sheet: str, message: str) -> None:
    ended = imported("sample,fastq1,fastq2\n" + sheet)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "\n".join(said(ended)).startswith(f"standard input:{message}")
    assert said(ended)[-1].endswith("; nothing was written")


@pytest.mark.parametrize("row", ["S\0", '"S\0"', "S1,a.fq\0"])
def test_a_nul_in_any_cell_is_refused(row: str) -> None:
    """Python's csv refuses it itself before 3.11."""
    ended = imported(f"sample,fastq1\nS0,a.fq\n{row},b.fq\n".replace(",b.fq", ""), script="run x")
    assert ended.returncode == 2
    assert re.match("standard input:3: .*NUL", said(ended)[0])


def test_a_cell_of_two_apostrophes_is_not_empty() -> None:
    ended = imported("sample\n''\n", script="run {sample}")
    assert commands(ended) == [f"'': run {shlex.quote(chr(39) * 2)}"]


@pytest.mark.parametrize(
    ("sheet", "script", "message"),
    [
        ("", SCRIPT, "--id: there is no column sample; standard input has none"),
        (SHEET, "run {fastq3}", "--script: there is no column fastq3; standard input has sample, "),
        (SHEET, "run '{sample}'", "--script: {sample} is inside quotes; outside them it is one "),
        (SHEET, "bash -c 'x {sample}'", "bash -c '… \"$1\"' _ {sample} gets it as $1"),
        (SHEET, "run {sample} > x", "--script: > needs a shell, "),
        (SHEET, "run 'x", "--script: a quote is not closed"),
        ("sample,a,a\n", SCRIPT, "standard input:1: more than one column is called a"),
        ("sample,fastq1,fastq2\n", SCRIPT, "standard input: contains no row below its header"),
        (SHEET + 'S3,"a\n', SCRIPT, "standard input:4: unexpected end of data"),
        (b"sample,fastq1,fastq2\nS\xe4,a,b\n", SCRIPT, "standard input:2: not UTF-8"),
    ],
)
def test_a_sheet_that_does_not_fit_is_refused(
    sheet: str | bytes, script: str, message: str
) -> None:
    ended = imported(sheet, script=script)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_braces_that_are_no_columns_stay() -> None:
    script = "run {} {1..3} ${HOME} '{sample.x}' '{print $1}' {sample}"
    assert commands(imported(SHEET, script=script))[0] == (
        "S1: run '{}' '{1..3}' \"${HOME}\" '{sample.x}' '{print $1}' S1"
    )


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["-d", "x"], "-d/--data: not used with --csv"),
        (["-s", "|", "-n", ","], "-s/--separator, -n: not used with --csv"),
        (["-t", "One", "Two"], "--csv fills one table, but -t (or PYANAMO_TABLES) names 3"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags: list[str], complaint: str) -> None:
    ended = imported(SHEET, *flags)
    assert (ended.returncode, said(ended)[0]) == (2, complaint)


def test_flags_that_are_missing_are_named() -> None:
    def refused(*flags: str) -> str:
        command = [sys.executable, PROGRAM, "-t", "Align", *flags]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (2, "")
        return said(ended)[0]

    required = "the following arguments are required:"
    assert refused() == f"{required} -d/--data, -s/--separator"
    assert refused("--csv", "x") == f"{required} --id, --script"
    assert refused("-d", "x", "-s", "|", "--id", "a") == "--id: not used without --csv"
