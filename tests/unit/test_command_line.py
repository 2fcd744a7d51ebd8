"""A Task Script's words are a POSIX shell's, and its variables a shell's between double quotes."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anamo.core import command_line

NAMES = ["A", "AB", "_x", "X1"]


def in_bash(words: str, variables: Mapping[str, str]) -> list[str] | None:
    """Have bash split and expand the words; None where one names a variable that is not set."""
    ended = subprocess.run(
        ["bash", "--norc", "-uc", f"printf '%s\\0' {words}"],
        env=variables,
        capture_output=True,
        check=False,
    )
    return ended.stdout.decode().split("\0")[:-1] if ended.returncode == 0 else None


def ours(words: str, variables: Mapping[str, str]) -> list[str] | None:
    """The same by `split`."""
    try:
        return command_line.split(words, variables)
    except ValueError:
        return None


def text(characters: str) -> st.SearchStrategy[str]:
    return st.text(characters, min_size=1, max_size=4)


forms = ("${}", "${{{}}}", "${{{}:-}}", "${{{}:-a/b}}")
references = st.sampled_from([form.format(name) for name in NAMES for form in forms])
harmless = text("aZ09_-./=:,äé語")
in_double_quotes = st.lists(
    references
    | text("aZ0 \t'*?[]{}()<>|&;#~ä語}")
    | st.sampled_from(['\\"', "\\\\", "\\$", "\\$A", "$ ", "$.", "$/", "\\${A}"]),
    max_size=6,
).map(lambda pieces: f'"{"".join(pieces)}"')
in_single_quotes = text('aZ0 \t$A{}"\\*`(|;ä').map(lambda piece: f"'{piece}'")
escaped = st.sampled_from(["\\$", "\\ ", "\\'", '\\"', "\\\\", "\\a", "\\*", "\\|", "\\$A"])
words = st.lists(
    st.lists(harmless | in_double_quotes | in_single_quotes | escaped, min_size=1, max_size=4).map(
        "".join
    ),
    min_size=1,
    max_size=4,
).map(" ".join)
values = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.sampled_from("$*'\"\\` "),
    max_size=6,
)


@given(st.text() | st.text("ab '\"\\\t\n#;|"))
def test_without_variables_it_splits_as_shlex_does(script: str) -> None:
    script = script.replace("$", "").replace("\0", "")
    try:
        expected = shlex.split(script)
    except ValueError:
        with pytest.raises(ValueError, match=r"No closing quotation|No escaped character"):
            command_line.split(script, {})
    else:
        assert command_line.split(script, {}) == expected


@settings(max_examples=250)
@given(words, st.dictionaries(st.sampled_from(NAMES), values))
def test_quoted_words_come_out_as_in_bash(script: str, variables: dict[str, str]) -> None:
    assert ours(script, variables) == in_bash(script, variables)


@example('"$A"0 "${A}"0 "$A"-', {"A": "a"})
@given(words, st.dictionaries(st.sampled_from(NAMES), values))
def test_what_is_shown_of_a_command_runs_as_it_does(script: str, variables: dict[str, str]) -> None:
    assert in_bash(command_line.as_run(script), variables) == ours(script, variables)


@given(values)
def test_a_value_stays_one_word_whatever_it_holds(value: str) -> None:
    assert command_line.split("run -x $A ${A} pre${A}post", {"A": value}) == [
        "run",
        "-x",
        value,
        value,
        f"pre{value}post",
    ]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("$A", ["1"]),
        ("${A}B", ["1B"]),
        ('"$A"B', ["1B"]),
        ("$A'B'", ["1B"]),
        ("$A\\B", ["1B"]),
        ("$AB", ["2"]),
        ('"${A}"', ["1"]),
        ("'$A'", ["$A"]),
        ("\\$A", ["$A"]),
        ('"\\$A"', ["$A"]),
        ("\\\\$A", ["\\1"]),
        ("$EMPTY", [""]),
        ("a${EMPTY}b", ["ab"]),
        ("${MISSING:-}", [""]),
        ("a${MISSING:-}b", ["ab"]),
        ("${MISSING:-x y}/z", ["x y/z"]),
        ('"${MISSING:-x y}"/z', ["x y/z"]),
        ("${EMPTY:-x} ${A:-x}", ["x", "1"]),
        ("'${MISSING:-x}' \\${MISSING:-x}", ["${MISSING:-x}", "${MISSING:-x}"]),
        ("${MISSING:-$A}", ["${MISSING:-1}"]),
        ("$1 $$ $( ${ ${1} ${A-x} a$", ["$1", "$$", "$(", "${", "${1}", "${A-x}", "a$"]),
        ("a|b > c; d && $(e) `f` *.txt", ["a|b", ">", "c;", "d", "&&", "$(e)", "`f`", "*.txt"]),
        ("a # b", ["a", "#", "b"]),
        ("", []),
        ("  ", []),
        ("''", [""]),
    ],
)
def test_what_has_a_meaning_and_what_has_none(script: str, expected: list[str]) -> None:
    assert command_line.split(script, {"A": "1", "AB": "2", "EMPTY": ""}) == expected


@pytest.mark.parametrize("script", ["$OUT/x", "run ${OUT}", 'run "$OUT"', "${A:-} a$OUT"])
def test_a_variable_that_is_not_set_is_an_error(script: str) -> None:
    message = r"^OUT is not set; write \$\{OUT:-\} where it may be empty$"
    with pytest.raises(ValueError, match=message):
        command_line.split(script, {"A": "1"})


def test_words_keep_their_variables_as_they_are_written() -> None:
    script = "run $A ${B:-x y} '$C' \\$D"
    assert command_line.words(script) == ["run", "$A", "${B:-x y}", "$C", "$D"]


def test_a_value_that_looks_like_a_variable_is_not_expanded_again() -> None:
    assert command_line.split("$A", {"A": "$B \\$B '", "B": "no"}) == ["$B \\$B '"]


@pytest.mark.parametrize(
    ("script", "program"),
    [
        ("$SECRET x", "$SECRET"),
        ("${SECRET}x y", "${SECRET}x"),
        ('"$SECRET"x $SECRET', "$SECRETx"),
        ("'$SECRET' x", "$SECRET"),
        ("\\$SECRET x", "$SECRET"),
        ("'my prog' x", "my prog"),
    ],
)
def test_a_program_is_named_as_written(script: str, program: str) -> None:
    assert command_line.words(script)[0] == program


@pytest.mark.parametrize("script", ["echo 'a", 'echo "a', "echo \"a'", 'echo "a\\"'])
def test_check_says_that_a_quote_is_open(script: str) -> None:
    with pytest.raises(ValueError, match=r"^a quote is not closed$"):
        command_line.check(script)


@given(st.text() | st.text("ab '\"\\\t\n$"))
def test_check_refuses_what_cannot_be_split_and_nothing_else(script: str) -> None:
    try:
        command_line.words(script)
    except ValueError:
        with pytest.raises(ValueError, match=r"quote|backslash|NUL"):
            command_line.check(script)
    else:
        command_line.check(script)


@pytest.mark.parametrize("script", ["'" + "a" * 300_000, '"' + "\\a" * 300_000, "\\a" * 300_000])
def test_check_ends_on_long_scripts(script: str) -> None:
    for each in (script, script + "'", script + '"', script + "\\"):
        with contextlib.suppress(ValueError):
            command_line.check(each)


def test_check_says_that_nothing_follows_a_backslash() -> None:
    with pytest.raises(ValueError, match=r"^it ends in a backslash$"):
        command_line.check("echo \\")


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        command_line.check("echo \0")


def test_check_is_silent_about_a_good_script() -> None:
    command_line.check("bash -c 'echo \"$HOME\" | wc -l'")
