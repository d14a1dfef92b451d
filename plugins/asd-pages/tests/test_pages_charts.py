"""Charts as files: SVG and PDF without a network, with this project's theme."""

from __future__ import annotations

import json
import math
import re
import urllib.parse
from xml.etree import ElementTree

import pytest

from asd_pages import charts

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
