"""Task files: what a line becomes, and what is said of a bad one."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anamo.core.errors import UsageError
from anamo.core.item import Item
from anamo.importer import task_file
from anamo.importer.task_file import BadLines, Layout, TaskFile

NESTED = Layout("|", ",")
SINGLE = Layout("|")


def parse(
    content: str | bytes, layout: Layout = NESTED, tables: Sequence[str] = ("Testing",)
) -> TaskFile:
    data = content.encode() if isinstance(content, str) else content
    return task_file.parse("tasks.txt", io.BytesIO(data), layout, tables)


def only(content: str | bytes, layout: Layout = NESTED) -> Item:
    (item,) = parse(content, layout).items["Testing"].values()
    return item


def scripts(item: Item) -> list[str]:
    return [task.script for task in item.nested]


def complaint(content: str | bytes, layout: Layout = NESTED) -> str:
    """What is said of a file whose only invalid line is its second one."""
    good = b"Good|Testing|seq|1\n" if layout.separator == "|" else b"\n"
    data = content.encode() if isinstance(content, str) else content
    with pytest.raises(BadLines) as caught:
        parse(good + data + b"\n", layout)
    where, count = str(caught.value).splitlines()
    assert count == "1 invalid line; nothing was written"
    assert where.startswith("tasks.txt:2: ")
    return where.removeprefix("tasks.txt:2: ")


# Good lines


def test_a_nested_line_is_one_item_with_a_task_for_each_argument() -> None:
    item = only("Task-7|Testing|seq|7,2,3")
    assert (item.task_id, item.script, item.state) == ("Task-7", None, "todo")
    assert [task.name for task in item.nested] == ["Task_0", "Task_1", "Task_2"]
    assert scripts(item) == ["seq 7", "seq 2", "seq 3"]


def test_a_single_line_joins_script_and_argument() -> None:
    item = only("Task-7|Testing|seq|7 9", SINGLE)
    assert (item.task_id, item.script, item.nested) == ("Task-7", "seq 7 9", ())
    assert only("Task-7|Testing|seq 7 9", SINGLE) == item


def test_the_same_line_is_always_the_same_item() -> None:
    """If this fails, importing a file again would run all of it again."""
    assert only("Task-7|Testing|seq|7,2,3").item_id == 8017486173092244
    assert only("Task-7|Testing|seq|7", SINGLE).item_id == 7550026037971149


def test_how_a_line_is_written_does_not_change_its_item() -> None:
    written = [
        ("Task-7|Testing|seq|7,2,3", NESTED),
        (" Task-7 | Testing|seq |7, 2 ,3 \r\n", NESTED),
        ("Task-7,Testing,seq,7,2,3", Layout(",", ",")),
        ("Task-7\tTesting\tseq\t7;2;3", Layout("\t", ";")),
        ("Task-7::Testing::seq::7,2,3", Layout("::", ",")),
        ("Task-7 - Testing - seq - 7, 2, 3", Layout(" - ", ", ")),
    ]
    assert len({only(line, layout).item_id for line, layout in written}) == 1


@pytest.mark.parametrize("separator", ["|", ",", "\t", ";;", " :: ", "語", "."])
def test_any_string_separates_fields(separator: str) -> None:
    fields = ["Task-7", "Testing", "seq", "7"]
    assert only(separator.join(fields), Layout(separator)).script == "seq 7"
    assert scripts(only(separator.join(fields), Layout(separator, "+"))) == ["seq 7"]


def test_the_nested_separator_may_be_the_separator() -> None:
    assert scripts(only("Task-1,Testing,seq,1,2,3", Layout(",", ","))) == [
        "seq 1",
        "seq 2",
        "seq 3",
    ]


def test_nested_arguments_may_hold_the_separator() -> None:
    assert scripts(only("Task-1|Testing|echo|'a|b',c")) == ["echo 'a|b'", "echo c"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfA|Testing|seq|1\nB|Testing|seq|2\n",
        b"A|Testing|seq|1\r\nB|Testing|seq|2\r\n",
        b"\n\r\n \t \nA|Testing|seq|1\n\n\nB|Testing|seq|2",
        b"\xef\xbb\xbf\r\nA|Testing|seq|1\r\n  B|Testing|seq|2  \r\n\r\n",
        b"\xef\xbb\xbfA|Testing|seq|1\n\xef\xbb\xbf\xef\xbb\xbfB|Testing|seq|2\n\xef\xbb\xbf",
    ],
)
def test_blank_lines_crlf_and_the_boms_of_several_files_are_harmless(content: bytes) -> None:
    found = parse(content)
    assert found.items == parse("A|Testing|seq|1\nB|Testing|seq|2\n").items
    assert (found.lines, found.duplicates) == (2, {})


def test_blank_lines_count_for_line_numbers() -> None:
    with pytest.raises(BadLines, match=r"tasks\.txt:3: 1 field "):
        parse("\n\nbad\n")


def test_lines_go_to_the_tables_they_name() -> None:
    found = parse("A|One|seq|1\nB|Two|seq|2\nC|One|seq|3\n", tables=["One", "Two", "Three"])
    assert {
        table: [item.task_id for item in items.values()] for table, items in found.items.items()
    } == {"One": ["A", "C"], "Two": ["B"], "Three": []}


def test_a_line_that_stands_twice_is_one_item_and_a_duplicate() -> None:
    found = parse("A|Testing|seq|1\nB|Testing|seq|1\nA | Testing|seq|1\nA|Testing|seq|1\n")
    assert [item.task_id for item in found.items["Testing"].values()] == ["A", "B"]
    assert (found.lines, found.duplicates) == (4, {"Testing": 2})


def test_the_same_task_in_two_tables_is_no_duplicate() -> None:
    found = parse("A|One|seq|1\nA|Two|seq|1\n", tables=["One", "Two"])
    assert found.duplicates == {}
    assert found.items["One"] == found.items["Two"]


# At the beginning of a line, U+FEFF is a byte order mark and no text
words = st.text(
    st.characters(exclude_characters="\0\r\n|,\ufeff", exclude_categories=["Cs", "Z", "Cc"]),
    min_size=1,
)
quoted = words.map(shlex.quote)


@given(st.lists(st.tuples(words, quoted, st.lists(quoted, min_size=1, max_size=4)), min_size=1))
def test_good_lines_become_the_scripts_they_say(
    lines: list[tuple[str, str, list[str]]],
) -> None:
    content = "".join(
        f"{task_id}|Testing|{script}|{','.join(arguments)}\n"
        for task_id, script, arguments in lines
    )
    found = parse("\n" + content)
    expected = {
        (task_id, tuple(f"{script} {argument}" for argument in arguments))
        for task_id, script, arguments in lines
    }
    items = found.items["Testing"].values()
    assert {(item.task_id, tuple(scripts(item))) for item in items} == expected
    assert len(items) + found.duplicates["Testing"] == found.lines == len(lines)


@given(st.binary(max_size=60) | st.text("|,'\"\\ \t\r\naT").map(str.encode))
def test_any_other_content_is_either_read_or_refused_by_name(content: bytes) -> None:
    for layout in (NESTED, SINGLE):
        try:
            said = f"tasks.txt: {parse(content, layout, ['a', 'T', 'aT']).lines} valid lines"
        except UsageError as error:
            said = str(error)
        assert said.startswith("tasks.txt:")


# Bad lines


@pytest.mark.parametrize("layout", [NESTED, SINGLE])
def test_a_file_with_line_ends_of_an_old_mac_is_refused(layout: Layout) -> None:
    with pytest.raises(BadLines) as caught:
        parse("A|Testing|seq|1\rB|Testing|seq|2\r", layout)
    assert str(caught.value).splitlines() == [
        "tasks.txt:1: contains a carriage return; does the file have line ends of an old Mac?",
        "1 invalid line; nothing was written",
    ]


def test_a_line_with_too_few_fields_is_named() -> None:
    assert complaint("Task-1|Testing|seq") == (
        "3 fields instead of 4 (TaskID, Table, Task Script, arguments) separated by '|'; "
        "leave out -n if the lines have no arguments"
    )
    assert complaint("Task-1", SINGLE) == (
        "1 field instead of 3 (TaskID, Table, Task Script) separated by '|'"
    )


@pytest.mark.parametrize("layout", [NESTED, SINGLE])
def test_what_looks_like_a_shells_pipe_is_refused_where_it_separates(layout: Layout) -> None:
    line = "P2|Testing|zcat x.gz | head"
    assert complaint(line, layout) == (
        "the | with blanks around it looks like a shell's pipe, but separates the argument: write "
        "bash -c '… | …', and choose another separator, say -s '\\t'; remove the blanks if it "
        "is a field separator"
    )
    literal = replace(layout, literal=True)
    for good in (line, "P2 | Testing | zcat x.gz | head", "P2|Testing|zcat x.gz|head"):
        kept = literal if good == line else layout
        assert only(good, kept).scripts == ["zcat x.gz head"]
    tabs = replace(layout, separator="\t")
    assert "needs a shell" in complaint(line.replace("|", "\t", 2) + "\targument", tabs)


@pytest.mark.parametrize("layout", [NESTED, SINGLE])
def test_an_empty_task_id_is_named(layout: Layout) -> None:
    assert complaint(" |Testing|seq|1", layout) == "the task id is empty"


@pytest.mark.parametrize("layout", [NESTED, SINGLE])
def test_an_empty_script_is_named(layout: Layout) -> None:
    assert complaint("Task-1|Testing| |1", layout) == "the Task Script is empty"


@pytest.mark.parametrize(
    ("arguments", "which"),
    [("", "1 of 1"), ("1,,3", "2 of 3"), ("1,2,", "3 of 3"), (" ,2", "1 of 2")],
)
def test_an_empty_nested_argument_is_named(arguments: str, which: str) -> None:
    assert complaint(f"Task-1|Testing|seq|{arguments}") == f"nested argument {which} is empty"


def test_a_foreign_table_is_named() -> None:
    assert complaint("Task-1|Tasting|seq|1") == (
        "the line names table Tasting, but -t only Testing"
    )
    assert complaint("Task-1||seq|1") == "the line names table '', but -t only Testing"
    with pytest.raises(BadLines, match="table Call, but -t only Align and Merge"):
        parse("S|Call|seq 1\n", SINGLE, ["Align", "Merge"])


def test_a_task_id_that_no_index_takes_is_named() -> None:
    assert only("ä" * 512 + "|Testing|seq|1").task_id == "ä" * 512
    assert complaint("ä" * 512 + "x|Testing|seq|1") == "the task id is longer than 1,024 bytes"


def test_text_that_is_not_utf_8_is_named_with_its_first_bad_byte() -> None:
    assert complaint(b"Gr\xf6\xdfe|Testing|seq|1") == "not UTF-8: byte 3 is 0xf6"


def test_utf_16_is_named() -> None:
    with pytest.raises(BadLines, match=r"tasks\.txt:1: not UTF-8: byte 1 is 0xff"):
        parse("A|Testing|seq|1\n".encode("utf-16"))
    assert "UTF-16" in complaint("A|Testing|seq|1".encode("utf-16-le"))


@pytest.mark.parametrize(
    ("line", "layout", "problem"),
    [
        ("A|Testing|echo 'a", SINGLE, "the Task Script: a quote is not closed"),
        ('A|Testing|echo|"a', SINGLE, "the Task Script: a quote is not closed"),
        ("A|Testing|echo|1,it's", NESTED, "nested argument 2 (it's): a quote is not closed"),
        ("A|Testing|echo|1,2\\", NESTED, "nested argument 2 (2\\): it ends in a backslash"),
    ],
)
def test_an_unbalanced_quote_is_named(line: str, layout: Layout, problem: str) -> None:
    assert complaint(line, layout) == problem


def test_a_nested_script_with_an_open_quote_may_mean_another_separator() -> None:
    assert complaint("A|Testing|echo 'a|b'|1,2") == (
        "the Task Script: a quote is not closed, or the separator is inside quotes: "
        "choose another separator, say -s '\\t'"
    )


def test_a_separator_inside_quotes_suggests_another_one() -> None:
    assert complaint("A|Testing|grep 'a|b'", SINGLE) == (
        "the separator is inside quotes: choose another separator, say -s '\\t'"
    )
    assert complaint("A\tTesting\tgrep 'a\tb'", Layout("\t")).endswith("say -s '|'")


def test_more_fields_than_four_suggest_another_separator() -> None:
    assert complaint("A|Testing|cat x|sort|uniq", SINGLE) == (
        "5 fields, at most 4 (TaskID, Table, Task Script, Argument): "
        "choose another separator, say -s '\\t', or -n for nested tasks"
    )


def test_a_single_script_that_cannot_fit_is_named() -> None:
    assert complaint("A|Testing|echo|" + "x" * 410_000, SINGLE) == (
        "the Task Script does not fit in DynamoDB's 400 KB: put it in a file"
    )


def test_a_nested_line_that_cannot_fit_says_how_to_split_it() -> None:
    arguments = [str(number) for number in range(2000)]
    said = complaint("A|Testing|seq|" + ",".join(arguments))
    assert said.startswith("its 2,000 nested tasks with their logs do not fit in DynamoDB's 400 KB")
    most = int(said.partition("at most ")[2].partition(" ")[0])
    assert most >= 400
    assert only("A|Testing|seq|" + ",".join(arguments[:most])).tasks == most
    assert complaint("A|Testing|seq|" + ",".join(arguments[: most + 1]))


def test_the_first_20_bad_lines_are_named_and_the_others_counted() -> None:
    content = "Good|Testing|seq|1\n" + "bad\n" * 1300
    with pytest.raises(BadLines) as caught:
        parse(content)
    *named, more, count = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in named] == [f"tasks.txt:{n}" for n in range(2, 22)]
    assert more == "… and 1,280 more invalid lines"
    assert count == "1,300 invalid lines; nothing was written"


def test_twenty_bad_lines_are_all_named() -> None:
    with pytest.raises(BadLines) as caught:
        parse("bad\n" * 20)
    assert len(str(caught.value).splitlines()) == 21
    assert "more" not in str(caught.value)


def test_every_bad_line_has_its_own_reason() -> None:
    content = b"x\n|Testing|seq|1\nGood|Testing|seq|1\nA|Else|seq|1\n\xff\n"
    with pytest.raises(BadLines) as caught:
        parse(content)
    reasons = [
        "1 field instead of 4",
        "the task id is empty",
        "the line names table Else",
        "not UTF-8",
    ]
    for line, number, reason in zip(
        str(caught.value).splitlines(), [1, 2, 4, 5], reasons, strict=False
    ):
        assert line.startswith(f"tasks.txt:{number}: {reason}")


def test_two_tasks_with_the_same_id_by_chance_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anamo.core.item._identity", lambda content: 7)
    assert complaint("B|Testing|seq|1") == (
        "happens to have the itemID of task 'Good': rename the task"
    )


# A last line that is cut off

CUT = "the file ends in this line, without a line break: was it cut off?"


@pytest.mark.parametrize(
    ("last", "layout", "problem"),
    [
        ("B|Testing|align", SINGLE, "3 fields, and 4 in all others: if that is right, end the"),
        ("B|Test", SINGLE, "2 fields instead of 3 "),
        ("B|Testing|align", NESTED, "3 fields instead of 4 "),
        ("B|Testing|bash -c 'al", SINGLE, "the Task Script: a quote is not closed"),
        ("B|Testing|align|'S1", NESTED, "nested argument 1 ('S1): a quote is not closed"),
        (b"B|Testing|align|\xc3", NESTED, "not UTF-8: "),
    ],
)
def test_a_bad_last_line_without_a_line_break_may_be_cut_off(
    last: str | bytes, layout: Layout, problem: str
) -> None:
    data = last.encode() if isinstance(last, str) else last
    with pytest.raises(BadLines) as caught:
        parse(b"A|Testing|align|S1\n" + data, layout)
    said = str(caught.value).splitlines()[0]
    assert said.startswith(f"tasks.txt:2: {problem}")
    assert said.endswith(f"; {CUT}")


def test_a_last_line_of_fewer_arguments_without_a_line_break_is_read_with_a_warning() -> None:
    content = "A|Testing|seq|1,2,3\nB|Testing|seq|1,2,3\nC|Testing|seq|1,2"
    found = parse(content)
    assert found.lines == 3
    assert found.warnings == [f"tasks.txt:3: 2 nested arguments, and more in all others; {CUT}"]
    assert parse(content + "\n").warnings == []


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        ("A|Testing|seq|1,2\nB|Testing|seq|1,2,3", NESTED),
        ("A|Testing|seq|1\nB|Testing|seq|1,2,3\nC|Testing|seq|1,2", NESTED),
        ("A|Testing|align|S1\nB|Testing|align S2\nC|Testing|align S3", SINGLE),
        ("A|Testing|align|S1\nB|Testing|align S2\n", SINGLE),
        ("A|Testing|align S1\nB|Testing|align|S2", SINGLE),
        ("A|Testing|align S1", SINGLE),
    ],
)
def test_a_last_line_like_others_needs_no_line_break(content: str, layout: Layout) -> None:
    assert parse(content, layout).warnings == []


# Files


@pytest.mark.parametrize("content", ["", "\n", " \r\n\t\n"])
def test_an_empty_file_is_an_error(content: str) -> None:
    with pytest.raises(UsageError, match=r"^tasks\.txt: contains no task$"):
        parse(content)


def test_a_missing_file_or_a_folder_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing.txt"
    with pytest.raises(UsageError, match=r"missing\.txt: No such file"):
        task_file.read(str(missing), NESTED, ["Testing"])
    with pytest.raises(UsageError, match="Is a directory"):
        task_file.read(str(tmp_path), NESTED, ["Testing"])


def test_a_file_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    path = tmp_path / "my tasks.txt"
    path.write_text("bad\n")
    with pytest.raises(BadLines, match=r"my tasks\.txt:1: 1 field"):
        task_file.read(str(path), NESTED, ["Testing"])
    path.write_text("A|Testing|seq|1\n")
    assert task_file.read(str(path), NESTED, ["Testing"]) == parse("A|Testing|seq|1\n")


def test_a_hyphen_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"A|Testing|seq|1\nbad\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(BadLines, match=r"^standard input:2: "):
        task_file.read("-", NESTED, ["Testing"])
