"""The report's colours: readable, and told apart with any colour blindness, light and dark."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

import anamo.operator.html

CSS = Path(anamo.operator.html.__file__).with_name("report.css").read_text()
STATES = ("done", "failed", "running", "waiting", "held")
ENOUGH = 11.0
"""Difference in CIELAB of two colours that nobody takes for the same side by side."""

# Machado, Oliveira and Fernandes 2009, for linear RGB, severity 1
SIGHT = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}

Color = tuple[float, float, float]


def scheme(name: str) -> dict[str, Color]:
    """The colours of the light or dark scheme, as linear RGB."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    assert len(blocks) == 2
    found: dict[str, Color] = {}
    for block in blocks if name == "dark" else blocks[:1]:
        for key, value in re.findall(r"--([a-z]+): #([0-9a-fA-F]{6})", block):
            found[key] = linear(value)
    return found


def linear(hexadecimal: str) -> Color:
    """A colour's linear RGB."""
    parts = [int(hexadecimal[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return red, green, blue


def seen(color: Color, sight: str) -> Color:
    """A colour as somebody sees it."""
    red, green, blue = (
        min(max(sum(a * b for a, b in zip(row, color, strict=True)), 0.0), 1.0)
        for row in SIGHT[sight]
    )
    return red, green, blue


def lab(color: Color) -> Color:
    """CIELAB of linear RGB under D65."""
    red, green, blue = color
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: Color, other: Color, sight: str) -> float:
    """How different two colours look (CIE76)."""
    pair = zip(lab(seen(one, sight)), lab(seen(other, sight)), strict=True)
    return float(sum((a - b) ** 2 for a, b in pair) ** 0.5)


def contrast(one: Color, other: Color) -> float:
    """The contrast ratio of WCAG."""
    high, low = sorted(
        (0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (one, other)), reverse=True
    )
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_states_are_told_apart_whoever_looks(name: str, sight: str) -> None:
    colors = scheme(name)
    for one, other in combinations(STATES, 2):
        assert difference(colors[one], colors[other], sight) >= ENOUGH, (one, other)


def test_without_that_care_two_states_look_the_same() -> None:
    # A green and a red of the same lightness
    green, red = linear("7a9e4b"), linear("c98a4a")
    assert difference(green, red, "normal") > 3 * ENOUGH
    assert difference(green, red, "deuteranopia") < ENOUGH


@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_and_marks_stand_out(name: str) -> None:
    colors = scheme(name)
    for paper in ("ground", "surface"):
        for ink in ("ink", "quiet"):
            assert contrast(colors[ink], colors[paper]) >= 4.5, (ink, paper)
    for state in STATES:
        least = 2.0 if state == "waiting" else 3.0
        assert contrast(colors[state], colors["surface"]) >= least, state
