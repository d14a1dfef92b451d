"""Pages: escaping, the policy, what a reader sees and does in a browser, on paper and without scripts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.errors import DataError
from asd_pages import charts
from asd_pages import page as pages
from asd_pages.pictures import thumbnail
from asd_pages.sound import encode

HOSTILE = '"><script>document.title = "taken"</script><img src=x onerror="document.title = 1">&amp;'
RATE = 16000
TONE = (0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)


def bars(name: str = "bars") -> dict[str, Any]:
    values = [{"label": f"{name} {i} {HOSTILE}", "value": i / 10} for i in range(6)]
    axes = {"y": {"field": "label", "type": "nominal"}, "x": {"field": "value", "type": "quantitative"}}
    tooltip = [{"field": "label"}]
    return {
        "data": {"values": values},
        "width": 600,
        "height": 120,
        "mark": "bar",
        "encoding": {**axes, "tooltip": tooltip},
    }


def whole_page() -> str:
    rows: list[list[Any]] = [[f"clip {i}", 0.5 + i / 7, pages.Cell("high" if i % 2 else "low", i)] for i in range(5)]
    rows += [[HOSTILE, float("nan"), None], [pages.link("#charts", "a link"), -1.5, pages.Cell("x", float("inf"))]]
    columns: list[pages.Column | str] = ["clip", pages.Column("score", 3, f"note {HOSTILE}"), "evidence"]
    sound = encode(TONE, RATE)
    heard = pages.player(sound.data, sound.media_type, HOSTILE)
    shown = pages.picture(thumbnail(TONE, RATE), HOSTILE, HOSTILE)
    return pages.page(
        f"Report {HOSTILE}",
        pages.section("Table", pages.table(columns, rows, caption="All clips", filter_label="Filter")),
        pages.section("Charts", charts.chart(bars(), f"Bars {HOSTILE}", HOSTILE, name=HOSTILE), anchor="charts"),
        pages.section(
            f"Clips {HOSTILE}",
            pages.cards(pages.markup(shown, heard)),
            pages.details("more", pages.items(["one", HOSTILE]), pages.definitions({HOSTILE: HOSTILE, "n": 3})),
            level=3,
        ),
        summary=HOSTILE,
        footer=HOSTILE,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.write(tmp_path_factory.mktemp("page") / "report.html", whole_page())


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")], (tag, attrs)
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_well_formed_and_names_nothing_outside_itself(written: Path) -> None:
    parser = _Parser()
    parser.feed(written.read_text())
    assert parser.open == []
    assert parser.tags.count("h1") == 1
    assert parser.tags.count("script") == 3  # Vega, the page's own, the chart's data
    assert all(address.startswith(("data:", "#")) for address in parser.addresses)


def test_a_page_without_charts_carries_no_vega() -> None:
    assert len(pages.page("plain", pages.paragraph("text"))) < 15_000


def test_names_with_html_in_them_are_shown_and_do_not_run(written: Path, browser: Any) -> None:
    browser.open(written)
    browser.wait_for("document.querySelectorAll('.chart.live').length == 1")
    assert browser.evaluate("document.title") == f"Report {HOSTILE}"
    assert browser.evaluate("document.querySelector('h1').textContent") == f"Report {HOSTILE}"
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert browser.errors == []


def test_the_policy_stops_a_script_that_the_page_did_not_write(written: Path, tmp_path: Path, browser: Any) -> None:
    added = "<script>document.title = 'taken'</script><img src='https://example.org/x.png'></main>"
    changed = tmp_path / "changed.html"
    changed.write_text(written.read_text().replace("</main>", added))
    browser.open(changed)
    assert browser.evaluate("document.title") == f"Report {HOSTILE}"
    assert len(browser.errors) == 2
    assert all("Content Security Policy" in error for error in browser.errors)


def column(browser: Any, number: int) -> Any:
    shown = "[...document.querySelectorAll('tbody tr:not([hidden])')]"
    return browser.evaluate(f"{shown}.map((row) => row.cells[{number}].textContent)")


def test_a_reader_sorts_by_a_click_and_what_is_missing_comes_last(written: Path, browser: Any) -> None:
    browser.open(written)
    assert column(browser, 1) == ["0.500", "0.643", "0.786", "0.929", "1.071", "–", "-1.500"]
    click = "document.querySelectorAll('th button')[1].click()"
    browser.evaluate(click)
    assert column(browser, 1) == ["-1.500", "0.500", "0.643", "0.786", "0.929", "1.071", "–"]
    assert browser.evaluate("document.querySelectorAll('th')[1].ariaSort") == "ascending"
    browser.evaluate(click)
    assert column(browser, 1) == ["1.071", "0.929", "0.786", "0.643", "0.500", "-1.500", "–"]
    browser.evaluate("document.querySelectorAll('th button')[2].click()")
    assert column(browser, 2)[:5] == ["low", "high", "low", "high", "low"]  # by evidence, not by its text


def test_a_reader_filters_by_words(written: Path, browser: Any) -> None:
    browser.open(written)
    typed = "(field => { field.value = 'HIGH clip'; field.dispatchEvent(new Event('input')) })"
    browser.evaluate(f"{typed}(document.querySelector('input[type=search]'))")
    assert column(browser, 0) == ["clip 1", "clip 3"]
    assert browser.evaluate("document.querySelector('output').textContent") == "2 of 7"


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_window(width: int, dark: bool, written: Path, browser: Any) -> None:
    browser.open(written, width=width, height=4000, dark=dark)
    browser.wait_for("document.querySelectorAll('.chart.live').length == 1")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    drawn = browser.evaluate("document.querySelector('.drawn svg').getBoundingClientRect().width")
    room = browser.evaluate("document.querySelector('.chart').clientWidth")
    assert 0.7 * room < drawn <= room
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(21, 24, 27)" if dark else "rgb(255, 255, 255)")


def test_without_scripts_the_picture_of_the_chart_is_shown(written: Path, browser: Any, tmp_path: Path) -> None:
    browser.open(written, scripts=False, height=2000)
    picture = browser.screenshot(tmp_path / "page.png")
    shown = "getComputedStyle(document.querySelector('.chart img')).display"
    browser.open(written, height=2000)
    browser.wait_for("document.querySelectorAll('.chart.live').length == 1")
    assert browser.evaluate(shown) == "none"
    browser._call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(shown) == "block"
    assert picture.stat().st_size > 20_000


def test_the_players_sound_is_decoded(written: Path, browser: Any) -> None:
    browser.open(written)
    seconds = browser.evaluate(
        "new Promise((done, fail) => { const it = document.querySelector('audio'); it.onerror = fail;"
        "it.onloadedmetadata = () => done(it.duration); it.preload = 'auto'; it.load() })"
    )
    assert seconds == pytest.approx(1.0, abs=0.15)
    assert browser.errors == []


def test_a_page_prints(written: Path, browser: Any, tmp_path: Path) -> None:
    browser.open(written)
    assert re.match(rb"%PDF", browser.pdf(tmp_path / "page.pdf").read_bytes())


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/x\.html: cannot write it \(.*\); name a folder that you may write to"):
        pages.write(tmp_path / "file" / "x.html", "text")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(DataError, match=r"folder\.html: cannot write it"):
        pages.write(tmp_path / "folder.html", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.html"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pages.table(["a", "b"], [["only one"]], caption="x"), "a row has 1 cells, the table 2 columns"),
        (lambda: pages.picture(b"GIF89a", "x"), "a picture is a PNG, JPEG or WebP file, got one that begins with"),
        (lambda: pages.link("javascript:alert(1)", "x"), "a link goes to '#anchor' or a web address"),
    ],
)
def test_what_cannot_be_shown_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
