"""Makes docs/report.webp, the README's picture of the report: python tools/report_picture.py.

It needs Chromium and chromedriver, and no server: the workflow is made up (tests/support/cohort.py)
and always the same. `--html FILE` writes the report itself, with `--samples N` of as many samples.
"""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.browser import chromium, resize  # noqa: E402
from tests.support.cohort import Cohort  # noqa: E402
from tests.support.report import report_of  # noqa: E402

WIDTH = 1000

# The failed samples, one of them open; what is below the table is cut off
OPEN = """
choose({ state: "failed" });
document.querySelector(".cell[data-sample='20'][data-step='1']").click();
return Math.round(document.querySelector("#rows").getBoundingClientRect().bottom + scrollY) + 10;
"""


def picture(report: Path, folder: Path) -> bytes:
    """A picture of the upper part of a report; as WebP it is small."""
    with chromium(folder) as chrome:
        resize(chrome, WIDTH)
        chrome.get(report.as_uri())
        height = chrome.execute_script(OPEN)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
        form = {"format": "webp", "quality": 80, "captureBeyondViewport": True, "clip": clip}
        shot = chrome.execute_cdp_cmd("Page.captureScreenshot", form)
    return base64.b64decode(shot["data"])


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--html", type=Path)
    parser.add_argument("--samples", type=int, default=70)
    arguments = parser.parse_args()
    cohort = Cohort(arguments.samples)
    html = report_of(cohort.steps(), cohort.now)
    if arguments.html:
        arguments.html.write_text(html)
        return
    with TemporaryDirectory() as folder:
        report = Path(folder, "report.html")
        report.write_text(html)
        (ROOT / "docs" / "report.webp").write_bytes(picture(report, Path(folder, "profile")))


if __name__ == "__main__":
    main()
