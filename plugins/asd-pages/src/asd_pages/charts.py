"""Charts as Vega-Lite specifications (plain dicts): drawn in a page, or written as SVG and PDF.

In a page a chart is a picture at first, a static SVG that prints and needs no script. Where scripts run, Vega draws the
same specification over it, with tooltips and a menu that saves it. The Vega bundle comes with vl-convert-python, is put
into a page once, and is told to interpret expressions (``ast``) instead of compiling them, because the page's policy
allows no ``eval``. Nothing here uses a network.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import html
import importlib.metadata
import json
import math
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from asd.errors import DataError
from asd.plugin import cache_folder
from asd_pages.page import Content, Html, markup, write

Spec = dict[str, Any]
"""A Vega-Lite specification."""

COLOURS = ("#2f81c7", "#e07b00", "#1a9e77", "#c2559d", "#8a6fd1", "#7a8a99")
"""Colours of categories that are told apart on light and dark ground, and by most of the colour-blind."""

_VERSION = "6.4"
_EXPORTED = "window.vegaEmbed = vegaEmbed;"
_BUNDLES = {"1.9.0.post1": "373b1f84072b31010f15ceb787be6b415c53936411aae267c8c2b2b6ccde46e7"}
"""SHA-256 of the script by version of vl-convert-python; that of another version is made for each report."""
_TEXT, _LINE = "currentColor", "#80808050"
_FONT = "system-ui, 'DejaVu Sans', Arial, sans-serif"
_THEME: Spec = {
    "background": "transparent",
    "font": _FONT,
    "view": {"stroke": None},
    "mark": {"color": COLOURS[0]},
    "axis": {
        "labelColor": _TEXT,
        "titleColor": _TEXT,
        "titleFontWeight": "normal",
        "gridColor": _LINE,
        "domainColor": _LINE,
        "tickColor": _LINE,
        "labelLimit": 320,
        "labelFontSize": 11,
        "titleFontSize": 12,
    },
    "legend": {
        "labelColor": _TEXT,
        "titleColor": _TEXT,
        "titleFontWeight": "normal",
        "labelLimit": 420,
        "labelFontSize": 11,
    },
    "header": {"labelColor": _TEXT, "titleColor": _TEXT, "labelFontSize": 12, "labelLimit": 240},
    "title": {"color": _TEXT, "subtitleColor": _TEXT, "fontSize": 13, "anchor": "start"},
    "text": {"color": _TEXT},
    "rule": {"color": _TEXT},
    "range": {"category": list(COLOURS)},
    "point": {"filled": True, "size": 45},
}
_GROUND = "<style>:root{color:#1d2125}@media (prefers-color-scheme:dark){:root{color:#e3e6e8}}</style>"
_NUMBERS = re.compile(r'\b(?:d|transform|x|y|x1|y1|x2|y2|width|height)="[^"]*"')


def chart(spec: Mapping[str, Any], description: str, caption: Content = None, *, name: str = "chart") -> Html:
    """Return a chart as a part of a page.

    Parameters
    ----------
    spec : mapping
        A Vega-Lite specification with its data. A single view with a width and a height in pixels (not in steps) has
        this width as a static picture; drawn by a script it takes the width that there is. Facets with ``columns`` show
        as many side by side as fit. With ``"usermeta": {"fixed": True}`` it keeps its width, and scrolls.
    description : str
        What the chart shows, for readers who do not see it.
    caption : str or None
        The text below it.
    name : str
        Name of the file when a reader saves it.
    """
    themed_spec = themed(spec)
    # Without a label for each mark: the picture as a whole has its description.
    still = svg({**themed_spec, "config": {**themed_spec["config"], "aria": False}})
    still = _NUMBERS.sub(_rounded, still).replace(">", f">{_GROUND}", 1)
    size = re.search(r'width="(\d+)[^"]*" height="(\d+)', still)
    box = f' width="{size[1]}" height="{size[2]}"' if size else ""
    below = "" if caption is None else f"<figcaption>{markup(caption)}</figcaption>"
    data = json.dumps(themed_spec, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Html(
        f'<figure class="chart" data-name="{html.escape(name)}">'
        f'<img class="static" loading="lazy" alt="{html.escape(description)}"{box} '
        f'src="data:image/svg+xml,{urllib.parse.quote(still, safe=_SAFE)}">'
        f'<div class="drawn" role="img" aria-label="{html.escape(description)}"></div>'
        f'<script type="application/json">{data}</script>{below}</figure>\n'
    )


_SAFE = " !$'()*+,-./:;=?@[]_~|{}^"


def themed(spec: Mapping[str, Any]) -> Spec:
    """Return a specification with this project's colours and fonts below its own ``config``, and NaN as null."""
    config: Spec = _merged(_THEME, spec.get("config", {}))
    schema = f"https://vega.github.io/schema/vega-lite/v{_VERSION.split('.')[0]}.json"
    found: Spec = _without_nan({"$schema": schema, **spec, "config": config})
    return found


def svg(spec: Mapping[str, Any]) -> str:
    """Return a chart as an SVG document; text stays text, in the colour of its surroundings.

    Raises
    ------
    ValueError
        If the specification is none that Vega-Lite knows.
    """
    import vl_convert

    return str(vl_convert.vegalite_to_svg(themed(spec), vl_version=_VERSION, allowed_base_urls=[]))


def pdf(spec: Mapping[str, Any]) -> bytes:
    """Return a chart as a PDF document with one page of its size.

    Raises
    ------
    ValueError
        If the specification is none that Vega-Lite knows.
    """
    import vl_convert

    return bytes(vl_convert.vegalite_to_pdf(themed(spec), vl_version=_VERSION, allowed_base_urls=[]))


@functools.cache
def bundle() -> str:
    """Return the script that draws charts (Vega, Vega-Lite, Vega-Embed; about 0.9 MB).

    Making it takes two seconds, so it is kept in the cache folder, if it is the one that is known for the version of
    vl-convert-python: whatever else is found there is not put into a page.
    """
    import vl_convert

    version = importlib.metadata.version("vl-convert-python")
    known, kept = _BUNDLES.get(version), cache_folder() / f"charts-{version}.js"
    if known:
        with contextlib.suppress(OSError):
            content = kept.read_bytes()
            if hashlib.sha256(content).hexdigest() == known:
                return content.decode()
    made = str(vl_convert.javascript_bundle(_EXPORTED, vl_version=_VERSION))
    if known == hashlib.sha256(made.encode()).hexdigest():
        with contextlib.suppress(DataError):
            write(kept, made)
    return made


def _rounded(found: re.Match[str]) -> str:
    """Return an attribute with its numbers in hundredths of a pixel."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), found[0])


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Spec:
    both = {key: _merged(below[key], above[key]) for key in below.keys() & above.keys() if isinstance(above[key], dict)}
    return {**below, **above, **both}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
