"""Charts as files: SVG and PDF without a network, with this project's theme."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import re
import urllib.parse
from pathlib import Path
from xml.etree import ElementTree

import pytest
import vl_convert

from asd_pages import charts

VERSION = importlib.metadata.version("vl-convert-python")
SPEC: charts.Spec = {
    "data": {"values": [{"x": 0.123456, "y": 1.0, "z": "<b> & \"'"}, {"x": 2.0, "y": math.nan, "z": "b"}]},
    "width": 300,
    "mark": "point",
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "y", "type": "quantitative"},
        "color": {"field": "z", "type": "nominal"},
    },
    "config": {"axis": {"labelFontSize": 9}, "point": {"size": 7}},
}


def test_a_chart_becomes_an_svg_whose_text_is_text() -> None:
    document = ElementTree.fromstring(charts.svg(SPEC))
    texts = [element.text for element in document.iter("{http://www.w3.org/2000/svg}text")]
    assert "<b> & \"'" in texts
    assert "currentColor" in charts.svg(SPEC)


def test_a_chart_becomes_a_pdf_of_one_page() -> None:
    document = charts.pdf(SPEC)
    assert document.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", document)) == 1


def test_the_theme_is_below_a_charts_own_settings_and_nan_is_null() -> None:
    found = charts.themed(SPEC)
    assert found["config"]["axis"]["labelFontSize"] == 9
    assert found["config"]["axis"]["labelColor"] == "currentColor"
    assert found["config"]["point"] == {"filled": True, "size": 7}
    assert found["data"]["values"][1]["y"] is None
    assert math.isnan(SPEC["data"]["values"][1]["y"])
    json.dumps(found, allow_nan=False)


def test_data_cannot_be_fetched_from_elsewhere() -> None:
    elsewhere = {**SPEC, "data": {"url": "https://example.org/data.csv"}}
    with pytest.raises(ValueError, match="not allowed"):
        charts.svg(elsewhere)


def test_what_is_no_chart_is_refused() -> None:
    with pytest.raises(ValueError, match=r"(?i)invalid spec|vega"):
        charts.svg({"mark": "no such mark", "encoding": 3})


def test_the_still_picture_of_a_chart_is_a_compact_and_whole_document() -> None:
    part = charts.chart(SPEC, "A chart")
    still = urllib.parse.unquote(re.findall(r'src="data:image/svg\+xml,([^"]*)"', part)[0])
    ElementTree.fromstring(still)
    assert not re.findall(r'transform="[^"]*\.\d{3}', still)
    assert "aria-label" not in still
    assert len(part) < 25_000


SCRIPT = "window.vegaEmbed = 'ü';"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Have a script that is known, and count how often it is made."""
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(charts, "_BUNDLES", {VERSION: hashlib.sha256(SCRIPT.encode()).hexdigest()})
    calls: list[str] = []

    def javascript_bundle(snippet: str, *, vl_version: str) -> str:
        calls.append(vl_version)
        return SCRIPT

    monkeypatch.setattr(vl_convert, "javascript_bundle", javascript_bundle)
    return calls


def bundle() -> str:
    """Return what another process would."""
    return charts.bundle.__wrapped__()


def test_the_script_is_made_once_for_all_reports(made: list[str], tmp_path: Path) -> None:
    assert [bundle(), bundle()] == [SCRIPT, SCRIPT]
    assert len(made) == 1
    assert [path.read_text(encoding="utf-8") for path in (tmp_path / "cache").iterdir()] == [SCRIPT]


@pytest.mark.parametrize("content", [b"", b"alert(1)", b"\xff", SCRIPT.encode() + b"\n"])
def test_what_is_not_the_known_script_is_not_put_into_a_page(made: list[str], tmp_path: Path, content: bytes) -> None:
    bundle()
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(content)
    assert [bundle(), bundle()] == [SCRIPT, SCRIPT]
    assert len(made) == 2
    assert kept.read_text(encoding="utf-8") == SCRIPT


@pytest.mark.parametrize("known", [{}, {VERSION: "0" * 64}], ids=["another version", "another script"])
def test_a_script_that_is_not_known_is_not_kept(
    made: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: dict[str, str]
) -> None:
    monkeypatch.setattr(charts, "_BUNDLES", known)
    assert [bundle(), bundle()] == [SCRIPT, SCRIPT]
    assert len(made) == 2
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_costs_time_only(made: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert [bundle(), bundle()] == [SCRIPT, SCRIPT]
    assert len(made) == 2
    (tmp_path / "cache").unlink()
    (tmp_path / "cache" / f"charts-{VERSION}.js").mkdir(parents=True)
    assert bundle() == SCRIPT
    assert len(list((tmp_path / "cache").iterdir())) == 1  # nothing half-written is left


@pytest.mark.skipif(VERSION not in charts._BUNDLES, reason=f"charts._BUNDLES lacks the script of {VERSION}")
def test_the_script_of_this_version_is_the_known_one() -> None:
    script = vl_convert.javascript_bundle(charts._EXPORTED, vl_version=charts._VERSION)
    assert hashlib.sha256(script.encode()).hexdigest() == charts._BUNDLES[VERSION]
