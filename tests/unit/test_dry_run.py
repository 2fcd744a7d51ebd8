"""What --dry-run shows and hints at, by the importer's real script."""

from __future__ import annotations

import pytest

from tests.support.task_files import dry_run, said


def test_the_first_commands_are_shown_as_they_would_be_run() -> None:
    content = (
        "A;;Testing;;seq;;1,2\n"
        'B;;Testing;;echo $HOME/x \'$1\' "a  b" "${X:-y z}" \\$ "\\$A$B";;a\\>b\n'
        "C;;Testing;;seq;;1,2,3,4\n"
    )
    ended = dry_run(content, "-n", ",")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "Testing: 3 items, 7 tasks",
        "  A: seq 1",
        "  A: seq 2",
        "  B: echo \"$HOME/x\" '$1' 'a  b' \"${X:-y z}\" '$' \"\\$A$B\" 'a>b'",
        "  C: seq 1",
        "  C: seq 2",
        "  …",
        "3 valid lines; nothing was written (--dry-run)",
    ]
    ended = dry_run("A;;Testing;;echo a > b\n", "--literal")
    assert "  A: echo a '>' b\n" in ended.stdout


def test_terminal_escapes_are_not_shown() -> None:
    ended = dry_run("A\x1b[2J;;Testing;;echo \x1b[2J\n")
    assert "\x1b" not in ended.stdout


@pytest.mark.parametrize("name", ["T", "a" * 256, "a,b", "a/b", "Täble", "${TABLE}"])
def test_a_name_that_no_table_can_have_is_refused(name: str) -> None:
    ended = dry_run(f"A;;{name};;seq 1\n", "-t", name)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"-t: {name!r} cannot be the name of a DynamoDB table" in ended.stderr


@pytest.mark.parametrize(
    "name", ["Tab", "a" * 255, "a_b-c.d9", "arn:aws:dynamodb:us-east-1:123456789012:table/Testing"]
)
def test_a_name_that_a_table_can_have_is_not(name: str) -> None:
    assert dry_run(f"A;;{name};;seq 1\n", "-t", name).returncode == 0


def test_a_header_is_guessed() -> None:
    ended = dry_run("TaskID;;Table;;Script\nA;;Testing;;seq 1\n")
    assert ended.returncode == 2
    assert said(ended)[0].endswith("; is line 1 a header? Then remove it")
    for content in ("TaskID;;Table;;Script\n", "A;;Testing;;seq 1\nA;;Else;;seq 1\n"):
        assert "header" not in dry_run(content).stderr


def test_a_first_line_with_shell_syntax_is_no_header() -> None:
    ended = dry_run("A;;Testing;;seq 1 > out\nB;;Testing;;seq 1\n")
    assert ended.returncode == 2
    assert "standard input:1: " in said(ended)[0]
    assert "header" not in ended.stderr


def test_a_forgotten_separator_of_arguments_is_guessed() -> None:
    content = "A;;Testing;;seq;;1,2,3\nB;;Testing;;echo;;'1,2'\nC;;Testing;;seq 1,2\n"
    ended = dry_run(content)
    hint = "standard input:1: arguments contain ',': did you forget -n ','?"
    assert (ended.returncode, said(ended)) == (0, [hint])
    assert dry_run(content.splitlines(keepends=True)[0], "-n", ",").stderr == ""


def test_lines_that_begin_with_a_number_sign_are_named() -> None:
    ended = dry_run("# my tasks\n#A;;Testing;;seq 1\nA;;Testing;;seq #1\n")
    hint = "lines starting with # are not comments; remove this line if it is one"
    assert ended.returncode == 2
    assert said(ended)[0].startswith("standard input:1: 1 field instead of 3 ")
    assert hint in said(ended)[0]
    ended = dry_run("#A;;Testing;;seq 1\nA;;Testing;;seq #1\n")
    assert (ended.returncode, said(ended)) == (0, [f"standard input:1: {hint}"])
