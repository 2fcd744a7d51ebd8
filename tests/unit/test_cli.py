"""What the command lines share: values of flags, messages, text for terminals."""

from __future__ import annotations

import argparse
import ast
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path

import argcomplete
import boto3
import botocore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from anamo import __version__
from anamo.cli import (
    arguments,
    command_parser,
    import_command,
    operator_commands,
    worker_command,
)
from anamo.cli.console import Messages
from anamo.cli.main import ExitStatus, run
from anamo.core.errors import AccessDenied, AnamoError, BucketMissing, HostError, UsageError
from anamo.core.text import printable
from anamo.operator.output import print_tsv
from anamo.worker.signals import Interrupted
from tests.support.environment import environment
from tests.support.scripts import ROOT

NOBODY = "http://127.0.0.1:9"
"""Where nothing listens."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("90m", 5400), ("2h", 7200), ("1d", 86400), ("0", 0)],
)
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    assert arguments.duration(text) == seconds


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (arguments.duration, ""),
        (arguments.duration, "m"),
        (arguments.duration, "-1"),
        (arguments.duration, "nan"),
        (arguments.duration, "inf"),
        (arguments.duration, "1 week"),
        (arguments.whole_number(1), "0"),
        (arguments.whole_number(1), "1.5"),
        (arguments.whole_number(1), ""),
        (arguments.separator, ""),
        (arguments.separator, "a\n"),
        (arguments.non_empty, " "),
        (arguments.log_prefix, "p" * 65),
        (arguments.log_prefix, "ä" * 11),
    ],
)
def test_a_wrong_value_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse(text)


def test_a_tab_may_be_typed() -> None:
    assert arguments.separator("\\t") == arguments.separator("\t") == "\t"
    assert arguments.separator("\\t|\\t") == "\t|\t"


def test_a_prefix_may_be_as_long_as_its_entries_have_room_for() -> None:
    assert arguments.log_prefix("p" * 64) == "p" * 64
    assert arguments.log_prefix("") == ""


def test_values_given_twice_count_once() -> None:
    assert arguments.unique(["b", "a", "b"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("wrong"), ExitStatus.USAGE),
        (HostError("wrong"), ExitStatus.AWS),
        (AccessDenied("wrong"), ExitStatus.AWS),
        (AnamoError("wrong"), ExitStatus.AWS),
        (ZeroDivisionError("a mistake in the code"), ExitStatus.AWS),
        (Interrupted(signal.SIGHUP), ExitStatus.HUNG_UP),
        (Interrupted(signal.SIGINT), ExitStatus.INTERRUPTED),
        (Interrupted(signal.SIGTERM), ExitStatus.TERMINATED),
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: ExitStatus,
) -> None:
    def main(_arguments: argparse.Namespace, _say: Messages) -> ExitStatus:
        raise error

    parser = argparse.ArgumentParser("script.py")
    arguments.add_common_flags(parser)
    assert run(parser, main, []) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("script.py: ")
    assert len(output.err.splitlines()) == 1


DRY_RUN = ("import-items-generic.py", "-t", "Tab", "-d", "-", "-s", "|", "--dry-run")


def started(
    *words: str, task_id: str = "A", stdout: int = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A script as it is started from a shell, with nothing of AWS to reach."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**environment(Path(os.devnull), dynamodb=NOBODY, s3=NOBODY), **variables},
        input=f"{task_id}|Tab|seq|1\n",
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_a_file_that_is_checked_and_a_closed_pipe_end_with_0() -> None:
    assert started(*DRY_RUN).returncode == ExitStatus.OK

    def main(_arguments: argparse.Namespace, _say: Messages) -> ExitStatus:
        raise BrokenPipeError

    with Path(os.devnull).open("w") as stdout, redirect_stdout(stdout):
        parser = argparse.ArgumentParser("script.py")
        arguments.add_common_flags(parser)
        assert run(parser, main, []) == ExitStatus.OK


@pytest.mark.parametrize(
    "words",
    [
        ["pyanamo.py", "-t", "Tab", "-b", "bucket"],
        ["import-items-generic.py", "-t", "Tab", "-d", "-", "-s", "|"],
    ],
)
def test_an_endpoint_that_cannot_be_reached_ends_with_3(words: list[str]) -> None:
    ended = started(*words)
    assert (ended.returncode, ended.stdout) == (ExitStatus.AWS, "")
    assert "Traceback" not in ended.stderr


WORKER = ["pyanamo.py", "-t", "Tab", "-b", "bucket"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["pyanamo.py", "-t", "Tab"], "the following arguments are required: -b/--bucket"),
        ([*WORKER[:-1], "arn:aws:s3:us-east-1:123456789012:accesspoint/a"], "is an ARN: pass"),
        ([*WORKER[:-1], "s3:///logs"], "'' cannot be the name of an S3 bucket"),
        ([*WORKER[:-1], "s3://a/logs"], "'a' cannot be the name of an S3 bucket"),
        ([*WORKER[:-1], "no bucket"], "'no bucket' cannot be the name of an S3 bucket"),
        ([*WORKER[:-1], "bucket/logs"], "is it s3://bucket/logs?"),
        ([*WORKER[:-1], f"s3://bucket/{'p' * 65}"], "has 65 bytes encoded"),
        ([*WORKER[:-1], "s3://bucket/logs", "-k", "logs"], "leave one of them out"),
        ([*WORKER, "--parallel_items", "0"], "argument -i/--items: 0 is less than 1"),
        ([*WORKER, "--parallel_nests=x"], "argument -n/--nested: 'x' is not a whole number"),
        ([*WORKER, "--wall_time", "soon"], "argument -w/--wall-time: 'soon' is not a duration"),
        ([*WORKER, "--bucket_Key", "p" * 65], "argument -k/--bucket-key: has 65 bytes"),
        ([*WORKER, "--aws_region", ""], "argument -r/--region: is empty"),
        (["pyanamo.py", "--table_name", "", "-b", "b"], "argument -t/--table: is empty"),
        (["import-items-generic.py", "--tbl", ""], "argument -t/--table: is empty"),
        (["import-items-generic.py", "--nested", ""], "argument -n/--nested-separator: is empty"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_why(words: list[str], complaint: str) -> None:
    ended = started(*words)
    assert (ended.returncode, ended.stdout) == (ExitStatus.USAGE, "")
    assert complaint in ended.stderr
    assert len(ended.stderr.splitlines()) <= 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stauts", "-t", "T"], "there is no command 'stauts'; did you mean status?"),
        (["Testing"], "there is no command 'Testing'; use status, logs, "),
        ([""], "there is no command ''; use status, logs, "),
    ],
)
def test_a_command_that_is_not_there_is_guessed(words: list[str], said: str) -> None:
    ended = started("pyanamo.py", *words)
    assert (ended.returncode, ended.stdout) == (ExitStatus.USAGE, "")
    first, second = ended.stderr.splitlines()
    assert first.startswith(f"pyanamo.py: {said}")
    assert second == "pyanamo.py: see python pyanamo.py --help"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-t", "Align", "status"], "the following arguments are required: -b/--bucket"),
        (["--debug", "status", "-t", "T"], "the following arguments are required: -b/--bucket"),
        (["-b", "logs", "status", "-t", "Align"], "unrecognized arguments: status"),
    ],
)
def test_a_command_after_flags_is_told_to_come_first(words: list[str], said: str) -> None:
    ended = started("pyanamo.py", *words)
    assert (ended.returncode, ended.stdout) == (ExitStatus.USAGE, "")
    assert ended.stderr.splitlines()[0] == (
        f"pyanamo.py: {said}; a command comes first: python pyanamo.py status ..."
    )


@pytest.mark.parametrize("columns", [80, 120])
def test_help_is_as_wide_as_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    commands = operator_commands.parser("pyanamo.py").commands
    for parser in (worker_command.parser(), import_command.parser(), *commands.values()):
        shown = parser.format_help()
        longest = max(map(len, shown.splitlines()))
        assert columns - 10 <= longest < columns, shown
        # Nothing else has changed, also on the second call
        assert shown.split() == parser.format_help().split()
        assert parser.epilog
        assert " ".join(parser.epilog.split()) in " ".join(shown.split())


def test_a_usage_error_names_the_help_of_the_command() -> None:
    assert started("pyanamo.py", "status").stderr == (
        "pyanamo.py status: the following arguments are required: -t/--table\n"
        "pyanamo.py status: see python pyanamo.py status --help\n"
    )
    script = "import-items-generic.py"
    assert started(script, "-t", "Tab").stderr == (
        f"{script}: the following arguments are required: -d/--data, -s/--separator\n"
        f"{script}: see python {script} --help\n"
    )


PROJECT = {
    "PYANAMO_TABLES": " Align, Call\tQCheck ",
    "PYANAMO_BUCKET": "s3://bucket/logs",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


def test_tables_and_bucket_come_from_the_environment_where_no_flag_gives_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in PROJECT.items():
        monkeypatch.setenv(name, text)
    for parser, words in (
        (worker_command.parser(), []),
        (import_command.parser(), []),
        (operator_commands.parser("pyanamo.py"), ["status"]),
        (operator_commands.parser("pyanamo.py"), ["requeue"]),
    ):
        parsed = parser.parse_args(words)
        assert arguments.tables(parsed) == ["Align", "Call", "QCheck"]
        parsed = parser.parse_args([*words, "-t", "One", "Two", "-t", "Three"])
        assert arguments.tables(parsed) == ["One", "Two", "Three"]
        assert "PYANAMO_TABLES" in parser.format_help() or words
    worker = worker_command.parser()
    assert arguments.bucket(worker.parse_args([])) == arguments.LogLocation("bucket", "logs")
    assert worker.parse_args(["-b", "other"]).bucket.bucket == "other"
    # As a file with the line ends of Windows leaves it
    monkeypatch.setenv("PYANAMO_TABLES", "Align Call\r\n")
    assert arguments.tables(worker.parse_args([])) == ["Align", "Call"]
    monkeypatch.setenv("PYANAMO_TABLES", "Align x/y")
    with pytest.raises(UsageError, match="PYANAMO_TABLES: 'x/y' cannot be the name of a DynamoDB"):
        arguments.tables(worker.parse_args([]))
    monkeypatch.setenv("PYANAMO_TABLES", " ,")
    with pytest.raises(SystemExit):
        worker_command.parser().parse_args([])


@pytest.mark.parametrize(
    "command", [WORKER, ["pyanamo.py", "plan", "--workers", "1", "--task-time", "1s", "-t", "Tab"]]
)
def test_a_table_name_that_aws_does_not_take_is_refused_before_aws_is_asked(
    command: list[str],
) -> None:
    ended = started(*[word.replace("Tab", "Align x/y") for word in command])
    assert ended.returncode == ExitStatus.USAGE
    assert "-t: 'x/y' cannot be the name of a DynamoDB table" in ended.stderr.splitlines()[-1]


def test_a_bucket_in_the_environment_is_checked_and_blamed_by_the_name_of_its_variable() -> None:
    ended = started("pyanamo.py", "-t", "Tab", PYANAMO_BUCKET="no bucket")
    assert ended.returncode == ExitStatus.USAGE
    assert "PYANAMO_BUCKET: 'no bucket' cannot be the name" in ended.stderr


@pytest.mark.parametrize(("text", "seconds"), [("10m", 600), ("2", 2), ("2.5", 3), ("1h", 3600)])
def test_a_lease_may_have_a_unit(text: str, seconds: int) -> None:
    parser = worker_command.parser()
    assert parser.parse_args(["-t", "T", "-b", "bucket", "--lease", text]).lease == seconds
    assert parser.parse_args(["-t", "T", "-b", "bucket"]).lease == 600


IMPORTER = ["import-items-generic.py", "-t", "Tab", "-d", "-", "-s", "|"]
SCRIPTS = {script: flags for script, *flags in (WORKER, IMPORTER)}


def prepared(script: str, before: str) -> subprocess.CompletedProcess[str]:
    """Run a script after some code."""
    code = f"import runpy, sys; {before}; sys.argv = {[script, *SCRIPTS[script]]}"
    return started("-c", f"{code}; runpy.run_path(sys.argv[0], run_name='__main__')")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_python_that_is_too_old_is_named(script: str) -> None:
    ended = prepared(script, "sys.version_info = (3, 9); sys.version = '3.9.2 (default)'")
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        ExitStatus.AWS,
        "",
        f"{script}: needs Python 3.10 or newer; this is 3.9.2\n",
    )
    # What comes before can be read by any Python 3
    ast.parse((ROOT / script).read_text(), feature_version=(3, 4))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_package_that_is_missing_is_named(script: str) -> None:
    ended = prepared(script, "sys.modules['botocore'] = None")
    assert (ended.returncode, ended.stdout) == (ExitStatus.AWS, "")
    assert ended.stderr.startswith(f"{script}: botocore is not installed for {sys.executable}: ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("writable", [True, False])
def test_a_checkout_that_is_read_only_gets_no_byte_code(tmp_path: Path, writable: bool) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "anamo", checkout / "anamo", ignore=shutil.ignore_patterns("__pyc*"))
    for script in SCRIPTS:
        shutil.copy(ROOT / script, checkout)
    folders = [checkout, *(each for each in checkout.rglob("*") if each.is_dir())]
    for folder in folders:
        folder.chmod(0o755 if writable else 0o555)
    try:
        for script in SCRIPTS:
            assert started(str(checkout / script), "--help").returncode == 0
        # Root may write there anyway
        assert bool(list(checkout.rglob("*.pyc"))) == writable
    finally:
        for folder in folders:
            folder.chmod(0o755)


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("pyanamo.py stat", {"status "}),
        ("pyanamo.py re", {"requeue", "retry", "remove", "resume"}),
        ("python pyanamo.py stat", {"status "}),
        ("python pyanamo.py --max-", {"--max-failures", "--max-attempts"}),
        ("pyanamo.py status --by", {"--by-task "}),
        ("pyanamo.py status -t T --output ", {"table", "json", "tsv"}),
        ("pyanamo.py --max-", {"--max-failures", "--max-attempts"}),
        ("import-items-generic.py --dry", {"--dry-run "}),
    ],
)
def test_a_shell_completes_commands_and_flags(
    tmp_path: Path, line: str, completions: set[str]
) -> None:
    answer = tmp_path / "answer"
    before, dot, _ = line.partition(".py")
    script = before.split()[-1] + dot
    started(
        script,
        PYTHONPATH=str(Path(argcomplete.__file__).parents[1]),
        _ARGCOMPLETE=str(len(before.split())),
        _ARGCOMPLETE_IFS="\n",
        _ARGCOMPLETE_STDOUT_FILENAME=str(answer),
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
        COMP_TYPE="",
    )
    assert set(answer.read_text().split("\n")) == completions
    # By this, completion of `python SCRIPT` finds out that a script answers
    assert "PYTHON_ARGCOMPLETE_OK" in (ROOT / script).read_text()[:1024]


def test_the_originals_long_flags_mean_what_they_did() -> None:
    original = (
        "--table_name T -b bucket --aws_region eu-west-1 --bucket_Key logs --parallel_items 2 "
        "--parallel_nests=4 --wall_time=2h"
    )
    today = "-t T -b bucket -r eu-west-1 -k logs -i 2 -n 4 -w 2h"
    flags = worker_command.ORIGINAL_FLAGS
    words = arguments.without_aliases(original.split(), flags)
    parser = worker_command.parser()
    assert parser.parse_args(words) == parser.parse_args(today.split())
    dry = ["import-items-generic.py", "--tbl", "Tab", "--data", "-", "--separator", "|"]
    assert "Tab: 1 item, 1 task" in started(*dry, "--nested", ",", "--dry-run").stdout
    for script, named in (
        ("pyanamo.py", flags),
        ("import-items-generic.py", import_command.ORIGINAL_FLAGS),
    ):
        shown = " ".join(started(script, "--help").stdout.split())
        assert f"The original's long flags work too: {', '.join(named)}. " in shown


@pytest.mark.parametrize(
    ("words", "bucket", "prefix"),
    [
        (["-b", "bucket"], "bucket", "PyAnamo"),
        (["-b", "bucket", "-k", "logs"], "bucket", "logs"),
        (["-b", "bucket", "-k", ""], "bucket", ""),
        (["-b", "s3://bucket"], "bucket", "PyAnamo"),
        (["-b", "s3://bucket/"], "bucket", "PyAnamo"),
        (["-b", "s3://bucket", "-k", "logs"], "bucket", "logs"),
        (["-b", "s3://bucket/logs/of/mine/"], "bucket", "logs/of/mine"),
        (["-b", "Old_Bucket.1"], "Old_Bucket.1", "PyAnamo"),
        (["-b", "point-abc123-s3alias"], "point-abc123-s3alias", "PyAnamo"),
    ],
)
def test_a_bucket_is_named_plainly_or_as_an_address(
    words: list[str], bucket: str, prefix: str
) -> None:
    parsed = worker_command.parser().parse_args(["-t", "T", *words])
    location = parsed.bucket
    assert location.bucket == bucket
    assert worker_command.log_prefix(parsed.bucket_key, location) == prefix


def test_debug_begins_with_versions_and_environment_but_no_secret() -> None:
    ended = started(
        *WORKER,
        "--debug",
        AWS_BATCH_JOB_ID="job:1",
        AWS_SESSION_TOKEN="hunter2",
        HTTPS_PROXY="http://me:hunter2@127.0.0.1:9",
        DB_PASSWORD="hunter2",
    )
    said = [line.removeprefix("pyanamo.py: ") for line in ended.stderr.splitlines()]
    assert said[0].startswith(f"PyAnamo {__version__}, Python {platform.python_version()}, Linux")
    assert said[1:3] == [f"boto3 {boto3.__version__}", f"botocore {botocore.__version__}"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = [Requirement(line).name for line in lines if not line.startswith("#")]
    assert [line.split()[0] for line in said[1 : 1 + len(required)]] == required
    assert {
        "AWS_REGION=us-east-1",
        f"AWS_ENDPOINT_URL_S3={NOBODY}",
        "AWS_BATCH_JOB_ID=job:1",
        "HTTPS_PROXY=127.0.0.1:9",
    } <= set(said)
    assert "hunter2" not in ended.stderr
    assert "AWS_REGION" not in started(*WORKER).stderr


def test_an_errors_docstring_is_its_message() -> None:
    assert str(BucketMissing()) == "The bucket does not exist."
    assert str(BucketMissing("bucket b does not exist")) == "bucket b does not exist"


def test_each_line_of_a_message_stands_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    Messages("script.py")("one\ntwo \x1b[2J")
    assert capsys.readouterr().err == "script.py: one\nscript.py: two \\x1b[2J\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe 語 😀 ~", "Größe 語 😀 ~"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("abc\u202egpj.exe", "abc\\u202egpj.exe"),
        ("a\u2028b\ufeff\u200b", "a\\u2028b\\ufeff\\u200b"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_a_terminal_could_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_printable_text_is_one_line_that_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert printable(shown) == shown


def test_a_message_nobody_can_read_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stderr", full)
        Messages("script.py")("one\ntwo")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()


@pytest.mark.parametrize(
    "command",
    [
        [*WORKER, "--timeout", "0"],
        ["pyanamo.py", "status", "-t", "Tab", "--watch", "0"],
        ["pyanamo.py", "resume", "-t", "Tab", "--after", "Earlier", "--watch", "0s"],
    ],
)
def test_no_time_at_all_is_refused_for_what_would_never_end_or_never_begin(
    command: list[str],
) -> None:
    ended = started(*command)
    assert ended.returncode == ExitStatus.USAGE
    assert "is not allowed: it must be more than 0" in ended.stderr.splitlines()[0]


def test_a_flag_that_a_command_does_not_know_is_reported_with_the_help_of_the_command() -> None:
    ended = started("pyanamo.py", "hold", "-t", "Tab", "--regoin", "us-east-1")
    assert ended.returncode == ExitStatus.USAGE
    assert ended.stderr.splitlines() == [
        "pyanamo.py hold: unrecognized arguments: --regoin; did you mean --region?",
        "pyanamo.py hold: see python pyanamo.py hold --help",
    ]


def test_a_pipe_that_closes_before_the_end_ends_with_0_and_says_nothing() -> None:
    """Python, which flushes stdout at exit, would say so and end with 120."""
    read, write = os.pipe()
    os.close(read)
    ended = started(*DRY_RUN, stdout=write, PYTHONUNBUFFERED="")
    os.close(write)
    assert (ended.returncode, ended.stderr) == (ExitStatus.OK, "")


def test_a_stdout_that_cannot_be_written_ends_with_3_and_a_message() -> None:
    with Path("/dev/full").open("w") as full:
        ended = started(*DRY_RUN, stdout=full.fileno(), PYTHONUNBUFFERED="")
    assert ended.returncode == ExitStatus.AWS
    (line,) = ended.stderr.splitlines()
    assert "No space left on device" in line


def test_what_the_locale_cannot_encode_is_escaped() -> None:
    task_id = "Probe-\N{GREEK SMALL LETTER ALPHA}"
    ended = started(*DRY_RUN, task_id=task_id, PYTHONIOENCODING="ascii:strict")
    assert ended.returncode == ExitStatus.OK
    assert r"Probe-\u03b1" in ended.stdout


def test_an_error_after_output_that_nobody_reads_keeps_its_exit_code(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import argparse, sys\n"
        "from anamo.cli import arguments\n"
        "from anamo.cli.main import run\n"
        "from anamo.core.errors import AwsError\n"
        "def main(arguments, say):\n"
        "    print('one line')\n"
        "    raise AwsError('no')\n"
        "parser = argparse.ArgumentParser('script.py')\n"
        "arguments.add_common_flags(parser)\n"
        "sys.exit(run(parser, main, []))\n"
    )
    with Path("/dev/full").open("w") as full:
        variables = {"PYTHONUNBUFFERED": "", "PYTHONPATH": str(ROOT)}
        ended = started(str(script), stdout=full.fileno(), **variables)
    assert (ended.returncode, ended.stderr) == (ExitStatus.AWS, "script.py: no\n")


@pytest.mark.parametrize(
    "name", ["S7", "-S7", "=cmd", "'-S7", "''=x", "'S7", '"=y', "-3.5", "'-3.5"]
)
def test_a_name_comes_back_from_tsv_as_it_went(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_tsv(["taskID", "Align"], [[name, "done"]])
    names = tmp_path / "names.tsv"
    names.write_text(capsys.readouterr().out)
    given = argparse.Namespace(
        table=[["Align"]], names=[], names_from=str(names), region="us-east-1"
    )
    assert command_parser.words(given).names == [name]


def test_an_operator_without_credentials_is_told_at_once() -> None:
    """What is retried is reported after some seconds, in a line of its own."""
    ended = started("pyanamo.py", "status", "-t", "Tab", "-r", "us-east-1", AWS_ACCESS_KEY_ID="")
    assert ended.returncode == ExitStatus.AWS
    (line,) = ended.stderr.splitlines()
    assert "credentials" in line
