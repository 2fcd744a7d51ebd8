from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.operator.conftest import HOSTILE, Workflow
from tests.support import workflow
from tests.support.browser import chromium, prefer, resize
from tests.support.cohort import Cohort
from tests.support.environment import environment
from tests.support.report import report_of
from tests.support.scripts import Scripts
from tests.support.table import Table
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser for all tests of this module."""
    with chromium(tmp_path_factory.mktemp("chromium")) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def report(
    steps: Workflow, dynamodb: str, s3: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The report about the workflow."""
    folder = tmp_path_factory.mktemp("report")
    path = folder / "report.html"
    with Scripts(environment(folder, dynamodb=dynamodb, s3=s3), folder) as scripts:
        ended = scripts.run("pyanamo.py", "status", "-t", *steps.names, "--html", path)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert f"wrote {path}" in ended.stderr
    return path


def open_anew(browser: Chrome, path: Path) -> None:
    """Open a report so that it knows nothing of what was chosen on it before."""
    browser.get("about:blank")
    browser.get(path.as_uri())


@pytest.fixture
def opened(report: Path, browser: Chrome) -> Path:
    """The report, newly opened in the browser."""
    open_anew(browser, report)
    return report


@pytest.fixture(scope="module")
def cohort_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report about a cohort that is in no table."""
    cohort = Cohort()
    path = tmp_path_factory.mktemp("cohort") / "cohort.html"
    path.write_text(report_of(cohort.steps(), cohort.now))
    return path


@pytest.fixture
def cohort(cohort_file: Path, browser: Chrome) -> Path:
    """The cohort's report, newly opened and with what is copied kept in `copied`."""
    open_anew(browser, cohort_file)
    browser.execute_script(
        "navigator.clipboard.writeText = async (text) => { window.copied = text; }"
    )
    return cohort_file


SHOWN = "document.querySelectorAll('#matrix > tbody > tr:not(.opened)')"


def samples(browser: Chrome) -> list[str]:
    """The samples that are shown, in their order."""
    found: list[str] = browser.execute_script(
        f"return [...{SHOWN}].map((row) => row.cells[0].textContent)"
    )
    return found


def column(browser: Chrome, number: int) -> list[str]:
    """The states in a column of the rows that are shown."""
    found: list[str] = browser.execute_script(
        f"return [...{SHOWN}].map((row) => {{ const cell = row.cells[arguments[0]];"
        " return (cell.querySelector('.word') ?? cell).textContent; })",
        number,
    )
    return found


def show_all(browser: Chrome) -> None:
    """Unfold the samples and have all their rows made."""
    browser.execute_script("if (!view.all) fold.click(); append(matching.length)")


def text_of(browser: Chrome, selector: str) -> str:
    """The text of an element that is in sight."""
    return browser.find_element(By.CSS_SELECTOR, selector).text


def click(browser: Chrome, selector: str) -> None:
    """Click an element, wherever in the report it is."""
    element = browser.find_element(By.CSS_SELECTOR, selector)
    assert element.is_displayed()
    browser.execute_script("arguments[0].click()", element)


def cell(sample: str, step: int) -> str:
    """The selector of a cell of the cohort's report."""
    number = int(sample.removeprefix("Sample")) - 1
    return f".cell[data-sample='{number}'][data-step='{step}']"


@pytest.mark.usefixtures("opened")
def test_it_shows_all_there_is_without_a_word_on_the_console(
    browser: Chrome, steps: Workflow
) -> None:
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    text = browser.find_element(By.TAG_NAME, "body").text
    for name in steps.names:
        assert name in text
    assert "killed by signal 9" in text
    show_all(browser)
    assert len(samples(browser)) == len({i["taskID"] for items in steps.items for i in items})
    for drawn in ("#progress .part", "#measures .column", "#timeline .span"):
        found = browser.find_elements(By.CSS_SELECTOR, drawn)
        assert len(found) > 3
        assert all(each.size["width"] > 0 for each in found[:50])


