"""Shell syntax in a task file, by the importer: refused, warned of, or an argument."""

from __future__ import annotations

import subprocess
import sys

import pytest

from anamo.importer import shell_syntax
from tests.support import task_files
from tests.support.scripts import ROOT


def dry_run(lines: list[str], *flags: str) -> subprocess.CompletedProcess[str]:
    """A dry run of lines, which begin with `T1;;Testing;;`, `T2;;Testing;;` and so on."""
    content = "".join(f"T{number};;Testing;;{line}\n" for number, line in enumerate(lines, 1))
    return task_files.dry_run(content, *flags)


def said(ended: subprocess.CompletedProcess[str]) -> list[str]:
    return [
        line.removeprefix("import-items-generic.py: ").removeprefix("standard input:")
        for line in ended.stderr.splitlines()
    ]


OPERATORS = [
    ("echo hi > out.txt", ">"),
    ("echo hi >out.txt", ">"),
    ("echo hi>out.txt", ">"),
    ("echo hi >> out.txt", ">>"),
    ("sort < in.txt", "<"),
    ("sort <<< text", "<<"),
    ("run 2> errors", "2>"),
    ("run 2>&1", "2>"),
    ("run &> all", "&>"),
    ("cat x | sort", "|"),
    ("cat x|sort", "|"),
    ("make && make test", "&&"),
    ("make || echo no", "||"),
    ("cd x; ls", ";"),
    ("sleep 9 &", "&"),
    ("sleep 9&", "&"),
    ("sleep 9 & wait", "&"),
    ("echo $(date)", "$("),
    ("echo `date`", "`"),
    ("echo 'a' > \"b\"", ">"),
]


def test_an_unquoted_operator_is_refused_with_line_operator_and_the_form_that_works() -> None:
    ended = dry_run([line for line, _ in OPERATORS])
    assert (ended.returncode, ended.stdout) == (2, "")
    *named, last = said(ended)
    for number, ((line, operator), message) in enumerate(zip(OPERATORS, named, strict=True), 1):
        assert message.startswith(f"{number}: {operator} needs a shell, ")
        form = "bash -c '…'" if "'" in line else f"bash -c '{line}'"
        assert f"write {form}; quote it, or add --literal, if it is an argument" in message
    assert last == "20 invalid lines; nothing was written"


def test_with_literal_the_same_lines_are_good() -> None:
    ended = dry_run([line for line, _ in OPERATORS], "--literal")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "20 valid lines" in ended.stdout


ARGUMENTS = [
    "echo 'a;b' \"x > y\" 'a|b' \"c && d\" '`e`' '$(f)'",
    "echo a\\;b \\> \\| \\& \\$\\(f\\) \\`",
    "bash -c 'sort x | uniq > y 2>&1 && echo $(date) &'",
    'bash -c "sort x | uniq > y"',
    "curl http://localhost/a&b=c",
    "find . -name '*.bam' -exec rm {} \\;",
    "awk '{print $1}' x",
    "echo ${HOME} $HOME",
    "bcftools view -i 'QUAL>20' x.vcf",
    "bash -c 'sort \"$1\"' _ x",
    "bash -c 'f() { echo $1; }; f x'",
    "bash -c 'set -- a b; echo $1'",
    "bash -c 'set -- a b; echo $1' x",
    "bash -c 'awk \"{print \\$1}\" x'",
    "bash -c 'echo $0' x",
    "bash -c 'echo $0: ${1-none}' x",
    "bash -c 'run \"$@\"' _",
    "xargs -a list bash -c 'echo $1'",
    "seq 1 3",
]


def test_quoted_operators_are_arguments() -> None:
    ended = dry_run(ARGUMENTS)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "script",
    [
        "bash -c 'echo $1'",
        "bash -c 'echo ${1}' x",
        "/bin/sh -ec 'set -u; cat \"$1\"' x",
        "bash -euo pipefail -c 'cat \"$1\"' x",
        "bash -c 'run \"$@\"' x",
        'bash -c "echo \\$1" x',
        "timeout 9 bash -c 'echo $1' x",
    ],
)
def test_an_argument_that_bash_takes_for_its_name_is_refused(script: str) -> None:
    (message, _) = said(dry_run([script]))
    assert message == (
        "1: $1 in bash -c is empty: write bash -c '… \"$1\"' _ ARGUMENT "
        "(without the _, the argument is $0)"
    )


def test_a_nested_argument_needs_a_word_before_it() -> None:
    good = ["bash -c 'echo $1' _;;1,2", "bash -c 'echo $0';;1,2", "seq;;1,2"]
    ended = dry_run(good, "-n", ",")
    assert (ended.returncode, ended.stderr) == (0, "")
    bad = ["bash -c 'echo $1';;1,2", "sort > x;;1,2", "seq;;1,2>x"]
    ended = dry_run(bad, "-n", ",")
    hint = "(without the _, the argument is $0)"
    needs = "needs a shell, and a Task Script runs without one: write bash -c"
    otherwise = "quote it, or add --literal, if it is an argument"
    assert said(ended)[:3] == [
        f"1: $1 in bash -c is empty: write bash -c 'echo $1' _ {hint}",
        f"2: > {needs} 'sort > x \"$1\"' _ {hint}; {otherwise}",
        f"3: 2> {needs} '… \"$1\"' _ {hint}; {otherwise}",
    ]
    assert dry_run(bad, "-n", ",", "--literal").returncode == 0


def test_what_a_shell_would_replace_is_warned_of_and_imported() -> None:
    lines = ["ls *.bam", "ls ~/data", "ls S?.bam", 'echo "$(date)"', "echo ${S%.bam}", "seq 3"]
    ended = dry_run(lines)
    assert ended.returncode == 0
    assert said(ended) == [
        *(
            f"{number}: {what} is passed literally: no shell expands it (write bash -c '…')"
            for number, what in enumerate("*~?", 1)
        ),
        "… and 2 more lines like that",
    ]
    assert "6 valid lines" in ended.stdout
    assert dry_run(lines, "--literal").stderr == ""


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ('echo "$(date)"', "$("),
        ('echo "`date`"', "`"),
        ("echo ${S%.bam}", "${S%.bam}"),
        ('echo "${S%.bam}"', "${S%.bam}"),
        ("ls '*.bam' \"*\" \\* --home=~ a~ '~'", ""),
        ('bash -c "echo $(date) ${S%.bam}"', ""),
        ("echo '${S%.bam}' ${S:-*} \"${S:-a b}\"", ""),
    ],
)
def test_what_else_a_shell_would_replace(script: str, found: str) -> None:
    warning = shell_syntax.warning(script)
    assert (warning or "").partition(" is passed")[0] == found


def test_all_that_a_shell_would_expand_in_a_line_is_named_once() -> None:
    assert shell_syntax.warning("cat *.bam ~/S?.bam ~/*.txt") == (
        "*, ~ and ? are passed literally: no shell expands them (write bash -c '…')"
    )


def test_the_help_shows_the_form_for_nested_arguments() -> None:
    command = [sys.executable, "import-items-generic.py", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'bash -c \'sort "$1" > "$1.sorted"\' _\n' in shown
    assert "without the _, the argument is $0" in shown
