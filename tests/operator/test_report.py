from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.operator.conftest import HOSTILE, Workflow
from tests.support import workflow
from tests.support.browser import chromium, prefer, resize
from tests.support.environment import environment
from tests.support.scripts import Scripts
from tests.support.table import Table

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


@pytest.fixture
def page(report: Path, browser: Chrome) -> Path:
    """The page, newly opened in the browser."""
    browser.get(report.as_uri())
    return report


def task_ids(browser: Chrome) -> list[str]:
    """The task ids that are shown, in their order."""
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('#matrix tbody tr:not([hidden]) th')]"
        ".map((cell) => cell.textContent)"
    )
    return found


def columns(browser: Chrome, number: int) -> list[str]:
    """What stands in a column of the rows that are shown."""
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('#matrix tbody tr:not([hidden])')]"
        ".map((row) => row.cells[arguments[0]].textContent)",
        number,
    )
    return found


@pytest.mark.usefixtures("page")
def test_it_shows_all_there_is_without_a_word_on_the_console(
    browser: Chrome, steps: Workflow
) -> None:
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    text = browser.find_element(By.TAG_NAME, "body").text
    for name in steps.names:
        assert name in text
    assert "killed by signal 9" in text
    assert len(task_ids(browser)) == len({i["taskID"] for items in steps.items for i in items})
    for section in ("progress", "measures", "timeline"):
        drawn = browser.find_elements(By.CSS_SELECTOR, f"#{section} svg rect.fill")
        assert len(drawn) > 3
        assert all(rect.get_attribute("width") != "0" for rect in drawn[:50])


def test_nothing_of_a_table_becomes_part_of_the_page(page: Path, browser: Chrome) -> None:
    assert "owned" not in browser.title
    assert not browser.find_elements(By.CSS_SELECTOR, "img, td script, th script")
    assert "\x1b" not in page.read_text()
    assert HOSTILE.replace("\x1b", "\\x1b") in task_ids(browser)


def test_it_is_one_file_that_asks_for_nothing(page: Path, browser: Chrome) -> None:
    html = page.read_text()
    assert "default-src 'none'" in html
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map((each) => each.name)"
    )
    assert [name for name in asked if not name.startswith("data:")] == []
    assert not re.findall(r"https?://", html)


@pytest.mark.usefixtures("page")
def test_a_click_sorts(browser: Chrome) -> None:
    assert task_ids(browser)[0] == "Foreign"
    heads = browser.find_elements(By.CSS_SELECTOR, "#matrix thead button")
    heads[2].click()
    cells = columns(browser, 2)
    assert cells[0] == "failed"
    assert cells.index("locked") > len([cell for cell in cells if cell == "failed"]) - 1
    assert cells[-1] == "\u2013"
    heads[2].click()
    assert columns(browser, 2)[-1] == "failed"
    heads[0].click()
    assert task_ids(browser)[0] == "Foreign"


@pytest.mark.usefixtures("page")
def test_a_click_filters(browser: Chrome, steps: Workflow) -> None:
    assert not browser.find_element(By.ID, "chosen").is_displayed()
    browser.find_element(By.CSS_SELECTOR, ".count.failed[data-step='1']").click()
    assert set(columns(browser, 2)) == {"failed"}
    assert len(task_ids(browser)) == steps.states(1)["failed"]
    browser.find_element(By.ID, "chosen").click()
    assert len(task_ids(browser)) > 1000
    browser.find_element(By.CSS_SELECTOR, ".chip.done").click()
    assert set(columns(browser, 1) + columns(browser, 2) + columns(browser, 3)) == {"done"}
    browser.find_element(By.CSS_SELECTOR, ".chip.done").click()
    browser.find_element(By.ID, "search").send_keys("sample12")
    assert all("Sample12" in name for name in task_ids(browser))
    assert browser.find_element(By.ID, "shown").text.startswith("111 of ")


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark_wide_and_narrow(
    browser: Chrome, scheme: str, width: int
) -> None:
    prefer(browser, scheme)
    resize(browser, width)
    browser.refresh()
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width
    for selector in ("body", ".quiet", "#matrix td.done", ".plain .cause"):
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


def test_an_empty_table_has_a_page(run: Run, table: Table, tmp_path: Path, browser: Chrome) -> None:
    path = tmp_path / "empty.html"
    assert run("pyanamo.py", "status", "-t", table.name, "--html", path).returncode == 0
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert "No task has failed." in browser.find_element(By.TAG_NAME, "body").text


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
    browser.get(path.as_uri())
    assert len(task_ids(browser)) == 5000
    browser.find_elements(By.CSS_SELECTOR, "#matrix thead button")[1].click()
    assert columns(browser, 1)[0] == "todo"