def test_nothing_of_a_table_becomes_part_of_the_report(opened: Path, browser: Chrome) -> None:
    show_all(browser)
    assert "owned" not in browser.title
    assert not browser.find_elements(By.CSS_SELECTOR, "img, td script, th script")
    assert "\x1b" not in opened.read_text()
    name = HOSTILE.replace("\x1b", "\\x1b")
    assert name in samples(browser)
    browser.execute_script("openCell(data.samples.indexOf(arguments[0]), 0)", name)
    assert "exit 9" in text_of(browser, ".failure")
    assert not browser.find_elements(By.CSS_SELECTOR, "img")
    # Such a name cannot be typed: the commands have the itemID
    [logs, _] = browser.find_elements(By.CSS_SELECTOR, ".failure code")
    assert re.search(r" \d+$", logs.text)


def test_it_is_one_file_that_asks_for_nothing(opened: Path, browser: Chrome) -> None:
    html = opened.read_text()
    assert "default-src 'none'" in html
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map((each) => each.name)"
    )
    assert [name for name in asked if not name.startswith("data:")] == []
    assert not re.findall(r"https?://", html)


@pytest.mark.usefixtures("opened")
def test_a_click_sorts(browser: Chrome) -> None:
    show_all(browser)
    assert samples(browser)[0] == "Foreign"
    heads = browser.find_elements(By.CSS_SELECTOR, "#matrix thead button")
    browser.execute_script("arguments[0].click(); append(matching.length)", heads[2])
    cells = column(browser, 2)
    assert cells[0] == "failed"
    assert cells.index("running") == cells.count("failed")
    assert cells[-1] == "\u2013"
    browser.execute_script("arguments[0].click(); append(matching.length)", heads[2])
    assert column(browser, 2)[-1] == "failed"
    heads[0].click()
    assert samples(browser)[0] == "Foreign"


@pytest.mark.usefixtures("opened")
def test_a_click_filters(browser: Chrome, steps: Workflow) -> None:
    assert not browser.find_element(By.ID, "chosen").is_displayed()
    click(browser, ".count[data-kind='failed'][data-step='1']")
    show_all(browser)
    assert set(column(browser, 2)) == {"failed"}
    assert len(samples(browser)) == steps.states(1)["failed"]
    click(browser, "#chosen")
    assert "samples" in text_of(browser, "#shown").partition("of")[0]
    click(browser, ".chip[data-state='done']")
    assert {*column(browser, 1), *column(browser, 2), *column(browser, 3)} == {"done"}
    click(browser, ".chip[data-state='done']")
    browser.find_element(By.ID, "search").send_keys("sample12")
    show_all(browser)
    assert all("Sample12" in name for name in samples(browser))
    assert text_of(browser, "#shown").startswith("111 of ")


@pytest.mark.usefixtures("cohort")
def test_samples_come_first_and_are_folded_where_they_are_many(browser: Chrome) -> None:
    order = browser.execute_script(
        "return [...document.querySelectorAll('section')].map((each) => each.id)"
    )
    assert order.index("samples") < order.index("timeline")
    assert len(samples(browser)) == 20
    assert text_of(browser, "#fold") == "show all 70"
    click(browser, "#fold")
    assert len(samples(browser)) == 70
    click(browser, "#fold")
    assert len(samples(browser)) == 20


