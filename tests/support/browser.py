"""Headless Chromium, which reaches nothing but files of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
MISSING = "Chromium is not prepared: run ./test.sh, or install chromium and chromium-driver"


@contextmanager
def chromium(folder: Path) -> Iterator[Chrome]:
    """Run Chromium with an empty profile in `folder`; what its console says is kept.

    Raises:
        RuntimeError: It is not installed.
    """
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        raise RuntimeError(MISSING)
    # Without it selenium would look for drivers on the network
    os.environ["SE_OFFLINE"] = "true"
    options = Options()
    options.binary_location = browser
    for argument in [*QUIET, f"--user-data-dir={folder}", "--window-size=1280,900"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def prefer(chrome: Chrome, scheme: str) -> None:
    """Have pages see that the reader prefers `dark` or `light`."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def resize(chrome: Chrome, width: int) -> None:
    """Have pages see a window so many pixels wide, however narrow."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
