"""Makes docs/report.png, the README's picture of the report: python tools/report_picture.py.

It needs Chromium and chromedriver, and no server: the workflow is made up (tests/support/cohort.py)
and always the same. `--html FILE` writes the page itself, with `--samples N` of as many samples.
"""

from __future__ import annotations

import argparse
import base64
import struct
import sys
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.browser import chromium, resize  # noqa: E402
from tests.support.cohort import Cohort  # noqa: E402
from tests.support.report import page_of  # noqa: E402

WIDTH = 1000

# The failed samples, one of them open; what is below the table is cut off
OPEN = """
choose({ state: "failed" });
document.querySelector(".cell[data-sample='20'][data-step='1']").click();
return Math.round(document.querySelector("#rows").getBoundingClientRect().bottom + scrollY) + 10;
"""


# The most frequent colours, and for each pixel which of them is nearest
FEW_COLORS = """
const [png, most, done] = arguments;
const image = new Image();
image.onload = () => {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  const colors = [], numbers = new Map();
  for (let k = 0; k < data.length; k += 4) {
    const color = (data[k] << 16) | (data[k + 1] << 8) | data[k + 2];
    colors.push(color);
    numbers.set(color, (numbers.get(color) ?? 0) + 1);
  }
  const kept = [...numbers].sort((a, b) => b[1] - a[1]).slice(0, most).map((each) => each[0]);
  const part = (color, bits) => (color >> bits) & 255;
  const away = (a, b) =>
    [16, 8, 0].reduce((sum, bits) => sum + (part(a, bits) - part(b, bits)) ** 2, 0);
  const nearest = new Map(kept.map((color, k) => [color, k]));
  for (const color of numbers.keys()) {
    if (nearest.has(color)) continue;
    let best = 0;
    kept.forEach((other, k) => { if (away(color, other) < away(color, kept[best])) best = k; });
    nearest.set(color, best);
  }
  const pixels = colors.map((color) => String.fromCharCode(nearest.get(color))).join("");
  done([image.width, image.height, kept, btoa(pixels)]);
};
image.src = `data:image/png;base64,${png}`;
"""


def picture(page: Path, folder: Path) -> bytes:
    """A PNG of the upper part of a page, in few colours, which makes it small."""
    with chromium(folder) as chrome:
        resize(chrome, WIDTH)
        chrome.get(page.as_uri())
        height = chrome.execute_script(OPEN)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
        shot = chrome.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        chrome.get("about:blank")
        width, height, colors, pixels = chrome.execute_async_script(FEW_COLORS, shot["data"], 128)
    return png(width, height, colors, base64.b64decode(pixels))


def png(width: int, height: int, colors: list[int], pixels: bytes) -> bytes:
    """A PNG with a palette of up to 256 colours, a byte a pixel."""
    lines = b"".join(b"\0" + pixels[k * width :][:width] for k in range(height))
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": b"".join(color.to_bytes(3, "big") for color in colors),
        b"IDAT": zlib.compress(lines, 9),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--html", type=Path)
    parser.add_argument("--samples", type=int, default=70)
    arguments = parser.parse_args()
    cohort = Cohort(arguments.samples)
    html = page_of(cohort.steps(), cohort.now)
    if arguments.html:
        arguments.html.write_text(html)
        return
    with TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        page.write_text(html)
        (ROOT / "docs" / "report.png").write_bytes(picture(page, Path(folder, "profile")))


if __name__ == "__main__":
    main()