@pytest.mark.usefixtures("cohort")
def test_a_cell_opens_and_says_why_and_what_to_type(browser: Chrome) -> None:
    show_all(browser)
    click(browser, cell("Sample49", 1))
    shown = text_of(browser, ".detail")
    for said in (
        *("Task_8 chr9: exit 3", "Task_10 chr11: timeout", "exit code 143"),
        *("ERROR: contig chrUn_KI270742v1", "attempts\n2", "bash call.sh Sample49 \u2026"),
        "24 nested tasks: 21 done, 3 failed, 0 not ended",
        "python pyanamo.py logs -t Call -r us-east-1 Sample49 --nested Task_8",
        "python pyanamo.py requeue -t Call -r us-east-1 Sample49 --state failed",
    ):
        assert said in shown, said
    [log, address] = browser.find_elements(By.CSS_SELECTOR, ".failure:nth-of-type(1) .copy")[:2]
    browser.execute_script("arguments[0].click()", log)
    copied = browser.execute_script("return copied")
    assert copied == "python pyanamo.py logs -t Call -r us-east-1 Sample49 --nested Task_8"
    browser.execute_script("arguments[0].click()", address)
    written = {i["taskID"]: i for i in Cohort().steps()["Call"]}["Sample49"]["Log"]["Task_8"]["S3"]
    assert browser.execute_script("return copied") == written
    click(browser, "summary")
    assert "Task_23 chrY" in text_of(browser, ".tasks")
    click(browser, cell("Sample49", 1))
    assert not browser.find_elements(By.CSS_SELECTOR, ".detail")


@pytest.mark.usefixtures("cohort")
def test_a_cell_says_what_runs_what_waits_and_what_was_tagged(browser: Chrome) -> None:
    show_all(browser)
    for sample, step, said in (
        ("Sample1", 0, ["done", "reads=", "peak memory\n30.5 GB", "exit code\n0"]),
        (
            "Sample60",
            1,
            ["running", "runs for", "12 done, 0 failed, 12 not ended", "Sample60 --follow"],
        ),
        ("Sample63", 1, ["waiting", "Its lease has ended"]),
        ("Sample70", 1, ["held"]),
    ):
        click(browser, cell(sample, step))
        shown = text_of(browser, f".opened[data-sample='{int(sample[6:]) - 1}']")
        for words in said:
            assert words in shown, (sample, words)
    assert text_of(browser, cell("Sample65", 1)) == "waiting\nafter 1 attempt"


@pytest.mark.usefixtures("cohort")
def test_names_that_are_filtered_can_be_copied(browser: Chrome) -> None:
    click(browser, ".chip[data-state='failed']")
    click(browser, "#copy-ids")
    names = ["Sample12", "Sample13", "Sample21", "Sample32", "Sample43", "Sample49"]
    assert browser.execute_script("return copied") == "".join(f"{name}\n" for name in names)
    # The report says so once the clipboard has them
    eventually(lambda: text_of(browser, "#said") == "6 names copied")
    click(browser, "#failures [data-label='killed by signal 9']")
    assert samples(browser) == ["Sample21", "Sample32"]
    assert text_of(browser, "#chosen") == "killed by signal 9 in Call \u2715"


@pytest.mark.usefixtures("cohort")
def test_everything_can_be_done_with_the_keyboard(browser: Chrome) -> None:
    browser.find_element(By.CSS_SELECTOR, cell("Sample1", 0)).send_keys(Keys.ARROW_DOWN)
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    focused = browser.switch_to.active_element
    assert focused == browser.find_element(By.CSS_SELECTOR, cell("Sample2", 1))
    focused.send_keys(Keys.ENTER)
    assert focused.get_attribute("aria-expanded") == "true"
    assert "done" in text_of(browser, ".detail")
    browser.find_element(By.CSS_SELECTOR, ".detail summary").send_keys(Keys.ESCAPE)
    assert not browser.find_elements(By.CSS_SELECTOR, ".detail")
    assert browser.switch_to.active_element == focused
    unreachable = browser.execute_script(
        "return [...document.querySelectorAll('button, input, summary')].filter((each) =>"
        " each.tabIndex < 0 && !each.closest('#timeline')).length"
    )
    assert unreachable == 0


