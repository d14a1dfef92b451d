"""Numbers in prose are those that were measured, or that the code gives.

A number that is followed by ``<!-- =name -->`` is a figure. A figure is computed here, or its source is the place in
docs/results.md that has the same name; every other place must say the same.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIGURE = re.compile(r"(?P<value>[−-]?[\d,]*\.?\d+)(?: %)?<!-- =(?P<name>[\w-]+) -->")
MARK = re.compile(r"<!-- =")
MEASURED = re.compile(r"(?<![\w./-])\d+\.\d+(?![\w.])|(?<![\w.])\d+(?:\.\d+)? %")
"""What looks like a measurement: a decimal fraction or a percentage."""
PROSE = [ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "explanation" / "limits.md"]
"""Pages that hold no measurement without a name."""


def figures_of(page: Path) -> list[tuple[str, str]]:
    return [(match["name"], match["value"]) for match in FIGURE.finditer(page.read_text(encoding="utf-8"))]


@cache
def demo() -> dict[str, tuple[int, int]]:
    """Return the clips and the alarms of healthy and of faulty recordings, as ``asd demo`` prints them."""
    environment = {**os.environ, "ASD_OFFLINE": "1", "COLUMNS": "120"}
    printed = subprocess.run(
        [os.environ["ASD_COMMAND"], "demo"], capture_output=True, text=True, check=True, env=environment
    )
    rows = re.findall(r"^ ?(healthy|faulty) +(\d+) +\d+ +(\d+)\s*$", printed.stdout, re.MULTILINE)
    return {kind: (int(clips), int(alarms)) for kind, clips, alarms in rows}


def lowest_rate(clips: int) -> float:
    from asd.detection.calibration import Calibration

    return Calibration(np.zeros(clips), np.zeros(clips, dtype=int), 10.0, clips).lowest_rate


def highest_frequency(branch: str) -> float:
    """Return what a branch of the default pipeline hears at most, in kHz."""
    from asd.detection.config import Config
    from asd.plugin import create

    config = Config().resolved()
    part = dict(zip(config.names, config.parts, strict=True))[branch]
    return create("frontend", part.frontend.name, part.frontend.parameters).sample_rate / 2000


COMPUTED: dict[str, Callable[[], str]] = {
    "demo-healthy": lambda: str(demo()["healthy"][0]),
    "demo-healthy-alarms": lambda: str(demo()["healthy"][1]),
    "demo-faulty": lambda: str(demo()["faulty"][0]),
    "demo-faulty-alarms": lambda: str(demo()["faulty"][1]),
    "alarms-of-20-clips": lambda: f"{lowest_rate(20):.0f}",
    **{f"lowest-rate-{clips}": lambda clips=clips: f"{lowest_rate(clips):.1f}" for clips in (20, 60, 180, 360)},  # type: ignore[misc]
    "band-level": lambda: f"{highest_frequency('level'):g}",
}


def used() -> list[str]:
    return sorted({name for page in PAGES for name, _ in figures_of(page)})


def test_every_mark_follows_a_number() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(MARK.findall(text)) == len(figures_of(page)), page


@pytest.mark.parametrize("name", used())
def test_a_figure_is_the_same_everywhere(name: str) -> None:
    said = {(page.name, value) for page in PAGES for each, value in figures_of(page) if each == name}
    measured = {value for each, value in figures_of(RESULTS) if each == name}
    source = {COMPUTED[name]()} if name in COMPUTED else measured
    assert len(source) == 1, (
        f"{name}: {len(source)} sources; one place in docs/results.md names it, or a test computes it"
    )
    assert {value for _, value in said} == source, said


def test_every_computed_figure_is_used() -> None:
    assert set(COMPUTED) <= set(used())


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_no_measurement_in_prose_is_without_a_name(page: Path) -> None:
    text = re.sub(
        r"```.*?```|`[^`\n]*`|\]\([^)]*\)|arXiv:[\d.]+|Python \d\.\d+",
        "",
        page.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    unnamed = [match.group() for match in MEASURED.finditer(text) if not text.startswith("<!-- =", match.end())]
    assert unnamed == []