@pytest.mark.usefixtures("cohort")
def test_colours_and_shapes_mean_states_and_never_a_step(browser: Chrome) -> None:
    colors: dict[str, set[str]] = browser.execute_script(
        "const found = {};"
        "for (const each of document.querySelectorAll('.mark, .part, .span')) {"
        "  const color = getComputedStyle(each).getPropertyValue('--c');"
        "  const kind = [...each.classList].find((name) => ORDER[name] !== undefined) ?? '';"
        "  (found[kind] ??= []).push(color); } return found"
    )
    meanings = {kind: set(found) for kind, found in colors.items() if kind}
    assert {"done", "failed", "running", "waiting", "held"} <= set(meanings)
    assert all(len(found) == 1 for found in meanings.values())
    assert len(set().union(*meanings.values())) == len(meanings)
    # What names a step has no colour
    assert set(colors.get("", [""])) == {""}
    shapes = browser.execute_script(
        "return Object.keys(ORDER).slice(0, -1).map((kind) => getComputedStyle("
        "document.body.appendChild(mark(kind))).getPropertyValue('--shape'))"
    )
    assert len(set(shapes)) == len(shapes) == 6


@pytest.mark.usefixtures("cohort")
def test_two_workers_of_a_host_have_a_lane_each_and_axes_have_units(browser: Chrome) -> None:
    text = text_of(browser, "#timeline")
    assert "2 lanes, 66 items" in text or "2 lanes, 67 items" in text
    assert "time (UTC)" in text
    lanes = browser.find_elements(By.CSS_SELECTOR, ".chart hr + .host .lane")
    assert len(lanes) == 2
    axis = text_of(browser, "#measures")
    assert all(unit in axis for unit in ("1 min", "10 GB", "154 tasks"))
    click(browser, "#timeline .chip[data-only='1']")
    faint = browser.find_elements(By.CSS_SELECTOR, ".span.away-step")
    assert faint
    assert {each.get_attribute("data-step") for each in faint} == {"0", "2"}


@pytest.mark.usefixtures("cohort")
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark_wide_and_narrow(
    browser: Chrome, scheme: str, width: int
) -> None:
    prefer(browser, scheme)
    resize(browser, width)
    browser.refresh()
    browser.execute_script("openCell(20, 1)")
    # Nothing is cut off: what is wider than its place scrolls in it, or wraps
    cut = browser.execute_script(
        "return [...document.querySelectorAll('body *')].filter((each) => {"
        "  const { overflowX, position } = getComputedStyle(each);"
        "  const box = each.getBoundingClientRect();"
        "  const scrolls = each.closest('.scroll');"
        "  return !scrolls && position !== 'fixed' && box.width && (box.right > innerWidth + 1 ||"
        "    (overflowX !== 'visible' && each.scrollWidth > each.clientWidth + 1)); })"
        ".map((each) => each.outerHTML.slice(0, 80))"
    )
    assert cut == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for selector in ("body", ".quiet", ".cell.done", ".cause", ".detail .quiet"):
        element = browser.find_element(By.CSS_SELECTOR, selector)
        ink = luminance(element.value_of_css_property("color"))
        ground = browser.find_element(By.CSS_SELECTOR, "#samples")
        paper = luminance(ground.value_of_css_property("background-color"))
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5, selector
    assert (paper < 0.2) == (scheme == "dark")


def luminance(color: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_an_empty_table_has_a_report(
    run: Run, table: Table, tmp_path: Path, browser: Chrome
) -> None:
    path = tmp_path / "empty.html"
    assert run("pyanamo.py", "status", "-t", table.name, "--html", path).returncode == 0
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert "No task has failed." in browser.find_element(By.TAG_NAME, "body").text


def finish(client: DynamoDBClient, table: Table, task_id: str) -> None:
    """Let an item be done."""
    workflow.put_all(client, table, [workflow.item(task_id, "done")])


@pytest.mark.parametrize("state", ["kept", "without the browser's history"])
def test_a_report_that_is_rewritten_reloads_and_stays_as_it_was(
    scripts: Scripts,
    small: Callable[..., Table],
    dynamodb_client: DynamoDBClient,
    tmp_path: Path,
    browser: Chrome,
    state: str,
) -> None:
    names = [f"Sample{k}" for k in range(1, 61)]
    table = small(*(workflow.item(name, "done") for name in names[1:]), workflow.item("Sample1"))
    path = tmp_path / "live.html"
    words = ["status", "-t", table.name, "--watch", "1", "--html", str(path)]
    watching = scripts.start("pyanamo.py", *words)
    eventually(path.exists, 60)
    resize(browser, 1000)
    browser.get(path.as_uri())
    assert "This page reloads every" in text_of(browser, "#reload")
    if state != "kept":
        browser.execute_script("history.replaceState = () => { throw new Error('none') }")
    browser.execute_script(
        "window.first = true; choose({ step: 0, kind: 'done' }); fold.click();"
        "search.value = 'sample'; search.dispatchEvent(new Event('input'));"
        "toggle(document.querySelector('.cell')); scrollTo(0, 700)"
    )
    eventually(lambda: not browser.execute_script("return window.first ?? false"), 60)
    kept = browser.execute_script("return [view.text, view.kind, view.all, Math.round(scrollY)]")
    if state != "kept":
        # Control: what the report is without what it keeps
        assert kept[:3] == ["", "", False]
        return
    assert kept == ["sample", "done", True, 700]
    assert "Sample2" in text_of(browser, ".detail .command")
    finish(dynamodb_client, table, "Sample1")
    ended = watching.wait(120)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "rewritten every 1 s" in ended.stderr
    assert "nothing is left to do" in ended.stderr
    eventually(lambda: not browser.find_elements(By.ID, "reload"), 60)
    assert text_of(browser, "#shown") == "60 samples"
    assert [each.name for each in tmp_path.iterdir() if "pyanamo-" in each.name] == []


def test_a_report_can_be_paused_and_says_when_it_is_not_updated(
    tmp_path: Path, browser: Chrome
) -> None:
    path = tmp_path / "live.html"
    cohort = Cohort()
    path.write_text(report_of(cohort.steps(), cohort.now, refresh=3600))
    open_anew(browser, path)
    assert not browser.find_element(By.ID, "stale").is_displayed()
    click(browser, "#pause")
    browser.execute_script("keep({ since: Date.now() - 4 * 3600 * 1000 })")
    browser.refresh()
    assert text_of(browser, "#pause") == "resume"
    assert "is status --watch still running?" in text_of(browser, "#stale")
    # What is rewritten is not stale, whatever the clocks say
    path.write_text(report_of(cohort.steps(), cohort.now + 60, refresh=3600))
    browser.refresh()
    assert not browser.find_element(By.ID, "stale").is_displayed()


def test_a_report_goes_with_no_other_form(run: Run, table: Table) -> None:
    for words in (["--by-task"], ["--state", "done"], ["--check"], ["--output", "json"]):
        ended = run("pyanamo.py", "status", "-t", table.name, "--html", "x.html", *words)
        assert ended.returncode == 2
        assert "--html" in ended.stderr


@pytest.mark.long
def test_5000_samples_sort_at_once(
    run: Run,
    make_table: Callable[[], Table],
    dynamodb_client: DynamoDBClient,
    tmp_path: Path,
    browser: Chrome,
) -> None:
    tables = [make_table() for _ in range(3)]
    for table in tables:
        workflow.put_all(dynamodb_client, table, workflow.run_of(5000, 0, {"done": 0.5}))
    path = tmp_path / "large.html"
    run("pyanamo.py", "status", "-t", *(table.name for table in tables), "--html", path)
    assert path.stat().st_size < 2_000_000
    browser.get(path.as_uri())
    assert text_of(browser, "#shown") == "5,000 samples"
    assert len(samples(browser)) == 20
    browser.find_elements(By.CSS_SELECTOR, "#matrix thead button")[1].click()
    assert column(browser, 1)[0] == "waiting"
    click(browser, "#fold")
    assert len(samples(browser)) == 100
    browser.execute_script("document.querySelector('#rows').scrollTop = 1e6")
    eventually(lambda: len(samples(browser)) > 100, 60)
